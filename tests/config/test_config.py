import dataclasses
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rum_ray
from rum_ray import config
from rum_ray.config.strict_yaml import parse_value
from rum_ray.errors import ConfigError, RumRayError, UnsafeError
from rum_ray.experiment import (
    ClusterConfig,
    EvaluateConfig,
    Experiment,
    ForgetConfig,
    RelearnConfig,
    ScoreConfig,
    SearchConfig,
    to_plain,
)
from rum_ray.models import MODELS
from rum_ray.refinement import ByScore, Shuffle
from rum_ray.rum import Plan
from rum_ray.scores import PROXIES
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice, Integers, LogUniform, Uniform
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS, FineTune, Nothing, Retrain, SalUn

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
SMALL = {"name": "x", "data": "digits", "recipe": {"model": "mlp"}, "forget": {"size": 9}}
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(FineTune):
    """A plug-in, as a user would write it."""

    name: typing.ClassVar[str] = "mine"
    strength: float = 1.0


@pytest.fixture
def example() -> Experiment:
    return config.parse(yaml.safe_load(EXAMPLE))


def test_every_key_of_the_example_is_read(example):
    assert (example.name, example.data.name, example.retain) == ("digits", "digits", "remaining")
    assert example.data.options == {"label_noise": 0.1, "seed": 0}
    assert example.recipe == Recipe("mlp", epochs=60, lr=0.1, batch_size=64)
    assert example.score.recipe == example.recipe
    assert (example.score.models, example.score.fraction) == (128, 0.7)
    assert (example.forget.size, example.forget.pick) == (120, "spread")
    assert example.refine == ByScore()
    assert example.plan == {
        "low": Nothing(),
        "medium": FineTune(lr=0.05, epochs=5),
        "high": SalUn(lr=0.05, epochs=5, keep=0.5),
    }
    names = ["finetune", "l1_sparse", "neggrad+", "salun"]
    assert list(example.compare) == [UNLEARNERS[name]() for name in names]
    assert example.search.trials == 32
    names = ("nothing", "finetune", "neggrad+", "salun")
    assert example.search.unlearners == tuple(map(Candidate, names))
    assert example.search.spaces == ("V0", "V1", "V4")
    assert example.evaluate.attack == "svm"
    assert example.seeds == tuple(range(10))
    assert example.cluster == ClusterConfig(workers=2, gpus_per_worker=0.0, max_failures=-1)


@pytest.mark.parametrize(
    "override",
    [
        "data={name: cifar10, root: DIR, size: 4000}",
        "data={name: cifar10, root: DIR, size: 4000, test_size: 100, seed: 3}",
        "data={name: images, train: PATH, test: PATH, valid_fraction: 0.1}",
        "data={name: images, train: PATH, test: PATH, seed: 3}",
        "data=digits",
        "score={name: confidence}",
        "score={file: scores.parquet}",
        "score={models: {max: 2000, standard_error: 0.05}, confidences: true}",
        "score.models={max: 100, changed: 0.1}",
        "forget={ids: FILE}",
        "forget={class: 3}",
        "forget={class: cat, size: 50, pick: random, seed: 1}",
        "forget={size: 50, pick: high, by: entanglement, groups: 100}",
        "embedding=layer4.1",
        "refine={name: by_entanglement, into: [near, far]}",
        "refine={name: grid, scores: [a, b], distances: [c]}",
        "refine=by_class",
        "refine=shuffle",
        "retain=final",
        "search=",
        "plan=",
        "cluster={modules: [a, b]}",
    ],
)
def test_other_values_of_the_example_are_read(override):
    tree = {key: value for key, value in yaml.safe_load(EXAMPLE).items() if key != "plan"}
    experiment = config.parse(tree, [override])
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


def test_the_demo_is_read():
    experiment = config.load(DEMO)
    assert experiment.name == "digits"
    assert experiment.search is not None
    assert list(experiment.plan) == ["low", "medium", "high"]


AT = r"^search\.unlearners\[1\]: "


def narrowed(part: str) -> str:
    """A search whose second candidate is narrowed."""
    return f"search.unlearners=[nothing, {{name: salun, {part}}}]"


