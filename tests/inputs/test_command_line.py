"""Wrong flags, verbs in a wrong order, and what a verb lacks: the place is the flag or the key."""

from refusals import Row, UsageError, sets, table

from rum_ray.errors import BusyError, ConfigError, DataError, PlanError, ScoreError, StoreError
from rum_ray.errors import UnsafeError as Unsafe

SMALL = """
name: small
data: digits
recipe: {model: mlp, epochs: 1, batch_size: 64}
score: {name: confidence}
forget: {size: 30}
compare: [finetune]
"""
OTHER = SMALL.replace("name: small", "name: other").replace("digits", "{name: digits, seed: 1}")
FILES = {
    "small.yaml": SMALL,
    "other.yaml": OTHER,
    "file": "in the way\n",
    "loop": lambda path: path.symlink_to("loop"),
}
BIG = "/".join(["x" * 250] * 20)
USAGE = [
    ("no such verb", "nosuch", "nosuch"),
    ("a verb in capitals", "Run small.yaml", "Run", "'run'?"),
    ("a verb without its file", "run", "file"),
    ("two files", "run small.yaml more.yaml", "more.yaml"),
    ("a file for the demo", "demo small.yaml", "small.yaml"),
    ("a file for the doctor", "doctor small.yaml", "small.yaml"),
    ("no such flag", "run small.yaml --worker 3", "--worker"),
    ("a flag of another verb", "run small.yaml --pick cost<=0.2", "--pick"),
    ("a flag before the verb", "--seed 1 run small.yaml", "--seed"),
    ("a flag in capitals", "run small.yaml --Json", "--Json", "--json"),
    ("a value for a switch", "run small.yaml --json=1", "--json"),
    ("a short flag", "run small.yaml -h", "-h"),
    ("no seed", "run small.yaml --seed", "--seed"),
    ("a seed of text", "run small.yaml --seed x", "--seed"),
    ("a seed of 1.5", "run small.yaml --seed 1.5", "--seed"),
    ("an empty seed", "run small.yaml --seed=", "--seed"),
    ("no value of --set", "run small.yaml --set", "--set"),
    ("a space before the equals sign", "run small.yaml --set recipe.lr =0.1", "=0.1"),
    ("an empty --out", "run small.yaml --out=", "--out"),
    ("an empty --store", "run small.yaml --store=", "--store"),
    ("a blank --out", ("run", "small.yaml", "--out", "  "), "--out"),
    ("a price of text", "estimate small.yaml --price free", "--price"),
    ("no list to forget", "delete small.yaml", "--forget"),
    ("two lists to forget", "delete small.yaml --forget file file", "file"),
    ("no folder to verify", "verify", "folder"),
    ("no item", "reproduce", "item"),
    ("two items", "reproduce table1 order", "order"),
    ("an item of a file", "run small.yaml --preset small", "--preset"),
]
CONFIG = [
    ("an unknown item", "reproduce tabel1", "item", "'tabel1'", "'table1'?"),
    ("an item in capitals", "reproduce Order", "item", "'order'?"),
    ("an unknown data set of the paper", "reproduce es --data cifar11", "--data", "'cifar10'?"),
    ("an unknown preset", "reproduce es --preset big", "--preset", "paper"),
    ("a small preset that is not there", "reproduce es --data cifar100", "--data", "cifar100",
     "--preset paper"),
    ("scores that are not there", "reproduce proxies --data tiny_imagenet --preset paper", "--data",
     "cifar100"),
    ("a key that no item has", "reproduce es --set recipe.epoch=3", "recipe.epoch", "'epochs'?"),
    ("one study, compared with itself", "report small.yaml small.yaml", "report", "'small'"),
    ("studies on other data", "report small.yaml other.yaml", "report", "'other'", "'seed': 1"),
    ("a second report without a file", "report small.yaml no.yaml", "no.yaml"),
    ("an unknown tracker", "run small.yaml --track neptune:x", "--track neptune:x"),
    ("a tracker without a place", "report small.yaml --track mlflow", "--track mlflow"),
    ("a tracker with an empty place", "report small.yaml --track mlflow:", "--track mlflow:"),
    ("a tracker with a blank project", ("demo", "--track", "wandb: "), "--track wandb"),
    ("an empty tracker", "report small.yaml --track=", "--track"),
    ("an address of one word", "run small.yaml --address nonsense", "--address nonsense"),
    ("an address in capitals", "run small.yaml --address None", "--address None"),
    ("an empty address", "run small.yaml --address=", "--address"),
    ("a port of text", "train small.yaml --address host:port", "--address host:port"),
    ("a port above 65,535", "run small.yaml --address 1.2.3.4:99999", "--address 1.2.3.4:99999"),
    ("no host", "train small.yaml --address :6379", "--address :6379"),
    ("Ray Client", "run small.yaml --address ray://x:10001", "--address ray://x:10001"),
    ("a dashboard", "run small.yaml --address http://x:8265", "--address http://x:8265"),
    ("an address of a dry run", "run small.yaml --dry-run --address x", "--address x"),
    ("an address of a request", "delete small.yaml --forget file --address x", "--address x"),
    ("no such command to forecast", "estimate small.yaml --command nosuch", "--command",
     "'nosuch'"),
    ("a command without a forecast", "estimate small.yaml --command doctor", "--command",
     "'doctor'"),
    ("a rule that is none", "tune small.yaml --pick cheap", "search.pick", "'cheap'"),
    ("an empty rule", "tune small.yaml --pick=", "search.pick"),
    ("a rule above the largest cost", "tune small.yaml --pick cost<=0.9", "search.pick"),
    ("a rule of no number", "tune small.yaml --pick cost<=nan", "search.pick"),
    ("a colon in --set", ("run", "small.yaml", "--set", "recipe.lr: 0.1"), "--set recipe.lr"),
    ("an empty --set", "run small.yaml --set=", "--set"),
    ("a slash in a key", "run small.yaml --set recipe/lr=0.1", "recipe/lr"),
    ("two points in a key", "run small.yaml --set recipe..lr=0.1", "'recipe.'"),
    ("two settings in one", "run small.yaml --set recipe.lr=0.1,recipe.epochs=3", "recipe.lr"),
    ("a place in a list", "run small.yaml --set compare.0=salun", "--set compare.0=salun"),
    ("brackets in a key", "run small.yaml --set seeds[0]=3", "seeds[0]", "'seeds'?"),
    ("a search without the key", "tune small.yaml", "search"),
    ("a ladder without the key", "ladder small.yaml", "search"),
    ("an unlearning without a plan", "unlearn small.yaml", "plan"),
    ("an evaluation without a plan", "evaluate small.yaml", "plan"),
    ("a forecast without a plan", "estimate small.yaml --command unlearn", "plan"),
    ("a dry run without a plan", "unlearn small.yaml --dry-run", "plan"),
    ("a run that forgets nothing", "run small.yaml --set forget=", "forget"),
    ("no repeat", "run small.yaml --set repeats=0", "repeats"),
    ("a million repeats", "run small.yaml --set repeats=1000000", "repeats"),
    ("repeats of one list", ("run", "small.yaml", *sets("repeats=2", "forget={ids: file}")),
     "repeats"),
    ("a score for requests", "score small.yaml --set score.name=auto", "score.name"),
    ("more threads than cores", "run small.yaml --set recipe.threads=1000", "recipe.threads"),
    ("threads that end the process", "run small.yaml --set recipe.threads=100000",
     "recipe.threads"),
    ("threads of a request", "delete small.yaml --forget file --set recipe.threads=1000",
     "recipe.threads"),
    ("a GPU that is not there", "run small.yaml --set cluster.gpus_per_worker=0.5",
     "cluster.gpus_per_worker"),
    ("modules in no folder", "run small.yaml --set cluster.modules=[nil]", "cluster.modules",
     "nil"),
    ("modules in a file", "run small.yaml --set cluster.modules=[file]", "cluster.modules", "file"),
    ("an epoch", "run small.yaml --set recipe.epoch=3", "recipe.epoch", "'epochs'?"),
    ("the rate 0 of the demo", "demo --set recipe.lr=0", "recipe.lr"),
    ("a share of noise of 2", "demo --set data.label_noise=2", "data", "label_noise"),
    ("no such layer", "run small.yaml --set embedding=nolayer", "embedding", "'nolayer'"),
    ("statistics of three channels", "run small.yaml --set recipe.normalize=imagenet",
     "recipe.normalize"),
    ("a class that is absent", "run small.yaml --set forget.class=11", "forget.class", "0 .. 9"),
    ("a class of a word", "run small.yaml --set forget.class=nine", "forget.class", "'nine'"),
    ("a negative class", "run small.yaml --set forget.class=-1", "forget.class"),
    ("a budget below one plan", "run small.yaml --set search.budget=0.01", "search.budget"),
    ("a cost below one plan", ("demo", *sets("search={unlearners: [scrub], max_cost: 0.01}")),
     "search.max_cost"),
    ("no plan file to start from", "demo --set search.start=[no.yaml]", "no.yaml"),
    ("a plan file that is an experiment", "run small.yaml --set plan=small.yaml", "small.yaml"),
    ("no plan file", "run small.yaml --set plan=no.yaml", "no.yaml"),
    ("an attack without its pool", "run small.yaml --set evaluate.also=[u_lira]", "evaluate.also"),
    ("a pool that leaves nothing to learn", ("score", "small.yaml",
     *sets("score={fraction: 0.0001}")), "score.fraction"),
    ("few models for an attack",
     ("demo", *sets("score.models=8", "evaluate.also=[pool_lira]", "compare=[]")), "score.models"),
]  # fmt: skip
OTHERS = [
    ("everything to forget", PlanError, "run small.yaml --set forget.size=1200", "forget"),
    ("more of a class than it has", PlanError,
     ("run", "small.yaml", *sets("forget={class: 3, size: 1000}")), "forget", "125"),
    ("fewer examples than subsets", PlanError, "run small.yaml --set forget.size=2", "refine"),
    ("no subset", PlanError, ("run", "small.yaml", *sets("refine={name: by_score, into: []}")),
     "refine"),
    ("two subsets of a name", PlanError,
     ("run", "small.yaml", *sets("refine={name: by_score, into: [a, a]}")), "refine"),
    ("an unlearner without its layer", PlanError, "run small.yaml --set compare=[ct]", "ct"),
    ("the same in a plan", PlanError, "demo --set plan.low=ct", "ct"),
    ("the same in a search", PlanError, ("demo", *sets("search.unlearners=[msg, ct]")), "ct"),
    ("too few models", ScoreError, "demo --set score.models=8", "score.models"),
    ("a report of nothing", StoreError, "report small.yaml", "train", "rum-ray run"),
    ("a report of no repeat", StoreError, "report small.yaml --set repeats=2", "repeat 1 of 2"),
    ("a tag in --set", Unsafe, ("demo", *sets("recipe.lr=!!x 1")), "line 1"),
    ("no data of an item", DataError, ("reproduce", "table1", *sets("data.root=nil")), "nil"),
    ("no CIFAR-10", DataError, ("run", "small.yaml", *sets("data={name: cifar10, root: nil}")),
     "nil"),
    ("no weights", DataError, "run small.yaml --set recipe.weights=no.pt", "recipe.weights"),
    ("a folder of weights", DataError, "run small.yaml --set recipe.weights=.", "recipe.weights"),
    ("an experiment as weights", DataError, "run small.yaml --set recipe.weights=small.yaml",
     "recipe.weights"),
    ("no initial weights", DataError, "run small.yaml --set recipe.init=no.pt", "recipe.init"),
    ("a store below a file", StoreError, "run small.yaml --store file/x", "file/x"),
    ("a store that is a file", StoreError, "run small.yaml --store file", "file"),
    ("a store of FTP", StoreError, "run small.yaml --store ftp://x", "ftp://x"),
    ("a store of the web", StoreError, "run small.yaml --store http://x/y", "http://x/y"),
    ("a bucket without a name", StoreError, "run small.yaml --store s3://", "s3://"),
    ("a bucket in capitals", StoreError, "run small.yaml --store S3://b/x", "S3://b/x"),
]  # fmt: skip


def words(line: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line.split()) if isinstance(line, str) else line


ROWS = [
    *(Row(name, UsageError, place, words(line), tuple(said), FILES)
      for name, line, place, *said in USAGE),
    *(Row(name, ConfigError, place, words(line), tuple(said), FILES)
      for name, line, place, *said in CONFIG),
    *(Row(name, error, place, words(line), tuple(said), FILES)
      for name, error, line, place, *said in OTHERS),
    Row("a folder of another experiment", BusyError, "out/small", ("run", "small.yaml"), (),
        {**FILES, "out/small/experiment.yaml": SMALL.replace("30", "31")}),
    Row("a folder of no experiment", BusyError, "experiment.yaml", ("run", "small.yaml"), (),
        {**FILES, "out/small/experiment.yaml": "name: ["}),
]  # fmt: skip


@table(*ROWS)
def test_a_wrong_command_is_refused_with_its_flag_or_key(refuse, row):
    refuse(row)
