import dataclasses
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from example import EXAMPLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rum_ray
from rum_ray import config
from rum_ray.config.strict_yaml import parse_value
from rum_ray.errors import ConfigError
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
from rum_ray.search.spaces import ALIASES, FREE
from rum_ray.study.forget import order_subsets
from rum_ray.training.domains import Choice, Integers, LogUniform, Uniform
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS, FineTune, Nothing, Retrain, SalUn

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
SMALL = {"name": "x", "data": "digits", "recipe": {"model": "mlp"}, "forget": {"size": 9}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(FineTune):
    """A plug-in, as a user would write it."""

    name: typing.ClassVar[str] = "mine"
    strength: float = 1.0


@pytest.fixture
def example() -> Experiment:
    return config.parse(yaml.safe_load(EXAMPLE))


def test_the_example_is_parsed_key_by_key(example):
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
    assert example.search.spaces == ("V0", "V5")
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
        "data={name: images, train: PATH, size: 64, fit: pad, exif: ignore, id: user}",
        "data={name: images, train: PATH, size: [64, 48], label: fine}",
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
def test_other_values_survive_dump_and_parse(override):
    tree = {key: value for key, value in yaml.safe_load(EXAMPLE).items() if key != "plan"}
    experiment = config.parse(tree, [override])
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


def test_the_demo_is_valid():
    experiment = config.load(DEMO)
    assert experiment.name == "digits"
    assert experiment.search is not None
    assert list(experiment.plan) == ["low", "medium", "high"]


@pytest.mark.parametrize("key", ["name", "data", "recipe", "forget"])
def test_keys_without_default_are_required(key):
    tree = {name: value for name, value in SMALL.items() if name != key}
    with pytest.raises(ConfigError, match=f"^missing key '{key}'\\.$"):
        config.parse(tree)


def test_the_last_override_wins_and_the_tree_is_unchanged():
    tree = yaml.safe_load(EXAMPLE)
    experiment = config.parse(
        tree, ["recipe.lr=0.5", "recipe.lr=0.2", "plan.low.lr=0.3", "plan.low.name=finetune"]
    )
    assert experiment.recipe.lr == 0.2
    assert experiment.plan["low"] == FineTune(lr=0.3)
    assert tree == yaml.safe_load(EXAMPLE)
    assert config.parse(SMALL, ["search.trials=8"]).search.trials == 8
    assert config.parse(SMALL, ["data.label_noise=0.2"]).data.options == {"label_noise": 0.2}


def test_a_file_and_overrides(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(EXAMPLE)
    assert config.load(path, ["seeds=[7]"]).seeds == (7,)
    with pytest.raises(ConfigError, match=r"no\.yaml"):
        config.load(tmp_path / "no.yaml")


def test_retrain_defaults_to_the_recipe_of_the_experiment():
    overrides = ["plan.high=retrain", "compare=[retrain]"]
    experiment = config.parse(yaml.safe_load(EXAMPLE), overrides)
    assert experiment.plan["high"] == experiment.compare[0] == Retrain(recipe=experiment.recipe)
    other = ["plan.high={name: retrain, recipe: {model: mlp, epochs: 2}}"]
    experiment = config.parse(yaml.safe_load(EXAMPLE), other)
    assert experiment.plan["high"].recipe == Recipe("mlp", epochs=2)


def test_a_plug_in_is_named_by_its_module(example):
    mine = f"{__name__}:Mine"
    experiment = config.parse(SMALL, [f"compare=[{{name: '{mine}', strength: 2}}]"])
    assert experiment.compare == (Mine(strength=2.0),)
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment
    message = r"^unknown key 'compare\[0\]\.strenth'\. .* Did you mean 'strength'\?$"
    with pytest.raises(ConfigError, match=message):
        config.parse(SMALL, [f"compare=[{{name: '{mine}', strenth: 2}}]"])


def test_a_dumped_plan_is_part_of_an_experiment_file(example, tmp_path):
    scores = rum_ray.Scores(values=[0.0, 1.0, 2.0, 3.0], standard_errors=[0.0] * 4, name="s")
    plan = Plan.assign(rum_ray.refine([0, 1, 2, 3], scores), example.plan)
    tree = {**yaml.safe_load(EXAMPLE), **yaml.safe_load(config.dump_plan(plan))}
    assert config.parse(tree) == dataclasses.replace(example, order=("low", "medium", "high"))
    path = tmp_path / "plan.yaml"
    path.write_text(config.dump_plan(Plan(plan.steps[::-1])))
    assert config.load_plan(path) == config.PlanFile(example.plan, ("high", "medium", "low"))
    path.write_text("plan: {low: nothing, medium: nothing}")
    assert config.load_plan(path).order is None


def test_the_path_of_a_plan_file_stands_for_its_plan_and_order(example, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "{plan: {low: nothing, medium: finetune, high: salun}, order: [high, low, medium]}"
    )
    tree = yaml.safe_load(EXAMPLE)
    parsed = config.parse(tree, [f"plan={path}"])
    assert parsed.plan == {"low": Nothing(), "medium": FineTune(), "high": SalUn()}
    assert parsed.order == ("high", "low", "medium")
    assert config.parse(parse_value(config.dump(parsed), "dumped")) == parsed
    assert config.parse(tree, [f"plan={path}", "order=[high, low, medium]"]) == parsed
    with pytest.raises(ConfigError, match=r"^plan: \S+ .*\['high', .*\['low', "):
        config.parse(tree, [f"plan={path}", "order=[low, medium, high]"])
    with pytest.raises(ConfigError, match=r"^plan nowhere\.yaml .*No such file"):
        config.parse(tree, ["plan=nowhere.yaml"])
    path.write_text("plan: {low: nothing, medium: finetune, high: salun}")
    assert config.parse(tree, [f"plan={path}"]).order is None
    path.write_text("{plan: {low: nothin}}")
    with pytest.raises(ConfigError, match=r"plan\.low: .*'nothin'.*'nothing'"):
        config.parse(tree, [f"plan={path}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"^plan \S*plan\.yaml .*No such file"),
        ("- low", r"^plan \S*plan\.yaml .*\['low'\]"),
        ("order: [low]", r"^plan \S*plan\.yaml: missing key 'plan'"),
        ("plan: {low: salum}", r"^plan \S*plan\.yaml: plan\.low: .*'salum'"),
        ("{plan: {low: salun}, seeds: [1]}", r"^plan \S*plan\.yaml: unknown key 'seeds'"),
    ],
)
def test_an_invalid_plan_file_is_an_error_with_its_path(tmp_path, text, message):
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
        ("{keep: {high: 0.5}}", {"keep": Uniform(0.1, 0.5)}, {"keep": {"low": 0.1, "high": 0.5}}),
        ("{keep: {low: 0.2}}", {"keep": Uniform(0.2, 0.9)}, {"keep": {"low": 0.2, "high": 0.9}}),
        ("{epochs: {low: 2, high: 3}}", {"epochs": Integers(2, 3)}, None),
        ("{lr: [0.1], keep: 0.5}", {"lr": Choice((0.1,)), "keep": 0.5}, None),
    ],
)
def test_a_candidate_has_a_narrowed_domain(part, expected, dumped):
    tree = yaml.safe_load(part)
    experiment = config.parse(SMALL, [f"search.unlearners=[{{name: salun, {part[1:]}]"])
    assert experiment.search.unlearners == (Candidate("salun", expected),)
    entry = dumped if isinstance(dumped, str) else {"name": "salun", **(dumped or tree)}
    assert to_plain(experiment.search)["unlearners"] == [entry]
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


