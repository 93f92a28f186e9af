"""Keys and values of an experiment file that are wrong: the place is the key."""

from refusals import Row, sets, table

from rum_ray.errors import ConfigError

EXAMPLE = """
name: digits
data:    {name: digits, label_noise: 0.1, seed: 0}
recipe:  {model: mlp, epochs: 60, lr: 0.1, batch_size: 64, schedule: cosine, augment: false,
          precision: float32, threads: 1}
score:   {name: memorization, models: 128, fraction: 0.7, seed: 0,
          recipe: {model: mlp, epochs: 60, lr: 0.1, batch_size: 64}}
forget:  {size: 120, pick: spread}
refine:  {name: by_score, into: [low, medium, high]}
retain:  remaining
plan:
  low:    nothing
  medium: {name: finetune, lr: 0.05, epochs: 5}
  high:   {name: salun, lr: 0.05, epochs: 5, keep: 0.5}
compare: [finetune, l1_sparse, neggrad+, salun]
search:  {trials: 32, unlearners: [nothing, finetune, neggrad+, salun], reference: oracle,
          attack: auc, max_cost: 0.5, seed: 0, batch: 4}
evaluate: {attack: svm}
seeds:   [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
cluster: {workers: 2, gpus_per_worker: 0, max_failures: -1}
"""
RUN = ("run", "x.yaml")


def narrowed(part: str) -> str:
    """A search whose second candidate is narrowed."""
    return f"search.unlearners=[nothing, {{name: salun, {part}}}]"


