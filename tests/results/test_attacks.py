"""The attacks of `evaluate.also` in a small study, done in this process."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from reference.streaming import stream

from rum_ray.errors import ConfigError
from rum_ray.evaluation import (
    PoolEvidence,
    forgetting_quality,
    iam,
    pool_lira,
    predict,
    ruli,
    svm_attack,
    threshold_attack,
    u_lira,
)
from rum_ray.evaluation.mia import auc, label_logit
from rum_ray.evaluation.statistics import Mean
from rum_ray.experiment import (
    DataConfig,
    EvaluateConfig,
    Experiment,
    ForgetConfig,
    RelearnConfig,
    ScoreConfig,
    SearchConfig,
)
from rum_ray.jobs import Context, TrainPoolModel, UnlearnShadow
from rum_ray.jobs.pool import within
from rum_ray.partition import Subset
from rum_ray.results.load import load_methods, load_outcome
from rum_ray.results.metrics import metric
from rum_ray.results.rows import row_summaries
from rum_ray.results.schema import Klom, Metric, Row
from rum_ray.results.summary import summarize
from rum_ray.rum import Plan, Step, unlearn
from rum_ray.store import Store
from rum_ray.study.costs import training_count
from rum_ray.study.methods import method_rows, pool_jobs, shadow_jobs
from rum_ray.study.study import Study
from rum_ray.study.validation import check, check_floor
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import FineTune, Nothing

ALSO = ("svm_entropy", "svm_probabilities", "threshold", "pool_lira", "pool_rmia", "u_lira")
ALSO += ("ruli", "iam")
TUNED = FineTune(lr=0.2, epochs=2)
EXPERIMENT = Experiment(
    name="small",
    data=DataConfig("digits"),
    recipe=Recipe("mlp", epochs=15, batch_size=32),
    score=ScoreConfig(models=24, fraction=0.6),
    forget=ForgetConfig(size=30),
    plan={"low": Nothing(), "medium": TUNED, "high": TUNED},
    evaluate=EvaluateConfig(also=ALSO, relearn=RelearnConfig(epochs=1, lr=0.1)),
    seeds=(0, 1),
)


class Trap:
    """Test data that nothing may read before the report."""

    def __getattr__(self, name):
        raise AssertionError(f"test data was read: {name}")


@pytest.fixture(scope="module")
def study(bundle, tmp_path_factory) -> Study:
    """A finished study; T is there only for the last stages."""
    store = Store(tmp_path_factory.mktemp("store"))
    before = Study(EXPERIMENT, Context(replace(bundle, test=Trap()), store))
    check(before)
    for job in before.first_jobs:
        before.context.get_or_compute(job)
    for job in before.retrain_jobs:
        before.context.get_or_compute(job)
    study = Study(EXPERIMENT, Context(bundle, store))
    rows = method_rows(study)
    jobs = [job for row in rows for job in row.jobs]
    for job in [*jobs, *pool_jobs(study), *shadow_jobs(study, rows)]:
        study.context.get_or_compute(job)
    return study


@pytest.fixture(scope="module")
def rows(study) -> tuple[Row, ...]:
    """The study's rows: retrained, retrained again, the original, and the plan."""
    return row_summaries(load_methods(study, method_rows(study)))


def models(study: Study) -> list:
    """Each pool model with the rows that it learned."""
    total = len(study.context.bundle.train)
    jobs = shadow_jobs(study, method_rows(study))
    assert len(jobs) == 24
    return [(job.model.load(study.context), job.learned(total)) for job in jobs]


def logits_of(model, data) -> np.ndarray:
    return label_logit(predict(model, data), data.y.numpy()).astype("f4").astype("f8")