def test_the_keys_of_a_search_are_parsed():
    text = """{spaces: [V4, V2], steps: {low: nothing, high: {name: salun, lr: 0.1}}, grid: 3,
               sampler: random, start: [plan, plan.yaml]}"""
    search = config.parse({**yaml.safe_load(EXAMPLE), "search": yaml.safe_load(text)}).search
    assert search.spaces == ("V4", "V2")
    assert search.steps == {"low": Nothing(), "high": SalUn(lr=0.1)}
    assert (search.grid, search.sampler, search.start) == (3, "random", ("plan", "plan.yaml"))
    with pytest.raises(ConfigError, match=r"^search\.start: 'plan'"):
        config.parse(SMALL, ["search.start=[plan]"])


def test_a_search_has_a_budget_or_a_number_of_trials():
    found = [config.parse(SMALL, [f"search={text}"]).search for text in
             ("{}", "{budget: 5}", "{trials: 8}", "{trials: 8, finalists: 8}")]  # fmt: skip
    assert [(s.budget, s.trials) for s in found] == [(22, None), (5, None), (None, 8), (None, 8)]
    assert [s.times(3).budget for s in found] == [66, 15, None, None]
    assert [s.times(3).trials for s in found] == [None, None, 24, 24]
    assert all(s.finalists <= (s.trials or s.finalists) and s.objective == "tow_gap" for s in found)
    for search in found:
        assert dataclasses.replace(search, seed=1).times(1) == dataclasses.replace(search, seed=1)


