"""Forget sets and subsets of a study: before anything is trained, and with finished originals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.streaming import stream
from scipy.stats import spearmanr

from rum_ray import config, mmd
from rum_ray.data import load
from rum_ray.errors import ConfigError, IntegrityError, PlanError, RumRayError
from rum_ray.jobs import Context, EmbeddingMoments, SubsetMoments
from rum_ray.jobs.accumulators import Accumulator, GroupSums
from rum_ray.partition import Partition, Subset
from rum_ray.results.load import load_examples, load_forget_set
from rum_ray.results.schema import Entanglement, SubsetSummary
from rum_ray.results.scores import entanglement_summary, subset_summaries
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.scores.discrepancy import Waves
from rum_ray.scores.entanglement import Moments, entanglement_score
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.forget import choose_forget_set
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import LoggedProgress
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.study.validation import check
from rum_ray.unlearning import FineTune

BASE: dict[str, Any] = {
    "name": "x",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 1},
    "score": {"name": "confidence"},
    "forget": {"size": 60},
    "seeds": [0, 1],
}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def study(digits, tmp_path):
    def make(*overrides: str) -> Study:
        experiment = config.parse(BASE, overrides)
        return Study(experiment, Context(digits, Store(tmp_path)))

    return make


@pytest.mark.parametrize(
    "forget",
    [
        "{size: 80, by: entanglement, pick: high}",
        "{size: 240, by: entanglement}",
        "{size: 30, by: entanglement, pick: low, groups: 40}",
        "{size: 1199, pick: random}",
        "{class: 3}",
        "{class: '3', size: 50, pick: high}",
        "{class: 3, size: 8, pick: medium, by: entanglement}",
    ],
)
@pytest.mark.parametrize("refine", ["by_score", "by_entanglement", "grid", "by_class", "shuffle"])
def test_possible_forget_sets_pass_the_check(study, forget, refine):
    check(study(f"forget={forget}", f"refine={refine}"))


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            ["forget={size: 81, by: entanglement, pick: high}"],
            PlanError,
            "1200 .*80 ",
        ),
        (["forget={size: 243, by: entanglement}"], PlanError, "81 "),
        (["forget={size: 1200, pick: random}"], PlanError, r"1 \.\. 1199"),
        (["forget={class: 10}"], ConfigError, r"0 \.\. 9.* 10\b"),
        (["forget={class: three}"], ConfigError, r"'three'.* 0, 1, "),
        (["forget={class: 3, size: 500}"], PlanError, "500"),
        (["embedding=features.9"], ConfigError, r"'features\.9'.*features\.0"),
        (["order=[high, low]"], ConfigError, r"order: .*high, low"),
        (["refine=grid", "forget.size=3"], PlanError, "2 subsets"),
    ],
)
def test_impossible_forget_sets_are_refused_before_anything_is_trained(
    study, overrides, error, message
):
    with pytest.raises(RumRayError, match=message) as raised:
        check(study(*overrides))
    assert type(raised.value) is error


def stream_distances(study: Study) -> list[np.ndarray]:
    """Run both passes for the distances; return the embeddings under each original."""
    stream(study.context, [job.centroid for job in study.distance_jobs])
    return stream(study.context, study.distance_jobs)


def test_a_forget_set_by_entanglement_is_one_for_all_seeds(study):
    forget = "forget={size: 40, by: entanglement, pick: medium, groups: 15}"
    ours = study(forget, "refine=by_entanglement")
    assert study("forget={size: 40}").distance_jobs == []
    clouds = stream_distances(ours)
    # Spec 4.3 with the mean over two originals: the first 40 of ranks 12 * 80 .. 13 * 80.
    norms = [np.linalg.norm(points - points.mean(axis=0), axis=1) for points in clouds]
    distance = (norms[0] + norms[1]) / 2
    rank = np.argsort(distance, kind="stable")
    np.testing.assert_allclose(ours.distances.values, distance, rtol=1e-9)
    ours.context.get_or_compute(ours.scoring.scorers[0])
    assert ours.forget.tolist() == sorted(rank[960:1000])
    low, medium, high = (distance[subset.rows] for subset in ours.partition)
    assert low.max() <= medium.min() <= medium.max() <= high.min()


def test_a_stream_that_lost_rows_is_an_error(study):
    context, first = study().context, study("refine=grid").distance_jobs[0]
    thirds = Partition(tuple(Subset(str(k), np.arange(k, 60, 3)) for k in range(3)))
    message = "1199 of 1200 rows"
    with pytest.raises(IntegrityError, match=message):
        first.finish(context, Accumulator(rows={"distances": [np.zeros(1199)]}))
    sums = GroupSums(Moments(1199, np.zeros(4), 1.0), Waves(0, np.empty((2, 0))))
    jobs = first.centroid, EmbeddingMoments(first.model, thirds), SubsetMoments(first.model, thirds)
    for job in jobs:
        with pytest.raises(IntegrityError, match=message):
            job.finish(context, Accumulator({"0": sums}))


def subsets_of(study: Study) -> tuple[SubsetSummary, ...]:
    """The summaries of the subsets."""
    return subset_summaries(load_examples(study), load_forget_set(study))


def test_subsets_are_described_by_their_embeddings(study):
    ours = study("refine={name: by_score, into: [a, b, c]}")
    ours.context.get_or_compute(ours.scoring.scorers[0])
    clouds = stream(ours.context, ours.moments)
    for job in ours.moments:
        assert job.measure(ours.context).sampled.all()  # there are fewer than 2,000
    entries = subsets_of(ours)
    assert [entry.name for entry in entries] == ["a", "b", "c"]
    kept = np.setdiff1d(np.arange(1200), ours.forget)
    for entry, subset in zip(entries, ours.partition, strict=True):
        pairs = [(points[kept], points[subset.rows]) for points in clouds]
        es = [entanglement_score(*pair) for pair in pairs]
        assert entry.entanglement_score.values == pytest.approx(es)
        pooled = [entanglement_score(*pair, center="pooled") for pair in pairs]
        assert entry.entanglement_score_pooled.values == pytest.approx(pooled)
        for key, gamma in (("mmd", 1.0), ("mmd_median", "median")):
            value, error = getattr(entry, key).values[0], getattr(entry, key).errors[0]
            exact = mmd(*pairs[0], gamma)
            assert value == pytest.approx(exact, abs=2 * error + 0.02 * exact)
        probes = entry.two_sample_auc.values
        assert len(probes) == 2
        assert 0.3 < min(probes) <= max(probes) <= 1
    found = entanglement_summary(entries).spearman_with_entanglement_score
    es = [entry.entanglement_score.values[0] for entry in entries]
    apart = [entry.mmd.values[0] for entry in entries]
    assert found["mmd"].values[0] == pytest.approx(spearmanr(es, apart).statistic)
    assert entanglement_summary(entries[:2]) == Entanglement()


def test_subsets_are_unlearned_in_the_configured_order(study):
    ours, other = study(), study("order=[high, low, medium]")
    ours.context.get_or_compute(ours.scoring.scorers[0])
    assert (ours.partition.names, other.partition.names) == (
        ("low", "medium", "high"),
        ("high", "low", "medium"),
    )
    with pytest.raises(PlanError, match=r"order.* a\b"):
        _ = study("refine=by_class", "order=[a]").partition
    rows = {subset.name: subset.rows for subset in ours.partition}
    assert all(np.array_equal(subset.rows, rows[subset.name]) for subset in other.partition)
    plan = dict.fromkeys(rows, FineTune())
    steps = Plan.assign(other.partition, plan).steps
    assert [step.subset.name for step in steps] == ["high", "low", "medium"]


def test_the_pipeline_measures_distances_before_the_forget_set_is_needed(study, tmp_path):
    forget, other = "forget={size: 40, by: entanglement, pick: low}", "forget={size: 40}"
    streamed = []

    class Streaming(LocalExecutor):
        def stream(self, jobs, context):
            streamed.append((type(jobs[0]).__name__, len(jobs)))
            super().stream(jobs, context)

    twice = [("CentroidDistances", 2)]
    for override, expected in ((other, []), (forget, twice), (forget, twice)):
        ours = study(override, "search=")
        for job in ours.first_jobs:
            ours.context.get_or_compute(job)
        clock = Clock(tmp_path / "stages.json")
        Pipeline(ours, Streaming(), LoggedProgress(), clock).run("score")
        assert streamed == expected
        assert len(ours.forget) == 40
    assert clock.stages["distances"].made == 2


def test_the_forecast_has_the_stage_of_distances(study):
    from rum_ray.study.forecast import forecast

    stages = {stage.stage: stage for stage in forecast(study("refine=by_entanglement"))}
    assert list(stages) == ["train", "distances", "embed", "retrain", "rows"]
    assert (stages["distances"].total, stages["distances"].missing) == (2, 2)
    assert stages["distances"].trainings == pytest.approx(2 * stages["embed"].trainings)
    assert "distances" not in [stage.stage for stage in forecast(study())]


@pytest.mark.parametrize(("score", "middle"), [("confidence", "median"), ("memorization", "half")])
def test_the_middle_of_a_proxy_is_its_median(digits, score, middle):
    # A proxy has no scale: here all but 50 examples score below 0.2, and one half is no middle.
    values = np.linspace(0, 0.2, 1200) ** 2
    values[-50:] = np.linspace(0.4, 1, 50)
    experiment = config.parse(BASE, (f"score.name={score}", "forget={size: 40, pick: medium}"))
    center = {"median": np.median(values), "half": 0.5}[middle]
    nearest = np.argsort(np.abs(values - center), kind="stable")[:40]
    found = choose_forget_set(experiment, digits, Scores(values), None)
    assert found.tolist() == sorted(nearest)


@pytest.mark.parametrize("part", ["recipe", "score.recipe"])
def test_a_model_with_other_classes_is_refused_before_anything_is_trained(study, part):
    model = "{model: 'reference.training:one_short', epochs: 1}"
    with pytest.raises(ConfigError, match=r"one_short' .*9.* 10 classes"):
        check(study(f"{part}={model}"))


def test_unknown_statistics_of_subsets_have_a_reason(study, monkeypatch):
    ours = study("refine={name: by_score, into: [a, b, c]}")
    ours.context.get_or_compute(ours.scoring.scorers[0])
    stream(ours.context, ours.moments)
    real = EmbeddingMoments.load

    def alike(job, context):
        """As if the centroid of "b" were that of the retain set, and nothing were told apart."""
        made = real(job, context)
        moments = replace(made.subsets["b"].moments, mean=made.retain.moments.mean)
        changed = replace(made.subsets["b"], moments=moments)
        aucs = dict.fromkeys(made.subsets)
        return replace(made, subsets={**made.subsets, "b": changed}, two_sample_auc=aucs)

    monkeypatch.setattr(EmbeddingMoments, "load", alike)
    entries = subsets_of(ours)
    first, second, _ = (entry.entanglement_score for entry in entries)
    assert first.reason is None
    assert (second.mean, second.ci95, second.values) == (None, None, (None, None))
    assert second.reason == "the centroid is that of the retain set"
    assert [e.two_sample_auc.reason for e in entries] == ["a set of one example"] * 3
    known = entanglement_summary(entries).spearman_with_entanglement_score
    assert known["mmd"].reason == "of a subset, the centroid is that of the retain set"


def test_a_scoring_model_needs_no_embedding(study):
    bare = "{model: 'reference.training:bare', epochs: 1}"
    check(study("recipe=" + bare, "embedding='1'", "score.recipe={model: mlp, epochs: 1}"))
    check(study("score.recipe=" + bare))
    # The default is the input of a linear head.
    check(study("recipe=" + bare))
    headless = bare.replace("bare", "headless")
    with pytest.raises(ConfigError, match="embedding"):
        check(study("recipe=" + headless))