def test_every_row_has_every_attack(rows):
    names = {"threshold", "threshold_gap", "svm_entropy", "svm_entropy_gap", "u_lira", "u_lira_gap"}
    names |= {"ruli", "ruli_gap", "iam", "iam_gap"}
    for attack in ("pool_lira", "pool_rmia"):
        names |= {attack, f"{attack}_gap", f"{attack}_retain", f"{attack}_tpr_at_0.001"}
    for row in rows:
        assert row.metrics.keys() >= names | {"relearned_gap", "tow_examples", "js_high"}
        for name, found in row.metrics.items():
            # A metric that cannot be measured is null and has a reason; none is zero in silence.
            assert (found.mean is None) == (found.reason is not None), name
            assert len(found.values) == 2 * (found.mean is not None), name
    # 60 non-members tell nothing of a rate of 1 %.
    rate = rows[0].metrics["pool_lira_tpr_at_0.01"]
    assert rate.reason == "needs 100 non-members"
    assert rows[0].klom["forget"] == Klom(None, None, "needs 100 seeds")


def test_against_itself_the_retrained_model_has_no_gap(rows):
    gaps = {name: m for name, m in rows[0].metrics.items() if name.endswith("_gap")}
    assert len(gaps) == 11
    assert all(gap.mean == 0 for gap in gaps.values())
    assert rows[0].metrics["u_lira"].values == rows[0].metrics["ruli"].values == (0.5, 0.5)


def test_the_original_is_told_apart_by_each_attack(rows):
    floor, original = rows[1].metrics, rows[2].metrics
    for attack in ("pool_lira", "pool_rmia", "u_lira", "ruli"):
        assert original[f"{attack}_gap"].mean > 2 * floor[f"{attack}_gap"].mean
        assert original[attack].mean > 0.6
    assert original["iam_gap"].mean > 2 * floor["iam_gap"].mean
    assert original["iam"].mean < rows[0].metrics["iam"].mean


def test_the_pool_attack_is_made_of_the_pool_s_predictions(study, rows):
    bundle, forget = study.context.bundle, study.forget
    asked, unseen = bundle.train.take(forget), bundle.nonmembers("test")
    shadows = models(study)
    pool = np.stack([logits_of(m, asked) for m, _ in shadows])
    outside = np.stack([logits_of(m, unseen) for m, _ in shadows])
    included = np.stack([np.isin(forget, learned) for _, learned in shadows])
    told = []
    for job in study.originals:
        model = job.load(study.context)
        targets = PoolEvidence(logits_of(model, asked), pool, included)
        alike = np.stack([included[:, k % len(forget)] for k in range(len(unseen))], axis=1)
        others = PoolEvidence(logits_of(model, unseen), outside, alike)
        told.append(pool_lira(targets, others).auc)
    assert rows[2].metrics["pool_lira"].values == pytest.approx(told, abs=0.003)


def test_shadows_forget_what_they_learned_of_the_forget_set(study, rows):
    train, plan = study.context.bundle.train, method_rows(study)[-1].plan
    forget, logits, forgotten = plan.partition.rows, [], []
    for job, (model, learned) in zip(
        shadow_jobs(study, method_rows(study)), models(study), strict=True
    ):
        steps = []
        for step in plan.steps:
            mine = [list(learned).index(row) for row in step.subset.rows if row in learned]
            steps.append(Step(Subset(step.subset.name, mine), step.unlearner))
        inside, runtime = train.take(learned), LocalRuntime(job.seed)
        after = unlearn(model, Plan(tuple(steps)), inside, runtime, EXPERIMENT.recipe)
        logits.append(logits_of(after, train.take(forget)))
        forgotten.append([row in learned for row in forget])
    before = np.stack([logits_of(model, train.take(forget)) for model, _ in models(study)])
    told, ruled = [], []
    for ours, theirs in zip(method_rows(study)[-1].jobs, method_rows(study)[0].jobs, strict=True):
        pair = [job.load(study.context).logits("forget") for job in (ours, theirs)]
        evidence = (*pair, np.stack(logits), np.array(forgotten))
        told.append(u_lira(*evidence).auc)
        ruled.append(ruli(*evidence, before).auc)
    assert rows[-1].metrics["u_lira"].values == tuple(told)
    assert rows[-1].metrics["u_lira_gap"].mean == pytest.approx(abs(np.mean(told) - 0.5))
    assert rows[-1].metrics["ruli"].values == tuple(ruled)