ERRORS = [
    # Keys: unknown ones with the nearest that is known, missing ones, keys of other sections.
    ("nosuch=1", r"^unknown key 'nosuch'\. Known: name, data, recipe, .*, cluster\.$"),
    ("seed=1", r"^unknown key 'seed'\. .* Did you mean 'seeds'\?$"),
    ("recipe.epoch=3", r"^unknown key 'recipe\.epoch'\. .* Did you mean 'epochs'\?$"),
    ("recipe.optimizer=adam", r"^unknown key 'recipe\.optimizer'\. Known: model, "),
    ("data.label_nois=1", r"^unknown key 'data\.label_nois'\. .* Did you mean 'label_noise'\?$"),
    ("data.root=x", r"^unknown key 'data\.root'\. Known: label_noise, seed\.$"),
    ("score.recipe={model: mlp, epoch: 1}", r"^unknown key 'score\.recipe\.epoch'\. .* 'epochs'"),
    ("score.leave_out=3", r"^unknown key 'score\.leave_out'"),
    ("forget.sise=3", r"^unknown key 'forget\.sise'\. .* Did you mean 'size'\?$"),
    ("refine={name: by_score, in_to: [a]}", r"^unknown key 'refine\.in_to'.* mean 'into'\?$"),
    ("plan.low={name: finetune, epoch: 1}", r"^unknown key 'plan\.low\.epoch'.* 'epochs'\?$"),
    ("compare=[{name: salun, kep: 1}]", r"^unknown key 'compare\[0\]\.kep'.* mean 'keep'\?$"),
    ("search.trial=3", r"^unknown key 'search\.trial'\. .* Did you mean 'trials'\?$"),
    ("evaluate.mia=svm", r"^unknown key 'evaluate\.mia'\. Known: attack, members, also, relearn"),
    ("evaluate.also=[lira]", r"^evaluate\.also\.0: input should be 'svm_correctness', "),
    ("evaluate.also=[threshold, threshold]", r"^evaluate\.also must name each attack once, got "),
    ("evaluate.relearn={epochs: 0}", r"^evaluate\.relearn\.epochs must be positive, got 0"),
    ("refine={name: by_score, into: [low, test]}", r"^refine\.into: 'test' is a whole set"),
    ("cluster.worker=1", r"^unknown key 'cluster\.worker'\. .* Did you mean 'workers'\?$"),
    ("1=2", r"^unknown key '1'"),
    ("data=cifar10", r"^missing key 'data\.root'\.$"),
    ("data={name: images, train: a}", r"^missing key 'data\.test'\.$"),
    ("score.recipe={epochs: 3}", r"^missing key 'score\.recipe\.model'\.$"),
    # Values that YAML reads as another type than they look like.
    ("recipe.lr=1e-3", r"^recipe\.lr: .* got '1e-3'\. YAML reads it as text; write 0\.001\.$"),
    ("name=no", r"^name: .* valid string, got False\. YAML reads no, off, yes and on as booleans"),
    ("recipe.epochs=012", r"^ambiguous number '012' in line 1: YAML reads it as 10\."),
    ("recipe.epochs=true", r"^recipe\.epochs: input should be a valid integer, got True\."),
    ("recipe.epochs=", r"^recipe\.epochs: input should be a valid integer, got nothing\.$"),
    # Numbers out of range.
    ("recipe.lr=.nan", r"^recipe\.lr: input should be a finite number, got nan\.$"),
    ("recipe.lr=-.inf", r"^recipe\.lr: input should be a finite number, got -inf\.$"),
    ("recipe.lr=0", r"^recipe\.lr must be positive, got 0"),
    ("recipe.lr=-1", r"^recipe\.lr must be positive, got -1"),
    ("recipe.epochs=0", r"^recipe\.epochs must be positive, got 0"),
    ("recipe.epochs=-1", r"^recipe\.epochs must be positive, got -1"),
    ("recipe.epochs=1.5", r"^recipe\.epochs: input should be a valid integer, got 1\.5\.$"),
    ("recipe.batch_size=0", r"^recipe\.batch_size must be positive, got 0"),
    ("recipe.momentum=-1", r"^recipe\.momentum must not be negative, got -1"),
    ("recipe.weight_decay=-1", r"^recipe\.weight_decay must not be negative, got -1"),
    ("recipe.threads=0", r"^recipe\.threads must be positive, got 0"),
    ("score.models=1", r"^score\.models must be at least 4, got 1"),
    ("score.models=lots", r"^score\.models: input should be a valid integer, got 'lots'\.$"),
    ("score.models={}", r"^missing key 'score\.models\.max'\.$"),
    ("score.models={max: 200}", r"^score\.models: give standard_error or changed: how precise"),
    (
        "score={name: entropy, fused: true}",
        r"^score\.fused is about the leave-k-out pool",
    ),
    ("score={file: s.parquet, confidences: true}", r"^score\.confidences is about .* s\.parquet$"),
    (
        "score.models={max: 200, standard_error: 0.1, changed: 0.1}",
        r"^score\.models: give either standard_error or changed, and not both",
    ),
    ("score.models={max: 63, changed: 0.1}", r"^score\.models\.max must be at least 64, got 63"),
    ("score.models={max: 64, changed: 0}", r"^score\.models\.changed must be in \(0, 1\), got 0"),
    (
        "score.models={max: 64, standard_error: 1.0}",
        r"^score\.models\.standard_error must be in \(0, 1\), got 1\.0",
    ),
    (
        "score.models={max: 64, standard_err: 0.1}",
        r"^unknown key 'score\.models\.standard_err'\. .* Did you mean 'standard_error'\?$",
    ),
    ("score.models.max=100", r"^--set score\.models\.max=100: 'models' is no mapping, but 128\.$"),
    ("score.recipe={model: mlp, weights: w}", r"^score: recipe\.weights is for the original"),
    ("score.fraction=0", r"^score\.fraction must be in \(0, 1\), got 0"),
    ("score.fraction=1.0", r"^score\.fraction must be in \(0, 1\), got 1"),
    ("score.recipe={model: mlp, epochs: 0}", r"^score\.recipe\.epochs must be positive, got 0"),
    ("forget.size=0", r"^forget\.size must be positive, got 0"),
    ("plan.low={name: finetune, lr: -1}", r"^plan\.low\.lr must be positive, got -1"),
    ("compare=[{name: salun, keep: 2}]", r"^compare\[0\]\.keep must be in \[0, 1\], got 2"),
    ("compare=[{name: influence, damping: 0}]", r"^compare\[0\]\.damping must be positive, got 0"),
    ("compare=[{name: ssd, alpha: -1}]", r"^compare\[0\]\.alpha must not be negative, got -1"),
    ("plan.low={name: msg, redraw: 2}", r"^plan\.low\.redraw must be in \[0, 1\], got 2"),
    ("search.trials=0", r"^search\.trials must be positive, got 0"),
    ("search.max_cost=0", r"^search\.max_cost must be positive, got 0"),
    ("search.seeds=2", r"^search\.seeds must be at least 3, got 2"),
    ("search.batch=-4", r"^search\.batch must be positive, got -4"),
    ("cluster.workers=-1", r"^cluster\.workers must be positive, got -1"),
    ("cluster.gpus_per_worker=-1", r"^cluster\.gpus_per_worker must not be negative, got -1"),
    ("seeds=[]", r"^seeds must be different, and at least one, got \(\)"),
    ("seeds=[3, 1, 3]", r"^seeds must be different, and at least one, got \(3, 1, 3\)"),
    ("seeds=[1.0]", r"^seeds\.0: input should be a valid integer"),
    ("seeds=['0']", r"^seeds\.0: input should be a valid integer"),
    # Values of another type or not on the list.
    ("recipe=mlp", r"^recipe: expected a mapping, got 'mlp'\.$"),
    ("recipe.schedule=cosin", r"^recipe\.schedule: .* 'cosine' or 'constant', got 'cosin'\.$"),
    ("recipe.precision=float16", r"^recipe\.precision: .* 'float32' or 'bfloat16', got 'float16'"),
    ("recipe.augment=1", r"^recipe\.augment: input should be a valid boolean, got 1\.$"),
    ("data=3", r"^data: expected the name of a data set, got 3\.$"),
    ("data={}", r"^data: expected the name of a data set, got \{\}\.$"),
    ("data.label_noise=x", r"^data\.label_noise: input should be a valid number, got 'x'\.$"),
    ("score.file=3", r"^score\.file: input should be a valid string, got 3\.$"),
    ("forget.pick=hi", r"^forget\.pick: .* 'low', .*, 'spread' or 'random', got 'hi'\.$"),
    ("forget.by=distance", r"^forget\.by: .* 'score' or 'entanglement', got 'distance'\.$"),
    ("forget.groups=2", r"^forget\.groups must be at least 3, got 2"),
    ("forget.class=1.5", r"^forget\.class\S*: input should be a valid integer, got 1\.5\.$"),
    ("forget.label=1", r"^unknown key 'forget\.label'\. Known: size, .*, class, seed, ids\."),
    (
        "forget={class: 1, ids: x}",
        r"^forget: give either size \(and pick\), class, or both, or ids",
    ),
    ("forget.middle=x", r"^forget\.middle: .* 'half', 'median' or 'rank', got 'x'\.$"),
    ("forget.ids=x", r"^forget: give either size \(and pick\), class, or both, or ids \(a file\)"),
    ("forget={}", r"^forget: give either size \(and pick\), class, or both, or ids \(a file\)"),
    ("refine.into=x", r"^refine\.into: input should be a list, got 'x'\.$"),
    (
        "refine={into: [a]}",
        r"^refine: expected the name of a known refiner, got \{'into': \['a'\]\}",
    ),
    ("retain=all", r"^retain: input should be 'remaining' or 'final', got 'all'\.$"),
    ("plan=[a]", r"^plan: expected a mapping of subsets, got \['a'\]\.$"),
    ("plan.low={lr: 1}", r"^plan\.low: expected the name of a known unlearner, got \{'lr': 1\}\.$"),
    (
        "compare=[{name: salun, mask: x}]",
        r"^compare\[0\]\.mask: .* 'saliency' or 'official', got 'x'",
    ),
    ("compare=[{name: influence, mode: x}]", r"^compare\[0\]\.mode: .* 'official' or 'fisher'"),
    ("compare=finetune", r"^compare: expected a list, got 'finetune'\.$"),
    ("compare=[finetune, finetune]", r"^compare names an unlearner twice"),
    ("search=5", r"^search: expected a mapping, got 5\.$"),
    ("search.attack=x", r"^search\.attack: input should be 'auc' or 'svm', got 'x'\.$"),
    (
        "search.reference=y",
        r"^search\.reference: input should be 'oracle', 'surrogate' or 'pool', got 'y'\.$",
    ),
    ("search.unlearners=[]", r"^search\.unlearners must name at least one"),
    ("search.unlearners=[retrain]", r"^search\.unlearners\[0\]: retrain "),
    (
        "search.unlearners=[salun, {name: salun, lr: 0.1}]",
        r"^search\.unlearners must name at least one, and each once, got \['salun', 'salun'\]$",
    ),
    ("search.unlearners=salun", r"^search\.unlearners: expected a list, got 'salun'\.$"),
    ("search.spaces=[V5]", r"^search\.spaces\.0: input should be 'V0', .* or 'V4', got \['V5'\]"),
    ("search.spaces=[V4, V4]", r"^search\.spaces must name each once, and one besides V0, got "),
    ("search.spaces=[V0]", r"^search\.spaces must name each once, and one besides V0, got "),
    ("search.spaces=[]", r"^search\.spaces must name each once, and one besides V0, got \[\]$"),
    ("search.grid=1", r"^search\.grid must be at least 2, got 1"),
    ("search.sampler=rnadom", r"^search\.sampler: .* 'tpe' or 'random', got 'rnadom'\.$"),
    ("search.start=[plan, plan]", r"^search\.start must name each plan once, and no more than the"),
    (
        "search={trials: 1, start: [plan, x]}",
        r"^search\.start must name each plan once, and no more than there are trials, got ",
    ),
    ("search.steps={high: retrain}", r"^search\.steps must be without retrain, which a search"),
    ("search.steps={hihg: salun}", r"^search\.steps: unknown subset 'hihg'\. .* mean 'high'\?$"),
    ("search.steps={high: salum}", r"^search\.steps\.high: unknown unlearner 'salum'\. "),
    # What a candidate may be narrowed to.
    (
        narrowed("lr: {low: 0.1, high: 0.01}"),
        AT + r"salun\.lr: low must be below high, got 0\.1 and",
    ),
    (narrowed("lr: {low: 0.1, high: 0.1}"), AT + r"salun\.lr: low must be below .* one value\.$"),
    (narrowed("lr: {low: 0.2}"), AT + r"salun\.lr: .* 0\.2 and 0\.2.* 0\.001"),
    (
        narrowed("lr: {low: 0.5}"),
        AT + r"salun\.lr may be 0\.001 to 0\.2, logarithmic; got 0\.5\.$",
    ),
    (
        narrowed("lr: {high: 0.5}"),
        AT + r"salun\.lr may be 0\.001 to 0\.2, logarithmic; got 0\.5\.$",
    ),
    (
        narrowed("lr: {top: 0.1}"),
        r"^unknown key 'search\.unlearners\[1\]\.lr\.top'\. Known: low, h",
    ),
    (narrowed("lr: []"), AT + r"salun\.lr: .*got \[\]"),
    (narrowed("epochs: [1, 1]"), AT + r"salun\.epochs: .*got \[1, 1\]"),
    (narrowed("epochs: [1, 11]"), AT + r"salun\.epochs may be 1 to 10; got 11\.$"),
    (narrowed("epochs: 11"), AT + r"salun\.epochs may be 1 to 10; got 11\.$"),
    ("search.also=[oracle]", r"^search\.also must name each reference once, .* beside 'oracle'$"),
    ("search.also=[pool, pool]", r"^search\.also must name each reference once, without the one"),
    ("search.pick=cost<0.2", r"^search\.pick must be cost<=X, with X above 0 and at most max_c"),
    ("search.pick=cost<=0.6", r"^search\.pick must be .* 'cost<=0\.6' with max_cost 0\.5$"),
    ("search.pick=cost<=0", r"^search\.pick must be cost<=X, with X above 0 and at most max_cost"),
    (
        "search.reference=pool",
        r"^search\.reference: pool asks what .* set score\.confidences: true",
    ),
    (narrowed("epochs: 1.5"), r"^search\.unlearners\[1\]\.epochs: .* valid integer, got 1\.5\.$"),
    (narrowed("epochs: {low: 1.5}"), r"^search\.unlearners\[1\]\.epochs\.low: .* valid integer"),
    (
        narrowed("lr: [1e-2]"),
        r"^search\.unlearners\[1\]\.lr\[0\]: .* YAML reads it as text; write 0",
    ),
    (narrowed("lr: '0.1'"), r"^search\.unlearners\[1\]\.lr: .* YAML reads it as text; write 0\.1"),
    (narrowed("rate: 0.1"), r"^unknown key 'search\.unlearners\[1\]\.rate'\. Known: lr, "),
    (narrowed("batch_size: 0"), r"^search\.unlearners\[1\]: batch_size must be positive, got 0$"),
    (narrowed("batch_size: [1, 2]"), r"^search\.unlearners\[1\]\.batch_size: .* valid integer"),
    (narrowed("batch_size: {low: 1}"), r"^search\.unlearners\[1\]\.batch_size: .* valid integer"),
    ("evaluate.attack=z", r"^evaluate\.attack: input should be 'svm' or 'auc', got 'z'\.$"),
    ("seeds=0", r"^seeds: input should be a list, got 0\.$"),
    ("cluster.modules=x", r"^cluster\.modules: input should be a list, got 'x'\.$"),
    # Names of things that are not there.
    ("recipe.model=mpl", r"^recipe\.model: unknown model 'mpl'\. .* Did you mean 'mlp'\?$"),
    ("data=digit", r"^data: unknown data set 'digit'\. .* Did you mean 'digits'\?$"),
    ("score.name=entropi", r"^score: unknown score 'entropi'\. .* Did you mean 'entropy'\?$"),
    ("score.compare=[curv]", r"^score: unknown proxy 'curv'\. .* Did you mean 'curvature'\?$"),
    ("score.compare=[entropy, entropy]", r"^score\.compare names a proxy twice: entropy, entropy$"),
    ("score.compare=heldout", r"^score\.compare: input should be a list, got 'heldout'\.$"),
    ("refine=by_scor", r"^refine: unknown refiner 'by_scor'\. .* Did you mean 'by_score'\?$"),
    ("plan.low=nothin", r"^plan\.low: unknown unlearner 'nothin'\. .* Did you mean 'nothing'\?$"),
    ("compare=[scrubb]", r"^compare\[0\]: unknown unlearner 'scrubb'\. .* Did you mean 'scrub'\?$"),
    ("search.unlearners=[salum]", r"^search\.unlearners\[0\]: unknown .*'salum'\. .* 'salun'\?$"),
    ("plan={low: nothing}", r"^plan: subset 'medium' has no unlearner; 'nothing' is one\. "),
    ("plan.med=nothing", r"^plan: unknown subset 'med'\. Known: low, .* Did you mean 'medium'\?$"),
    ("name=../x", r"^name may have letters, digits, - and _, got '\.\./x'"),
    ("name=/abs", r"^name may have letters, digits, - and _, got '/abs'"),
    ("name=a/b", r"^name may have letters, digits, - and _, got 'a/b'"),
    ("name=''", r"^name may have letters, digits, - and _, got ''"),
    ("name='<script>'", r"^name may have letters, digits, - and _, got '<script>'"),
    # Plug-ins.
    ("recipe.model=nope:x", r"^recipe\.model: model 'nope:x' cannot be imported: No module named"),
    ("recipe.model=math:nope", r"^recipe\.model: model 'math:nope' cannot be imported: .*nope"),
    ("data=math:pi", r"^data: data set 'math:pi' is no function, but 3\.14"),
    ("compare=[math:pi]", r"^compare\[0\]: unlearner 'math:pi' is no dataclass, but 3\.14"),
    (
        "compare=['rum_ray.data.batches:Batches']",
        r"^compare\[0\]: unlearner .* has no name for tables and err",
    ),
    ("refine=builtins:int", r"^refine: refiner 'builtins:int' is no dataclass, but <class 'int'>"),
    # The form of --set itself.
    ("lr", r"^--set lr: expected key=value, such as recipe\.epochs=10\.$"),
    ("=1", r"^--set =1: expected key=value, such as recipe\.epochs=10\.$"),
    ("recipe.lr=[", r"^--set recipe\.lr=\[: the value is not valid YAML: .* line 1, column 2\.$"),
    ("seeds.x=1", r"^--set seeds\.x=1: 'seeds' is no mapping, but \[0, 1, 2, 3, "),
    ("recipe.epochs.x=1", r"^--set recipe\.epochs\.x=1: 'epochs' is no mapping, but 60\.$"),
]


