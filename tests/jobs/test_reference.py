"""References of searches: their metrics, the plans they lead to, and the pick."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rum_ray import config
from rum_ray.data import load
from rum_ray.errors import ConfigError, ScoreError, StalledError
from rum_ray.evaluation.mia import auc
from rum_ray.jobs import Context, PoolReference, RetrainedReference, SearchJob, pool_bits
from rum_ray.partition import whole
from rum_ray.rum import Plan
from rum_ray.scores.memorization import memorization
from rum_ray.store import Artifact, Store
from rum_ray.study.methods import method_rows
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
    "search": {"trials": 3, "also": ["surrogate", "pool"]},
}


@pytest.fixture(scope="module")
def digits():
    return load("digits", label_noise=0.1)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A study with a trained pool and evaluated references."""
    store = Store(tmp_path_factory.mktemp("references"))
    ours = Study(config.parse(BASE), Context(digits, store))
    for jobs in (lambda: ours.first_jobs, lambda: ours.reference_jobs):
        for job in jobs():
            ours.context.get_or_compute(job)
    return ours


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


def test_only_the_last_space_is_searched_with_other_references(trained):
    assert [*trained.searches] == ["V0", "V1", "V4", "V4 surrogate", "V4 pool"]
    assert [search.name for search in trained.rungs] == ["V0", "V1", "V4"]
    keys = {search.key(trained.context).digest for search in trained.searches.values()}
    assert len(keys) == 5


def test_other_references_change_no_search(trained):
    # Except the pool, which takes half of the models from the scores.
    both = config.parse(BASE, ["search.also=[surrogate]"])
    turned = config.parse(BASE, ["search.reference=surrogate", "search.also=[oracle]"])
    picky = config.parse(BASE, ["search.also=[]", "search.pick=cost<=0.2"])
    searches = [Study(e, trained.context).searches for e in (both, turned, picky)]
    keys = [{n: s.key(trained.context).digest for n, s in of.items()} for of in searches]
    assert keys[0]["V4 surrogate"] == keys[1]["V4"]
    assert keys[0]["V4"] == keys[1]["V4 oracle"] == keys[2]["V4"]


TRIALS = [
    ("complete", 0.5, 0.10),
    ("complete", 0.9, 0.40),
    ("complete", 0.6, 0.20),
    ("complete", 0.55, 0.30),
    ("complete", 0.8, 0.35),
    ("complete", 0.4, 0.15),
    ("infeasible", -1.0, 0.7),
    ("diverged", -1.0, 0.05),
]


EPOCH = {"finetune.epochs": 1}


@pytest.fixture
def finished(trained, monkeypatch):
    """A search with these trials, each with its own learning rate."""
    trials = [
        {
            "answers": {"unlearner": "finetune", "finetune.lr": 0.001 * (1 + n), **EPOCH},
            "plan": [n],
            **dict(zip(("status", "objective", "cost"), trial, strict=True)),
        }
        for n, trial in enumerate(TRIALS)
    ]
    monkeypatch.setattr(SearchJob, "load", lambda search, context: trials)

    def make(**changes):
        search = trained.searches["V0"]
        return replace(search, config=replace(search.config, **changes))

    return make


def test_no_cheaper_trial_matches_a_trial_of_the_front(finished):
    front = finished().front(None)
    assert [trial["number"] for trial in front] == [0, 2, 4, 1]
    cheaper = [min(t["cost"] for t in front if t["objective"] >= j) for _, j, _ in TRIALS[:6]]
    assert all(cost <= own for cost, (_, _, own) in zip(cheaper, TRIALS[:6], strict=True))


def test_a_pick_is_a_trial_within_the_limit(finished):
    def rates(**changes):
        plans = finished(**changes).finalists(None)
        return [round(1000 * plan.steps[0].unlearner.lr) - 1 for plan in plans]

    assert rates() == [1, 4, 2]
    assert rates(pick="cost<=0.35") == [4, 2, 3]
    assert rates(pick=" cost <= .2 ") == [2, 0, 5]
    assert rates(pick="cost<=0.1") == [0]
    with pytest.raises(StalledError, match=r"^search\.pick: .*V0 .*cost<=0\.05.* 0\.1\b"):
        rates(pick="cost<=0.05")


def first(search, context):
    """Return a plan of the space, as a pick."""
    return search.space.plan(
        lambda name, domain: domain.options[-1] if hasattr(domain, "options") else domain.low
    )


def test_there_is_one_control_with_several_references(trained, monkeypatch):
    changes = ["search.spaces=[V0, V1]", "search.also=[surrogate]"]
    study = Study(config.parse(BASE, changes), trained.context)
    monkeypatch.setattr(SearchJob, "pick", first)
    rows = [(row.method, row.source) for row in method_rows(study)[3:]]
    assert rows == [
        ("best_single", "search"),
        ("rum", "search"),
        ("shuffled", "search"),
        ("rum", "surrogate"),
    ]


def test_every_pick_has_a_row_and_only_the_main_one_keeps_weights(trained, monkeypatch):
    monkeypatch.setattr(SearchJob, "pick", first)
    rows = [(row.method, row.source) for row in method_rows(trained)[3:]]
    assert rows == [
        ("best_single", "search"),
        ("refined", "search"),
        ("shuffled", "search"),
        ("rum", "search"),
        ("rum", "surrogate"),
        ("rum", "pool"),
    ]
    kept = {(row.method, row.source) for row in method_rows(trained) if row.jobs[0].keep}
    assert kept == {("rum", "search")}
    for row in method_rows(trained)[3:]:
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
    rows = {row.method: row for row in method_rows(Study(fixed, trained.context))}
    assert [s.unlearner for s in rows["shuffled"].plan.steps] == [Nothing(), SalUn(), SalUn()]
    assert rows["shuffled"].unlearner == rows["refined"].unlearner == "salun"


def test_a_ladder_has_every_space_and_its_own_name():
    experiment = config.parse(BASE)
    ladder = experiment.ladder()
    assert ladder.name == "x-ladder"
    assert ladder.search.spaces == ("V0", "V1", "V2", "V3", "V4")
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
    assert known.load(trained.context) == first