WRONG = [
    # Keys: unknown keys with the closest known key, missing keys, keys of other sections.
    ("nosuch=1", "nosuch", "Known: name, data, recipe, "),
    ("seed=1", "seed", "'seeds'?"),
    ("recipe.epoch=3", "recipe.epoch", "'epochs'?"),
    ("recipe.optimizer=adam", "recipe.optimizer", "'adam'", "adamw"),
    ("data.label_nois=1", "data.label_nois", "'label_noise'?"),
    ("data.root=x", "data.root"),
    ("score.recipe={model: mlp, epoch: 1}", "score.recipe.epoch", "'epochs'?"),
    ("score.leave_out=3", "score.leave_out"),
    ("forget.sise=3", "forget.sise", "'size'?"),
    ("refine={name: by_score, in_to: [a]}", "refine.in_to", "'into'?"),
    ("plan.low={name: finetune, epoch: 1}", "plan.low.epoch", "'epochs'?"),
    ("compare=[{name: salun, kep: 1}]", "compare[0].kep", "'keep'?"),
    ("search.trial=3", "search.trial", "'trials'?"),
    ("evaluate.mia=svm", "evaluate.mia", "Known: attack, members, also"),
    ("evaluate.also=[lira]", "evaluate.also[0]", "'lira'"),
    ("evaluate.also=[threshold, threshold]", "evaluate.also", "got ['threshold', 'threshold']"),
    ("evaluate.relearn={epochs: 0}", "evaluate.relearn.epochs", "got 0"),
    ("refine={name: by_score, into: [low, test]}", "refine.into", "'test'"),
    ("cluster.worker=1", "cluster.worker", "'workers'?"),
    ("1=2", "1"),
    ("data=cifar10", "data.root"),
    ("data={name: images, test: a}", "data.train"),
    ("score.recipe={epochs: 3}", "score.recipe.model"),
    # Values that YAML reads as another type.
    ("recipe.lr=1e-3", "recipe.lr", "got '1e-3'", "write 0.001"),
    ("name=no", "name", "got False", "quotes"),
    ("recipe.epochs=012", "line 1", "'012'", "Write 10"),
    ("recipe.epochs=true", "recipe.epochs", "got True"),
    ("recipe.epochs=", "recipe.epochs", "got nothing"),
    # Numbers out of range.
    ("recipe.lr=.nan", "recipe.lr", "got nan"),
    ("recipe.lr=-.inf", "recipe.lr", "got -inf"),
    ("recipe.lr=0", "recipe.lr", "got 0.0"),
    ("recipe.lr=-1", "recipe.lr", "got -1.0"),
    ("recipe.epochs=0", "recipe.epochs", "got 0"),
    ("recipe.epochs=-1", "recipe.epochs", "got -1"),
    ("recipe.epochs=1.5", "recipe.epochs", "got 1.5"),
    ("recipe.batch_size=0", "recipe.batch_size", "got 0"),
    ("recipe.momentum=-1", "recipe.momentum", "got -1.0"),
    ("recipe.weight_decay=-1", "recipe.weight_decay", "got -1.0"),
    ("recipe.threads=0", "recipe.threads", "got 0"),
    ("score.models=1", "score.models", "got 1"),
    ("score.models=lots", "score.models", "got 'lots'"),
    ("score.models={}", "score.models.max"),
    ("score.models={max: 200}", "score.models", "standard_error"),
    ("score={name: entropy, fused: true}", "score.fused", "entropy"),
    ("score={file: s.parquet, confidences: true}", "score.confidences", "s.parquet"),
    ("score.models={max: 200, standard_error: 0.1, changed: 0.1}", "score.models", "not both"),
    ("score.models={max: 63, changed: 0.1}", "score.models.max", "got 63"),
    ("score.models={max: 64, changed: 0}", "score.models.changed", "got 0.0"),
    ("score.models={max: 64, standard_error: 1.0}", "score.models.standard_error", "got 1.0"),
    (
        "score.models={max: 64, standard_err: 0.1}",
        "score.models.standard_err",
        "'standard_error'?",
    ),
    ("score.models.max=100", "--set score.models.max=100:", "got 128"),
    ("score.recipe={model: mlp, weights: w}", "score: recipe.weights"),
    ("score.fraction=0", "score.fraction", "got 0.0"),
    ("score.fraction=1.0", "score.fraction", "got 1.0"),
    ("score.recipe={model: mlp, epochs: 0}", "score.recipe.epochs", "got 0"),
    ("forget.size=0", "forget.size", "got 0"),
    ("plan.low={name: finetune, lr: -1}", "plan.low.lr", "got -1.0"),
    ("compare=[{name: salun, keep: 2}]", "compare[0].keep", "got 2.0"),
    ("compare=[{name: influence, damping: 0}]", "compare[0].damping", "got 0.0"),
    ("compare=[{name: ssd, alpha: -1}]", "compare[0].alpha", "got -1.0"),
    ("plan.low={name: msg, redraw: 2}", "plan.low.redraw", "got 2.0"),
    ("search.trials=0", "search.trials", "got 0"),
    ("search.max_cost=0", "search.max_cost", "got 0.0"),
    ("search.seeds=2", "search.seeds", "got 2"),
    ("search.batch=-4", "search.batch", "got -4"),
    ("cluster.workers=-1", "cluster.workers", "got -1"),
    ("cluster.gpus_per_worker=-1", "cluster.gpus_per_worker", "got -1.0"),
    ("seeds=[]", "seeds", "got []"),
    ("seeds=[3, 1, 3]", "seeds", "got [3, 1, 3]"),
    ("seeds=[1.0]", "seeds.0", "got [1.0]"),
    ("seeds=['0']", "seeds.0", "got ['0']"),
    # Values of another type, or not among the options.
    ("recipe=mlp", "recipe", "got 'mlp'"),
    ("recipe.schedule=cosin", "recipe.schedule", "got 'cosin'"),
    ("recipe.precision=float16", "recipe.precision", "got 'float16'"),
    ("recipe.augment=1", "recipe.augment", "got 1"),
    ("data=3", "data", "got 3"),
    ("data={}", "data", "got {}"),
    ("data.label_noise=x", "data.label_noise", "got 'x'"),
    ("score.file=3", "score.file", "got 3"),
    ("forget.pick=hi", "forget.pick", "got 'hi'"),
    ("forget.by=distance", "forget.by", "got 'distance'"),
    ("forget.groups=2", "forget.groups", "got 2"),
    ("forget.class=1.5", "forget.class", "got 1.5"),
    ("forget.label=1", "forget.label"),
    ("forget={class: 1, ids: x}", "forget", "ids"),
    ("forget.middle=x", "forget.middle", "got 'x'"),
    ("forget.ids=x", "forget", "ids"),
    ("forget={}", "forget", "ids"),
    ("refine.into=x", "refine.into", "got 'x'"),
    ("refine={into: [a]}", "refine", "got {'into': ['a']}"),
    ("retain=all", "retain", "got 'all'"),
    ("plan=[a]", "plan", "got ['a']"),
    ("plan.low={lr: 1}", "plan.low", "got {'lr': 1}"),
    ("compare=[{name: salun, mask: x}]", "compare[0].mask", "got 'x'"),
    ("compare=[{name: influence, mode: x}]", "compare[0].mode", "got 'x'"),
    ("compare=finetune", "compare", "got 'finetune'"),
    ("compare=[finetune, finetune]", "compare", "twice"),
    ("search=5", "search", "got 5"),
    ("search.attack=x", "search.attack", "got 'x'"),
    ("search.reference=y", "search.reference", "got 'y'"),
    ("search.unlearners=[]", "search.unlearners", "got []"),
    ("search.unlearners=[retrain]", "search.unlearners[0]", "retrain"),
    (
        "search.unlearners=[salun, {name: salun, lr: 0.1}]",
        "search.unlearners",
        "got ['salun', 'salun']",
    ),
    ("search.unlearners=salun", "search.unlearners", "got 'salun'"),
    ("search.spaces=[V6]", "search.spaces.0", "got ['V6']"),
    ("search.spaces=[V4, V4]", "search.spaces", "got ['V4', 'V4']"),
    ("search.spaces=[V0]", "search.spaces", "got ['V0']"),
    ("search.spaces=[]", "search.spaces", "got []"),
    ("search.spaces=[single]", "search.spaces", "got ['single']"),
    ("search.spaces=[rum, rum]", "search.spaces", "got ['rum', 'rum']"),
    ("search.spaces=[V0, rum]", "search.spaces", "got ['V0', 'rum']"),
    ("search.spaces=[V4, rum]", "search.spaces", "got ['V4', 'rum']"),
    ("search.spaces=[rumm]", "search.spaces.0", "got ['rumm']", "'rum'"),
    ("search.grid=1", "search.grid", "got 1"),
    ("search.sampler=rnadom", "search.sampler", "got 'rnadom'"),
    ("search.start=[plan, plan]", "search.start", "got ['plan', 'plan']"),
    (
        "search={trials: 1, finalists: 1, start: [plan, x]}",
        "search.start",
        "got ['plan', 'x']",
    ),
    ("search={trials: 5, budget: 5.0}", "search.trials", "got 5 and 5"),
    ("search.budget=9.5", "search.trials", "got 32 and 9.5"),
    ("search={budget: 0}", "search.budget", "got 0"),
    ("search={trials: 5}", "search: finalists", "got 6 of 5"),
    ("search.finalists=33", "search.finalists", "got 33 of 32"),
    ("search.finalists=0", "search.finalists", "got 0"),
    ("search.fresh=0", "search.fresh", "got 0"),
    ("search.rows=0", "search.rows", "got 0"),
    ("search.objective=js", "search.objective", "got 'js'"),
    (
        "search={objective: examples, also: [pool]}",
        "search.objective",
        "tow_gap",
        "got examples",
    ),
    ("search.spaces=[joined, V0]", "search.spaces", "got ['joined', 'V0']"),
    ("search.spaces=[joined, joined]", "search.spaces", "got ['joined', 'joined']"),
    ("plan={low+high: salun}", "plan", "'medium'"),
    ("plan={low+high: salun, medium: salun, low: salun}", "plan", "'low'"),
    ("plan={low+hihg: salun, medium: salun}", "plan", "'hihg'", "'high'?"),
    ("order=[low+high]", "order", "low, medium, high"),
    ("search.steps={high: retrain}", "search.steps", "retrain"),
    ("search.steps={hihg: salun}", "search.steps", "'hihg'", "'high'?"),
    ("search.steps={high: salum}", "search.steps.high", "'salum'", "'salun'?"),
    # Narrowed domains of a candidate.
    (narrowed("lr: {low: 0.1, high: 0.01}"), "search.unlearners[1]: salun.lr", "0.1 and 0.01"),
    (narrowed("lr: {low: 0.1, high: 0.1}"), "search.unlearners[1]: salun.lr", "0.1 and 0.1"),
    (narrowed("lr: {low: 0.2}"), "search.unlearners[1].lr", "both low and high"),
    (narrowed("lr: {high: 0.2}"), "search.unlearners[1].lr", "both low and high"),
    (narrowed("keep: {low: 0.95}"), "search.unlearners[1]: salun.keep", "0.95"),
    (narrowed("lr: {low: -0.5, high: 1}"), "search.unlearners[1]: salun.lr", "got -0.5"),
    (narrowed("lr: {top: 0.1}"), "search.unlearners[1].lr.top"),
    (narrowed("lr: []"), "search.unlearners[1]: salun.lr"),
    (narrowed("epochs: [1, 1]"), "search.unlearners[1]: salun.epochs"),
    (narrowed("epochs: [1, 11]"), "search.unlearners[1]: salun.epochs", "11"),
    (narrowed("epochs: 11"), "search.unlearners[1]: salun.epochs", "11"),
    ("search.also=[oracle]", "search.also", "got ['oracle']"),
    ("search.also=[pool, pool]", "search.also", "got ['pool', 'pool']"),
    ("search.pick=cost<0.2", "search.pick", "got 'cost<0.2'"),
    ("search.pick=cost<=0.6", "search.pick", "got 'cost<=0.6'"),
    ("search.pick=cost<=0", "search.pick", "got 'cost<=0'"),
    ("search.reference=pool", "search.reference", "score.confidences: true"),
    (narrowed("epochs: 1.5"), "search.unlearners[1].epochs", "got 1.5"),
    (narrowed("epochs: {low: 1.5}"), "search.unlearners[1].epochs.low", "got 1.5"),
    (narrowed("lr: [1e-2]"), "search.unlearners[1].lr[0]", "got '1e-2'", "write 0.01"),
    (narrowed("lr: '0.1'"), "search.unlearners[1].lr", "got '0.1'", "write 0.1"),
    (narrowed("rate: 0.1"), "search.unlearners[1].rate"),
    (narrowed("batch_size: 0"), "search.unlearners[1]: batch_size", "got 0"),
    (narrowed("batch_size: [1, 2]"), "search.unlearners[1].batch_size", "got [1, 2]"),
    (narrowed("batch_size: {low: 1}"), "search.unlearners[1].batch_size", "got {'low': 1}"),
    ("evaluate.attack=z", "evaluate.attack", "got 'z'"),
    ("seeds=0", "seeds", "got 0"),
    ("cluster.modules=x", "cluster.modules", "got 'x'"),
    # Unknown names.
    ("recipe.model=mpl", "recipe.model", "'mpl'", "'mlp'?"),
    ("data=digit", "data", "'digit'", "'digits'?"),
    ("score.name=entropi", "score", "'entropi'", "'entropy'?"),
    ("score.compare=[curv]", "score", "'curv'", "'curvature'?"),
    ("score.compare=[entropy, entropy]", "score.compare", "got ['entropy', 'entropy']"),
    ("score.compare=heldout", "score.compare", "got 'heldout'"),
    ("refine=by_scor", "refine", "'by_scor'", "'by_score'?"),
    ("plan.low=nothin", "plan.low", "'nothin'", "'nothing'?"),
    ("compare=[scrubb]", "compare[0]", "'scrubb'", "'scrub'?"),
    ("search.unlearners=[salum]", "search.unlearners[0]", "'salum'", "'salun'?"),
    ("plan={low: nothing}", "plan", "'medium'"),
    ("plan.med=nothing", "plan", "'med'", "'medium'?"),
    ("name=../x", "name", "got '../x'"),
    ("name=/abs", "name", "got '/abs'"),
    ("name=a/b", "name", "got 'a/b'"),
    ("name=''", "name", "got ''"),
    ("name='<script>'", "name", "got '<script>'"),
    # Plug-ins.
    ("recipe.model=nope:x", "recipe.model", "'nope:x'"),
    ("recipe.model=math:nope", "recipe.model", "'math:nope'", "Python itself"),
    ("data=math:pi", "data", "Python itself"),
    ("data={name: 'subprocess:getoutput', cmd: 'id'}", "data", "Python itself"),
    ("data=numpy:load", "data", "'numpy'", "rum-ray"),
    ("score.name='os:getcwd'", "score", "Python itself"),
    ("evaluate.also=['os:getcwd']", "evaluate.also[0]", "Python itself"),
    ("compare=[math:pi]", "compare[0]", "Python itself"),
    ("compare=['rum_ray.seeding:Seed']", "compare[0]", "Unlearner"),
    ("compare=['rum_ray.data.batches:Batches']", "compare[0]", "Unlearner"),
    ("refine=builtins:int", "refine", "Python itself"),
    # The form of --set itself.
    ("lr", "--set lr:", "key=value"),
    ("=1", "--set =1:", "key=value"),
    ("recipe.lr=[", "--set recipe.lr=[:", "line 1, column 2"),
    ("seeds.x=1", "--set seeds.x=1:", "got [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"),
    ("recipe.epochs.x=1", "--set recipe.epochs.x=1:", "got 60"),
]


@table(
    *(Row(case, ConfigError, place, RUN + sets(case), tuple(said)) for case, place, *said in WRONG)
)
def test_a_wrong_value_is_refused_with_its_key(refuse, row):
    (refuse.folder / "x.yaml").write_text(EXAMPLE)
    refuse(row)