@pytest.mark.parametrize(("override", "message"), ERRORS, ids=[o for o, _ in ERRORS])
def test_errors_say_where_and_what_to_do(override, message):
    with pytest.raises(RumRayError, match=message) as raised:
        config.parse(yaml.safe_load(EXAMPLE), [override])
    assert isinstance(raised.value, ConfigError)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("override", ["recipe.lr=!!float 1", "recipe.lr=*a"])
def test_overrides_may_have_no_tags_and_aliases(override):
    with pytest.raises(UnsafeError, match="in line 1 is not allowed"):
        config.parse(SMALL, [override])


@pytest.mark.parametrize("key", ["name", "data", "recipe", "forget"])
def test_keys_without_default_are_required(key):
    tree = {name: value for name, value in SMALL.items() if name != key}
    with pytest.raises(ConfigError, match=f"^missing key '{key}'\\.$"):
        config.parse(tree)


def test_the_last_override_counts_and_the_tree_stays():
    tree = yaml.safe_load(EXAMPLE)
    experiment = config.parse(
        tree, ["recipe.lr=0.5", "recipe.lr=0.2", "plan.low.lr=0.3", "plan.low.name=finetune"]
    )
    assert experiment.recipe.lr == 0.2
    assert experiment.plan["low"] == FineTune(lr=0.3)
    assert tree == yaml.safe_load(EXAMPLE)
    assert config.parse(SMALL, ["search.trials=3"]).search.trials == 3
    assert config.parse(SMALL, ["data.label_noise=0.2"]).data.options == {"label_noise": 0.2}