def test_a_plan_file_with_joined_steps_is_a_plan_of_an_experiment(example, tmp_path):
    path = tmp_path / "plan.yaml"
    scores = rum_ray.Scores(values=[0.0, 1.0, 2.0, 3.0], standard_errors=[0.0] * 4, name="s")
    partition = rum_ray.refine([0, 1, 2, 3], scores)
    for steps, order in (
        ({"medium+high": SalUn(), "low": Nothing()}, ("medium", "high", "low")),
        ({"all": SalUn(epochs=3)}, ("low", "medium", "high")),
    ):
        plan = Plan.assign(partition, steps)
        path.write_text(config.dump_plan(plan))
        read = config.parse(yaml.safe_load(EXAMPLE), [f"plan={path}"])
        assert order_subsets(read, partition).names == order
        assert Plan.assign(order_subsets(read, partition), read.plan) == plan
        assert config.parse(parse_value(config.dump(read), "dumped")) == read


def test_names_of_spaces_are_aliases_of_v0_to_v5():
    numbers = config.parse(SMALL, ["search.spaces=[V0, V1, V2, V3, V4, V5]"])
    names = config.parse(SMALL, ["search.spaces=[single, refined, ordered, assigned, rum, joined]"])
    assert names == numbers
    assert names.digest == numbers.digest
    assert list(ALIASES.values()) == list(FREE)
    assert SearchConfig(spaces=("rum", "single")).spaces == ("V4", "V0")
    assert to_plain(SearchConfig(spaces=("rum",)))["spaces"] == ["V4"]


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


# AdamW takes low learning rates only; `init` is a file that exists.
RECIPES = trees(Recipe, model=st.sampled_from(sorted(MODELS)), optimizer=st.just("sgd"))
# They need a pool that stores its confidences.
FORESEEING = {name for name, kind in UNLEARNERS.items() if getattr(kind, "foreseeing", False)}
UNLEARNER = st.one_of(
    [
        st.just(name)
        | trees(cls, **({"recipe": RECIPES} if cls is Retrain else {})).map(
            lambda tree, name=name: {"name": name, **tree}
        )
        for name, cls in UNLEARNERS.items()
        if name not in FORESEEING
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
        st.sampled_from(sorted(UNLEARNERS.keys() - {"retrain", *FORESEEING}))
        | st.just(
            {"name": "msg", "lr": {"low": 0.01, "high": 0.1}, "epochs": [1, 2], "redraw": 0.5}
        ),
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
    # Keys that are valid for some scores only keep their defaults.
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
    "deletion.gates.test_accuracy_drop": 0.1,
    "deletion.gates.attack_auc": 0.6,
    "recipe.normalize": "imagenet",
    "score.recipe.normalize": "imagenet",
}


# Keys that exclude another key, do not count, or allow no value here.
UNFLIPPED = {
    *("forget.ids", "search.pick", "search.budget", "score.recipe.weights", "evaluate.retrained"),
    *(f"{place}.{key}" for place in ("recipe", "score.recipe") for key in ("init", "optimizer")),
}


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


def test_the_digest_depends_on_all_keys_but_name_and_cluster(example):
    digests, same = [example.digest], set()
    for path, other in variants(example):
        # Fields that no result depends on may be left out of comparisons.
        assert other != example or path == "cluster.shard_workers", path
        if other.digest == example.digest:
            same.add(path.partition(".")[0])
        else:
            digests.append(other.digest)
    assert same == {"name", "cluster"}
    assert len(set(digests)) == len(digests) > 35


def test_the_digest_does_not_depend_on_the_pick(example):
    search = dataclasses.replace(example.search, pick="cost<=0.2")
    assert dataclasses.replace(example, search=search).digest == example.digest


def test_the_digest_depends_on_alternative_keys(example):
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