def test_iam_measures_by_the_original_and_by_other_retrained_models(study, rows):
    def logits(job):
        return job.load(study.context).logits("forget")

    retrained, again, original, *_, plan = ([*map(logits, r.jobs)] for r in method_rows(study))
    for row, models, shadows in ((-1, plan, again), (0, retrained, again), (1, again, retrained)):
        told = [iam(*pair, np.stack(shadows)) for pair in zip(models, original, strict=True)]
        assert rows[row].metrics["iam"].values == tuple(told)


def test_the_forgetting_quality_is_one_number_of_all_seeds(study):
    def logits(row):
        return np.stack([job.load(study.context).logits("forget") for job in row.jobs])

    name = "forgetting_quality"
    with pytest.raises(ConfigError, match=rf"^evaluate\.also: {name} .* 3 seeds, and there are 2 "):
        changed(evaluate=EvaluateConfig(also=(name,)))
    three = changed(evaluate=replace(EXPERIMENT.evaluate, also=(*ALSO, name)), seeds=(0, 1, 2))
    asked = Study(three, study.context)
    methods = method_rows(asked)
    jobs = [*asked.first_jobs, *asked.retrain_jobs, *(job for row in methods for job in row.jobs)]
    for job in jobs:
        study.context.get_or_compute(job)
    found = row_summaries(load_methods(asked, methods))
    assert found[0].metrics[name] == Metric(1.0)
    assert found[0].metrics[f"{name}_gap"] == Metric(0.0)
    for row, measured in zip(methods, found, strict=True):
        quality = forgetting_quality(logits(row), logits(methods[0]))
        assert measured.metrics[name] == Metric(quality)
        assert measured.metrics[f"{name}_gap"] == Metric(1 - quality)


def test_a_step_without_members_in_the_share_is_left_out():
    parts = (Subset("low", [1, 4]), Subset("medium", [7]), Subset("high", [8, 9]))
    plan = Plan(tuple(Step(part, TUNED) for part in parts), "final")
    some = within(plan, np.array([0, 4, 5, 8, 9]))
    assert [(s.subset.name, list(s.subset.rows)) for s in some.steps] == [
        ("low", [1]),
        ("high", [3, 4]),
    ]
    assert some.retain == "final"
    assert within(plan, np.array([0, 2, 3])) is None


def test_a_shadow_with_nothing_to_forget_stays_as_it_is(study):
    context, total = study.context, len(study.context.bundle.train)
    model = study.scoring.pool[0]
    outside = np.setdiff1d(np.arange(total), UnlearnShadow(model, None).learned(total))[:5]
    job = UnlearnShadow(model, Plan((Step(Subset("all", outside), TUNED),)))
    asked = context.bundle.train.take(outside)
    expected = logits_of(model.load(context), asked)
    assert np.array_equal(job.run(context, None).arrays["forget"], expected)
    assert job.cost(total) == 0


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("threshold", threshold_attack),
        ("svm_entropy", partial(svm_attack, feature="entropy")),
        ("svm_probabilities", partial(svm_attack, feature="probabilities")),
    ],
)
def test_attacks_learn_from_members_of_the_retain_set(study, rows, name, attack):
    values = []
    for job in method_rows(study)[-1].jobs:
        e = job.load(study.context)
        members = tuple(part[e.sample()] for part in e.pair("retain"))
        values.append(attack(members, e.pair("test"), e.pair("forget")))
    assert rows[-1].metrics[name] == metric(Mean.of(values))


def test_each_subset_has_an_auc_of_its_own(study, rows):
    bundle, subset = study.context.bundle, study.partition.subsets[-1]
    asked, unseen = bundle.train.take(subset.rows), bundle.nonmembers("test")
    aucs = [
        [
            auc(logits_of(model, asked), logits_of(model, unseen))
            for model in (job.load(study.context) for job in group)
        ]
        for group in (study.originals, study.retrained)
    ]
    gap = rows[2].metrics[f"auc_gap_{subset.name}"]
    assert rows[2].metrics[f"auc_{subset.name}"].values == pytest.approx(aucs[0], abs=1e-6)
    assert gap.mean == pytest.approx(abs(np.mean(np.subtract(*aucs))), abs=1e-6)
    assert gap.mean > 0.1