def test_a_file_and_overrides(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(EXAMPLE)
    assert config.load(path, ["seeds=[7]"]).seeds == (7,)
    with pytest.raises(ConfigError, match=r"no\.yaml cannot be read"):
        config.load(tmp_path / "no.yaml")


def test_retrain_without_a_recipe_takes_the_experiments():
    overrides = ["plan.high=retrain", "compare=[retrain]"]
    experiment = config.parse(yaml.safe_load(EXAMPLE), overrides)
    assert experiment.plan["high"] == experiment.compare[0] == Retrain(recipe=experiment.recipe)
    other = ["plan.high={name: retrain, recipe: {model: mlp, epochs: 2}}"]
    experiment = config.parse(yaml.safe_load(EXAMPLE), other)
    assert experiment.plan["high"].recipe == Recipe("mlp", epochs=2)


def test_plugins_are_named_by_module(example):
    mine = f"{__name__}:Mine"
    experiment = config.parse(SMALL, [f"compare=[{{name: '{mine}', strength: 2}}]"])
    assert experiment.compare == (Mine(strength=2.0),)
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment
    message = r"^unknown key 'compare\[0\]\.strenth'\. .* Did you mean 'strength'\?$"
    with pytest.raises(ConfigError, match=message):
        config.parse(SMALL, [f"compare=[{{name: '{mine}', strenth: 2}}]"])


def test_a_plan_is_dumped_as_keys_of_an_experiment(example, tmp_path):
    scores = rum_ray.Scores(values=[0.0, 1.0, 2.0, 3.0], standard_errors=[0.0] * 4, name="s")
    plan = Plan.assign(rum_ray.refine([0, 1, 2, 3], scores), example.plan)
    tree = {**yaml.safe_load(EXAMPLE), **yaml.safe_load(config.dump_plan(plan))}
    assert config.parse(tree) == dataclasses.replace(example, order=("low", "medium", "high"))
    path = tmp_path / "plan.yaml"
    path.write_text(config.dump_plan(Plan(plan.steps[::-1])))
    assert config.load_plan(path) == config.PlanFile(example.plan, ("high", "medium", "low"))
    path.write_text("plan: {low: nothing, medium: nothing}")
    assert config.load_plan(path).order is None


def test_a_plan_file_stands_for_its_plan_and_order(example, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "{plan: {low: nothing, medium: finetune, high: salun}, order: [high, low, medium]}"
    )
    tree = yaml.safe_load(EXAMPLE)
    found = config.parse(tree, [f"plan={path}"])
    assert found.plan == {"low": Nothing(), "medium": FineTune(), "high": SalUn()}
    assert found.order == ("high", "low", "medium")
    assert config.parse(parse_value(config.dump(found), "dumped")) == found
    assert config.parse(tree, [f"plan={path}", "order=[high, low, medium]"]) == found
    with pytest.raises(ConfigError, match=r"^plan: \S+ has order .*, and key 'order' is \['low', "):
        config.parse(tree, [f"plan={path}", "order=[low, medium, high]"])
    with pytest.raises(ConfigError, match=r"^plan nowhere\.yaml cannot be read: No such file"):
        config.parse(tree, ["plan=nowhere.yaml"])
    path.write_text("plan: {low: nothing, medium: finetune, high: salun}")
    assert config.parse(tree, [f"plan={path}"]).order is None
    path.write_text("{plan: {low: nothin}}")
    with pytest.raises(ConfigError, match=r"unknown unlearner 'nothin'\. .*'nothing'"):
        config.parse(tree, [f"plan={path}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"^plan \S*plan\.yaml cannot be read: No such file"),
        ("- low", r"^plan \S*plan\.yaml must be a mapping of keys, got \['low'\]"),
        ("order: [low]", r"^plan \S*plan\.yaml: missing key 'plan'"),
        ("plan: {low: salum}", r"^plan \S*plan\.yaml: plan\.low: unknown unlearner 'salum'"),
        (
            "{plan: {low: salun}, seeds: [1]}",
            r"^plan \S*plan\.yaml: unknown key 'seeds'\. Known: p",
        ),
    ],
)
def test_a_plan_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load_plan(path)


@pytest.mark.parametrize(
    ("part", "expected", "dumped"),
    [
        ("{}", {}, "salun"),
        ("{lr: 0.1}", {"lr": 0.1}, None),
        (
            "{lr: 0.1, epochs: [1, 3], mask: official}",
            {"lr": 0.1, "epochs": Choice((1, 3)), "mask": "official"},
            None,
        ),
        ("{lr: {low: 0.01, high: 0.1}}", {"lr": LogUniform(0.01, 0.1)}, None),
        ("{lr: {high: 0.1}}", {"lr": LogUniform(1e-3, 0.1)}, {"lr": {"low": 1e-3, "high": 0.1}}),
        ("{keep: {low: 0.2}}", {"keep": Uniform(0.2, 0.9)}, {"keep": {"low": 0.2, "high": 0.9}}),
        ("{epochs: {low: 2, high: 3}}", {"epochs": Integers(2, 3)}, None),
        ("{lr: [0.1], keep: 0.5}", {"lr": Choice((0.1,)), "keep": 0.5}, None),
    ],
)
def test_a_candidate_is_narrowed(part, expected, dumped):
    tree = yaml.safe_load(part)
    experiment = config.parse(SMALL, [f"search.unlearners=[{{name: salun, {part[1:]}]"])
    assert experiment.search.unlearners == (Candidate("salun", expected),)
    entry = dumped if isinstance(dumped, str) else {"name": "salun", **(dumped or tree)}
    assert to_plain(experiment.search)["unlearners"] == [entry]
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


def test_a_search_is_read():
    text = """{spaces: [V4, V2], steps: {low: nothing, high: {name: salun, lr: 0.1}}, grid: 3,
               sampler: random, start: [plan, plan.yaml]}"""
    search = config.parse({**yaml.safe_load(EXAMPLE), "search": yaml.safe_load(text)}).search
    assert search.spaces == ("V4", "V2")
    assert search.steps == {"low": Nothing(), "high": SalUn(lr=0.1)}
    assert (search.grid, search.sampler, search.start) == (3, "random", ("plan", "plan.yaml"))
    with pytest.raises(
        ConfigError, match=r"^search\.start: 'plan' is the experiment's plan, and th"
    ):
        config.parse(SMALL, ["search.start=[plan]"])


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
WORDS = st.sampled_from(["low", "no", "on", "012", "1e3", "<<", "=", "~", "a: b", "- x", "#"])
BASIC: Mapping[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(4, 10**9),
    float: st.floats(0, 1, exclude_min=True, exclude_max=True),
}


def trees(cls: type, **special: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Plain values for any of a dataclass's fields, by their types."""
    strategies = dict(special)
    for name, hint in typing.get_type_hints(cls).items():
        if typing.get_origin(hint) is typing.Literal:
            strategies.setdefault(name, st.sampled_from(typing.get_args(hint)))
        elif hint in BASIC:
            strategies.setdefault(name, BASIC[hint])
    fields = {f.name: f for f in dataclasses.fields(cls) if f.name in strategies}
    required = {n for n, f in fields.items() if f.default is f.default_factory}
    return st.fixed_dictionaries(
        {name: strategies[name] for name in required},
        optional={name: strategies[name] for name in fields.keys() - required},
    )


RECIPES = trees(Recipe, model=st.sampled_from(sorted(MODELS)))
UNLEARNER = st.one_of(
    [
        st.just(name)
        | trees(cls, **({"recipe": RECIPES} if cls is Retrain else {})).map(
            lambda tree, name=name: {"name": name, **tree}
        )
        for name, cls in UNLEARNERS.items()
    ]
)
DATA = st.one_of(
    st.just("digits"),
    st.fixed_dictionaries({"name": st.just("digits"), "label_noise": BASIC[float]}),
    st.fixed_dictionaries({"name": st.just("cifar10"), "root": TEXT, "size": BASIC[int]}),
    st.fixed_dictionaries({"name": st.just("images"), "train": TEXT, "test": TEXT}),
)
SEARCH = trees(
    SearchConfig,
    unlearners=st.lists(
        st.sampled_from(sorted(UNLEARNERS.keys() - {"retrain"}))
        | st.just({"name": "msg", "lr": {"low": 0.01}, "epochs": [1, 2], "redraw": 0.5}),
        min_size=1,
        unique_by=lambda u: u if isinstance(u, str) else u["name"],
    ),
    spaces=st.permutations(["V0", "V1", "V2", "V3", "V4"]),
    grid=st.none() | st.integers(2, 9),
    reference=st.sampled_from(["oracle", "surrogate"]),
    also=st.just([]),
    pick=st.none(),
    start=st.lists(TEXT.filter(lambda text: text != "plan"), max_size=3, unique=True),
)


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    """Any experiment file, as plain values."""
    into = draw(st.lists(TEXT | WORDS, min_size=1, max_size=3, unique=True))
    name = draw(st.sampled_from(["by_score", "by_entanglement", "shuffle"]))
    plan = st.fixed_dictionaries(dict.fromkeys(into, UNLEARNER))
    refine = {"refine": st.just({"name": name, "into": into}), "plan": plan | st.none()}
    named = st.sampled_from(["memorization", *PROXIES])
    proxies = st.lists(st.sampled_from(sorted(PROXIES)), unique=True)
    # What is not every model's is left as it is.
    own = {"recipe": RECIPES, "file": st.none() | TEXT, "fused": st.just(False)}
    own["confidences"] = st.just(False)
    score = trees(ScoreConfig, name=named, compare=proxies, **own)
    forget = trees(ForgetConfig, size=BASIC[int]).map(lambda tree: {"size": 9, **tree})
    seeds = st.lists(st.integers(), min_size=1, max_size=3, unique=True)
    compare = st.lists(
        UNLEARNER, max_size=3, unique_by=lambda u: u if isinstance(u, str) else u["name"]
    )
    optional = {
        "score": score,
        "compare": compare,
        "search": SEARCH,
        "seeds": seeds,
        "evaluate": trees(EvaluateConfig),
        "cluster": trees(ClusterConfig, modules=st.lists(TEXT)),
        "retain": st.sampled_from(["remaining", "final"]),
    }
    required = {
        "name": st.text("aA0-_", min_size=1, max_size=4) | st.sampled_from(["no", "012", "1_0"]),
        "data": DATA,
        "recipe": RECIPES,
        "forget": forget | st.fixed_dictionaries({"ids": TEXT}),
    }
    return draw(st.fixed_dictionaries({**required, **refine}, optional=optional))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(experiments())
def test_load_of_dump_is_equal(tree):
    experiment = config.parse(tree)
    text = config.dump(experiment)
    again = config.parse(parse_value(text, "dumped"))
    assert again == experiment
    assert (again.digest, config.dump(again)) == (experiment.digest, text)


FLIPS: Mapping[str, Any] = {
    "name": "other",
    "data.name": "cifar10",
    "data.options": {"label_noise": 0.1, "seed": 1},
    "recipe.model": "small_cnn",
    "score.name": "entropy",
    "score.file": "scores.parquet",
    "score.recipe": None,
    "score.compare": ("curvature",),
    "score.recipe.model": "small_cnn",
    "recipe.weights": "file",
    "forget.middle": "median",
    "forget.label": 3,
    "embedding": "features",
    "refine.into": ("low", "high", "medium"),
    "plan": {"low": Nothing(), "medium": Nothing(), "high": Nothing()},
    "compare": (SalUn(),),
    "evaluate.also": ("threshold",),
    "evaluate.relearn": RelearnConfig(),
    "search.unlearners": (Candidate("finetune"), Candidate("nothing")),
    "search.spaces": ("V4",),
    "search.steps": {"high": SalUn()},
    "search.grid": 3,
    "search.also": ("surrogate",),
    "search.start": ("plan",),
    "seeds": (0, 1),
    "order": ("high", "low", "medium"),
    "cluster.modules": ("folder",),
}


# They replace another key, have one value, or none that is allowed.
UNFLIPPED = {"forget.ids", "search.pick", "score.recipe.weights"}


def flipped(value: Any, hint: Any) -> Any:
    """Another value of a field's type."""
    if typing.get_origin(hint) is typing.Literal:
        return next(option for option in typing.get_args(hint) if option != value)
    if isinstance(value, bool):
        return not value
    return {int: lambda: value + 1, float: lambda: value / 2 + 0.125}[type(value)]()


def variants(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path, and the dataclass with this one field flipped, of every field that it has."""
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        here, old = f"{path}{field.name}", getattr(value, field.name)
        if here in FLIPS:
            yield here, dataclasses.replace(value, **{field.name: FLIPS[here]})
        elif here not in UNFLIPPED and not dataclasses.is_dataclass(old):
            flip = flipped(old, hints[field.name])
            yield here, dataclasses.replace(value, **{field.name: flip})
        if dataclasses.is_dataclass(old):
            for below, inner in variants(old, f"{here}."):
                yield below, dataclasses.replace(value, **{field.name: inner})


def test_the_digest_counts_every_science_key_and_no_other(example):
    digests, same = [example.digest], set()
    for path, other in variants(example):
        assert other != example, path
        if other.digest == example.digest:
            same.add(path.partition(".")[0])
        else:
            digests.append(other.digest)
    assert same == {"name", "cluster"}
    assert len(set(digests)) == len(digests) > 35


def test_another_pick_is_the_same_experiment(example):
    search = dataclasses.replace(example.search, pick="cost<=0.2")
    assert dataclasses.replace(example, search=search).digest == example.digest


def test_the_digest_counts_what_replaces_other_keys(example):
    others = [
        dataclasses.replace(example, forget=ForgetConfig(ids="file")),
        dataclasses.replace(example, refine=Shuffle(into=("low", "medium", "high"))),
        dataclasses.replace(example, plan=None),
        dataclasses.replace(example, search=None),
        *(dataclasses.replace(example, compare=(u,)) for _, u in variants(SalUn())),
        *(dataclasses.replace(example, compare=(u,)) for u in (Mine(), FineTune())),
    ]
    digests = {example.digest, *(other.digest for other in others)}
    assert len(digests) == 1 + len(others)


def test_equal_experiments_have_equal_digests():
    tree = yaml.safe_load(EXAMPLE)
    same = config.parse(dict(reversed(tree.items())), ["recipe.lr=0.10", "cluster.workers=9"])
    assert same.digest == config.parse(tree).digest
