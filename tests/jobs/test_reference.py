"""References of searches: their metrics, the plans they lead to, and the pick."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rum_ray import config
from rum_ray.data import load
from rum_ray.errors import ConfigError, ScoreError
from rum_ray.evaluation.mia import auc
from rum_ray.jobs import Context, PoolReference, RetrainedReference, SearchJob, pool_bits
from rum_ray.partition import whole
from rum_ray.rum import Plan
from rum_ray.scores.memorization import memorization
from rum_ray.store import Artifact, Store
from rum_ray.study.methods import method_rows
from rum_ray.study.rehearsal import Rehearsal
from rum_ray.study.spaces import picked_plan
from rum_ray.study.study import Study
from rum_ray.study.validation import check
from rum_ray.unlearning import FineTune, Nothing, SalUn

BASE: dict[str, Any] = {
    "name": "x",
    "data": {"name": "digits", "label_noise": 0.1},
    "recipe": {"model": "mlp", "epochs": 10, "lr": 0.1, "batch_size": 64},
    "score": {"models": 40, "fraction": 0.6, "confidences": True},
    "forget": {"size": 60},
    "search": {
        "trials": 3,
        "spaces": ["V0", "V1", "V4"],
        "finalists": 3,
        "also": ["surrogate", "pool"],
    },
}


@pytest.fixture(scope="module")
def digits():
    return load("digits", label_noise=0.1)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A study with a trained pool and evaluated references."""
    store = Store(tmp_path_factory.mktemp("references"))
    ours = Study(config.parse(BASE), Context(digits, store))
    tests = lambda: [job for found in ours.range_tests.values() for _, job in found]  # noqa: E731
    for jobs in (lambda: ours.first_jobs, lambda: ours.reference_jobs, tests):
        for job in jobs():
            ours.context.get_or_compute(job)
    return ours


def drawn(trained, experiment):
    """A study whose searches have drawn results."""
    context = trained.context
    return Study(experiment, Rehearsal(context.bundle, context.store))


def test_references_have_the_models_of_their_sets(trained):
    oracle, surrogate, pool = trained.references.values()
    assert [*trained.references] == ["oracle", "surrogate", "pool"]
    assert isinstance(oracle, RetrainedReference)
    assert isinstance(surrogate, RetrainedReference)
    assert isinstance(pool, PoolReference)
    for known in (oracle, surrogate):
        for model in known.models:
            assert np.array_equal(model.model.forget, known.partition.rows)
            assert model.split == "valid"
    assert oracle.partition == pool.partition == trained.partition
    assert all(model.model.forget is None for model in pool.models)


def test_a_surrogate_is_retained_and_has_the_same_classes(trained):
    ours, theirs = trained.references["surrogate"].partition, trained.partition
    assert ours.names == theirs.names
    assert not np.intersect1d(ours.rows, theirs.rows).size
    labels = trained.context.bundle.train.y.numpy()
    for mine, other in zip(ours, theirs, strict=True):
        assert sorted(labels[mine.rows]) == sorted(labels[other.rows])
    again = Study(trained.experiment, trained.context).references["surrogate"].partition
    assert again == ours


def test_the_pool_of_a_reference_has_not_chosen_the_forget_set(trained):
    scoring, pool = trained.scoring, trained.references["pool"]
    assert [*pool.pool] == [*scoring.pool[1::2]]
    included, correct = pool_bits(trained.context, scoring.pool[::2]).arrays()
    assert np.array_equal(scoring.scores.values, memorization(included, correct).values)
    plain = Study(config.parse(BASE, ["search.also=[]"]), trained.context)
    assert plain.scoring.reference_half == ()
    assert plain.scoring.scoring_half == plain.scoring.pool


def test_the_pool_reference_is_computed_from_models_not_trained_on_an_example(trained):
    known, context = trained.references["pool"], trained.context
    found, rows = known.load(context), trained.partition.rows
    included, correct = pool_bits(context, known.pool).arrays()
    accuracies, aucs = [correct[~included[:, row], row].mean() for row in rows], []
    for job, learned in zip(known.pool, included, strict=True):
        p = context.load(job).arrays["confidences"].astype(np.float64)
        inside = [row for row in rows if not learned[row]]
        aucs.append(auc(p[inside], p[~learned]))
    assert found.accuracies.forget == pytest.approx(np.mean(accuracies))
    assert found.auc == pytest.approx(np.mean(aucs), abs=0.02)
    models = [model.load(context).accuracies for model in known.models]
    assert found.accuracies.retain == pytest.approx(np.mean([m.retain for m in models]))
    assert found.accuracies.test == pytest.approx(np.mean([m.test for m in models]))
    assert 0 <= found.mia <= 1
    # Hard examples have lower accuracy and confidence where they were not learned.
    assert found.accuracies.forget < found.accuracies.test
    assert found.auc < 0.5