def test_relearning_goes_on_from_the_unlearned_model(study, rows):
    train, job = study.context.bundle.train, method_rows(study)[-1].jobs[0]
    runtime = LocalRuntime(job.seed)
    model = unlearn(job.model.load(study.context), job.plan, train, runtime, EXPERIMENT.recipe)
    again = Plan((Step(Subset("all", study.forget), FineTune(epochs=1, lr=0.1)),))
    model = unlearn(model, again, train, runtime / "relearn", EXPERIMENT.recipe)
    asked = train.take(study.forget)
    right = predict(model, asked).argmax(axis=1) == asked.y.numpy()
    assert rows[-1].metrics["relearned_forget_accuracy"].values[0] == right.mean()


def test_the_cost_of_attacks_is_what_goes_through_models(study):
    methods, epochs = method_rows(study), 15
    stream(study.context, study.context.missing(study.moments))
    found = summarize(load_outcome(study)).costs.attacks
    relearning = 5 * 2 * 1 * 130 / 160 / epochs
    asking = 24 * (160 + 60) / 160 / 3 / epochs
    shadows = 0.0
    for model, learned in models(study):
        del model
        low, medium, high = (sum(np.isin(s.rows, learned)) for s in study.partition)
        left = len(learned) - low
        shadows += 2 * ((left - medium) + (left - medium - high)) / (160 * epochs)
    assert found == pytest.approx(relearning + asking + shadows)
    jobs = [*pool_jobs(study), *shadow_jobs(study, methods)]
    assert not sum(map(training_count, jobs))


def test_without_attacks_nothing_is_kept_or_asked(study):
    plain = Study(replace(EXPERIMENT, evaluate=EvaluateConfig()), study.context)
    assert not any(job.keep for job in plain.scoring.pool)
    assert not pool_jobs(plain)
    assert not shadow_jobs(plain, method_rows(study))
    made = TrainPoolModel(EXPERIMENT.recipe, study.scoring.pool[0].seed, 0.6).run(
        study.context, LocalRuntime(study.scoring.pool[0].seed)
    )
    assert made.arrays.keys() == {"included", "correct"}
    kept = study.context.load(study.scoring.pool[0]).arrays
    assert all(np.array_equal(kept[name], bits) for name, bits in made.arrays.items())


def changed(**changes) -> Experiment:
    return replace(EXPERIMENT, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": ScoreConfig("confidence")}, "pool_lira .* confidence"),
        ({"score": ScoreConfig(file="scores.parquet")}, "the score is scores.parquet"),
        ({"score": ScoreConfig(recipe=Recipe("mlp", epochs=3))}, "score\\.recipe"),
        ({"plan": None}, "'plan' or 'search'"),
    ],
)
def test_attacks_that_have_no_pool_are_refused(changes, message):
    with pytest.raises(ConfigError, match=rf"^evaluate\.also: .*{message}"):
        changed(**changes)


def test_a_pool_that_is_too_small_is_told_before_anything_is_trained(bundle, tmp_path):
    small = changed(score=ScoreConfig(models=5, fraction=0.6))
    study = Study(small, Context(replace(bundle, test=Trap()), Store(tmp_path)))
    with pytest.raises(ConfigError, match=r"^score\.models: 5 .* ruli, "):
        check(study)


def test_a_search_with_too_loud_an_attack_is_refused(bundle, study, monkeypatch):
    search = SearchConfig(trials=1, finalists=1)
    context = Context(replace(bundle, test=Trap()), study.context.store)
    searched = Study(changed(search=search), context)
    for job in searched.reference_jobs:
        context.get_or_compute(job)
    found = [job.load(context) for job in searched.reference_jobs]
    answers = [evaluation.auc for evaluation in found]
    loudest = max(answers) - min(answers)
    assert loudest > 0
    monkeypatch.setattr("rum_ray.study.validation.LARGEST_FLOOR", loudest / 2)
    message = rf"search\.attack: auc sees a gap .* of 3 pairs\) of {loudest:.3f}; .*"
    message += "About 160 validation examples would do, and there are 40;"
    with pytest.raises(ConfigError, match=message):
        check_floor(searched)
    monkeypatch.setattr("rum_ray.study.validation.LARGEST_FLOOR", loudest)
    check_floor(searched)