def test_the_pool_reference_is_near_the_oracle(trained):
    oracle, _, pool = (known.load(trained.context) for known in trained.references.values())
    originals = [m.load(trained.context) for m in trained.references["pool"].models]
    untouched = np.mean([e.accuracies.forget for e in originals])
    assert abs(pool.accuracies.forget - oracle.accuracies.forget) < 0.5 * abs(
        untouched - oracle.accuracies.forget
    )
    assert abs(pool.auc - oracle.auc) < 0.15


def test_a_plan_for_a_surrogate_becomes_a_plan_for_the_forget_set(trained, monkeypatch):
    search = trained.searches["V4 surrogate"]
    surrogate = trained.references["surrogate"].partition
    assert search.space.partition == surrogate
    steps = {"high": SalUn(), "low": Nothing(), "medium": FineTune()}
    tried = Plan.assign(surrogate.ordered([*steps]), steps)
    monkeypatch.setattr(SearchJob, "pick", lambda search, context: tried)
    moved = picked_plan(search, trained.context, trained.partition)
    assert moved == Plan.assign(trained.partition.ordered([*steps]), steps)
    single = Plan.assign(whole(surrogate), {"all": SalUn()})
    monkeypatch.setattr(SearchJob, "pick", lambda search, context: single)
    moved = picked_plan(trained.searches["V0"], trained.context, trained.partition)
    assert moved == Plan.assign(whole(trained.partition), {"all": SalUn()})


def test_every_reference_has_a_chain_of_searches(trained):
    spaces, searches = ("V0", "V1", "V4"), trained.searches
    names = [*spaces, *(f"{space} {name}" for name in ("surrogate", "pool") for space in spaces)]
    assert [*searches] == names == [*trained.search_names]
    assert [search.name for search in trained.rungs] == [*spaces]
    keys = {search.key(trained.context).digest for search in searches.values()}
    assert len(keys) == 9
    for name, search in searches.items():
        space, _, reference = name.partition(" ")
        smaller = spaces[: spaces.index(space)]
        # The rival of the main chain has the whole budget, and one part of it counts.
        parts = {"V0": 1 if reference else 3, "V1": 1, "V4": 1}
        assert search.config.trials == 3 * parts[space]
        assert search.reference == trained.references[reference or "oracle"]
        suffix = f" {reference}" if reference else ""
        assert search.parents == tuple((searches[s + suffix], parts[s]) for s in smaller)


def test_other_references_change_no_search(trained):
    # Except the pool, which takes half of the models from the scores.
    both = config.parse(BASE, ["search.also=[surrogate]"])
    turned = config.parse(BASE, ["search.reference=surrogate", "search.also=[oracle]"])
    picky = config.parse(BASE, ["search.also=[]", "search.pick=cost<=0.2"])
    searches = [drawn(trained, e).searches for e in (both, turned, picky)]
    keys = [{n: s.key(trained.context).digest for n, s in of.items()} for of in searches]
    assert keys[0]["V4"] == keys[2]["V4"]
    # The main chain differs from another one by the budget of its rival.
    for main, other, name in ((keys[0], keys[1], "oracle"), (keys[1], keys[0], "surrogate")):
        assert not {main[space] for space in ("V0", "V1", "V4")} & {*other.values()}
        assert {f"V0 {name}", f"V1 {name}", f"V4 {name}"} <= {*other}


def first(search, context):
    """Return a plan of the space, as a pick."""
    return search.space.plan(
        lambda name, domain: domain.options[-1] if hasattr(domain, "options") else domain.low
    )


def test_there_is_one_control_with_several_references(trained, monkeypatch):
    changes = ["search.spaces=[V0, V1]", "search.also=[surrogate]"]
    study = drawn(trained, config.parse(BASE, changes))
    monkeypatch.setattr(SearchJob, "pick", first)
    rows = [(row.method, row.source) for row in method_rows(study)[4:]]
    assert rows == [
        ("best_single", "search"),
        ("rum", "search"),
        ("shuffled", "search"),
        ("rum", "surrogate"),
    ]


def test_every_pick_has_a_row_and_the_main_one_and_its_rival_keep_weights(trained, monkeypatch):
    monkeypatch.setattr(SearchJob, "pick", first)
    trained = drawn(trained, trained.experiment)
    rows = [(row.method, row.source) for row in method_rows(trained)[4:]]
    assert rows == [
        ("best_single", "search"),
        ("refined", "search"),
        ("shuffled", "search"),
        ("rum", "search"),
        ("rum", "surrogate"),
        ("rum", "pool"),
    ]
    kept = {(row.method, row.source) for row in method_rows(trained) if row.jobs[0].keep}
    assert kept == {("best_single", "search"), ("rum", "search")}
    for row in method_rows(trained)[4:]:
        assert np.array_equal(row.plan.partition.rows, trained.forget)
    rows = {row.method: row for row in method_rows(trained)}
    control = rows["shuffled"].plan
    assert control.partition.names == trained.shuffled.names
    unlearners = [[step.unlearner for step in p.steps] for p in (control, rows["refined"].plan)]
    assert unlearners[0] == unlearners[1]


def test_the_control_has_the_fixed_steps(trained, monkeypatch):
    def pick(search, context):
        subsets = search.space.partition
        steps = {name: Nothing() if name == "low" else SalUn() for name in subsets.names}
        return Plan.assign(subsets, steps) if search.name != "V0" else first(search)

    def first(search):
        return Plan.assign(whole(search.space.partition), {"all": SalUn()})

    fixed = config.parse(BASE, ["search.steps={low: nothing}", "search.also=[]"])
    monkeypatch.setattr(SearchJob, "pick", pick)
    rows = {row.method: row for row in method_rows(drawn(trained, fixed))}
    assert [s.unlearner for s in rows["shuffled"].plan.steps] == [Nothing(), SalUn(), SalUn()]
    assert rows["shuffled"].unlearner == rows["refined"].unlearner == "salun"


def test_a_ladder_has_every_space_and_its_own_name():
    experiment = config.parse(BASE)
    ladder = experiment.ladder()
    assert ladder.name == "x-ladder"
    assert ladder.search.spaces == ("V0", "V1", "V2", "V3", "V4", "V5")
    assert replace(ladder.search, spaces=experiment.search.spaces) == experiment.search
    with pytest.raises(ConfigError, match=r"^search: "):
        config.parse(BASE, ["search="]).ladder()


def test_impossible_searches_are_refused_before_anything_is_trained(digits, tmp_path):
    def checked(*overrides: str, bundle=digits) -> None:
        study = Study(config.parse(BASE, overrides), Context(bundle, Store(tmp_path)))
        check(study)

    checked()
    small = replace(digits, valid=digits.valid.take(range(33)))
    with pytest.raises(ConfigError, match=r"^search\.attack: .*auc .*33 .*34 "):
        checked(bundle=small)
    with pytest.raises(ConfigError, match=r"^search\.reference: .*pool"):
        checked("score.recipe={model: mlp, epochs: 3}")
    with pytest.raises(ConfigError, match=r"^search\.reference: .* 4 models .* of the 1200 "):
        checked("score.models=8")
    with pytest.raises(ConfigError, match=r"^search\.reference: pool .* score\.models"):
        checked("score.models={max: 128, standard_error: 0.05}")
    with pytest.raises(ConfigError, match=r"^search\.pick: .*V0 .*0\.1\d* .*0\.05\b"):
        checked("search.unlearners=[finetune]", "search.pick=cost<=0.05")
    with pytest.raises(ConfigError, match=r"^search\.steps: .*'low'.*class3"):
        checked("forget={class: 3}", "refine=by_class", "search={steps: {low: nothing}}")
    with pytest.raises(ScoreError, match="class 3"):
        checked("forget={class: 3}", "refine=by_class", "search.unlearners=[finetune]")
    with pytest.raises(ScoreError, match=r"^forget\.size: .*601 of 1200"):
        checked("forget.size=601")
    checked("forget={class: 3, size: 60}", "refine=by_class")
    assert not any(tmp_path.iterdir())


def test_a_reference_is_computed_once(trained, monkeypatch):
    known = trained.references["pool"]
    first = known.load(trained.context)
    monkeypatch.setattr(PoolReference, "run", lambda *_: Artifact(value={}))
    assert vars(known.load(trained.context)) == vars(first)
