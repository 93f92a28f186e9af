"""Scores and proxies of a study, with every job run in this process."""

import dataclasses

import numpy as np
import pytest
import torch
from reference import scores as reference
from scipy.stats import spearmanr

from rum_ray.errors import ScoreError
from rum_ray.experiment import (
    DataConfig,
    Experiment,
    ForgetConfig,
    ScoreConfig,
    SearchConfig,
)
from rum_ray.jobs import Context, ScoreByProxy, pool_bits
from rum_ray.results import scores as results
from rum_ray.results.load import load_examples
from rum_ray.results.outcome import ForgetSet
from rum_ray.results.parquet import score_table
from rum_ray.results.schema import ScoreSummary, to_json
from rum_ray.results.scores import score_summary, score_warnings
from rum_ray.scores import PROXIES, Scores
from rum_ray.scores.learning_events import EVENTS
from rum_ray.scores.reliability import DRAWS
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.forecast import forecast
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime, Recipe

RECIPE = Recipe("mlp", epochs=3, lr=0.1, batch_size=32)
POOL = ScoreConfig(models=24, fraction=0.5, compare=("heldout", "confidence", "curvature"))


def experiment(score: ScoreConfig = POOL, **changes) -> Experiment:
    parts = {"data": DataConfig("digits"), "recipe": RECIPE, "forget": ForgetConfig(size=32)}
    return Experiment(name="small", score=score, seeds=(0, 1), **{**parts, **changes})


@pytest.fixture(scope="session")
def study(bundle, tmp_path_factory) -> Study:
    """A study whose first stage is finished."""
    study = Study(experiment(), Context(bundle, Store(tmp_path_factory.mktemp("store"))))
    for job in study.first_jobs:
        study.context.get_or_compute(job)
    return study


def arrays(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Included and correct of the models that choose the forget set, each [M, N]."""
    return pool_bits(study.context, study.scoring.scoring_half).arrays()


def summary_of(study: Study) -> ScoreSummary:
    """The summary of the scores; it needs no embeddings."""
    rows = {subset.name: subset.rows for subset in study.partition}
    bits = study.scoring.pool_bits(study.forget)
    return score_summary(load_examples(study), ForgetSet(study.forget, rows, False, (), bits))


@pytest.fixture(scope="session")
def entry(study):
    return summary_of(study)


def level(values, forget):
    """Return the third of the forget set that each example is in: by score, then by row."""
    ordered = sorted(forget, key=lambda row: (values[row], row))
    sizes = [len(part) for part in np.array_split(ordered, 3)]
    thirds = [t for t, size in enumerate(sizes) for _ in range(size)]
    return dict(zip(ordered, thirds, strict=True))


def test_scores_are_the_sum_of_both_halves(study):
    values, errors = reference.memorization(*arrays(study))
    np.testing.assert_allclose(study.scores.values, values, atol=1e-15)
    np.testing.assert_allclose(study.scores.standard_errors, errors, atol=1e-15)
    assert [int(half.seen[0] + half.unseen[0]) for half in study.scoring.pool_halves] == [12, 12]


def test_every_proxy_is_compared_once(study, entry):
    assert list(entry.proxies) == [*EVENTS, "heldout", "curvature"]
    runs = {name: len(proxy.values) for name, proxy in entry.proxies.items()}
    assert runs == {**dict.fromkeys(EVENTS, 2), "heldout": 1, "curvature": 1}
    seed = Seed(0) / "proxy"
    for name in ("heldout", "curvature"):
        values = PROXIES[name]()(study.context.bundle, RECIPE, LocalRuntime(seed)).values
        expected = spearmanr(values, study.scores.values).statistic
        assert entry.proxies[name].spearman == pytest.approx(expected)
        assert entry.proxies[name].ci95 is None
        assert np.array_equal(score_table(load_examples(study))[name], values)


def test_a_proxy_lies_in_its_interval_over_examples(entry):
    for proxy in entry.proxies.values():
        assert proxy.low < proxy.spearman < proxy.high


def test_the_share_in_the_same_subset_is_counted(study, entry):
    ours = level(study.scores.values, study.forget.tolist())
    for name, runs in study.scoring.proxies.items():
        shares = []
        for values in runs:
            theirs = level(values, study.forget.tolist())
            shares.append(sum(theirs[row] == ours[row] for row in ours) / len(ours))
        assert entry.proxies[name].same_subset.values == pytest.approx(shares), name
    assert 0 < entry.proxies["confidence"].same_subset.mean < 1


def test_the_changed_share_is_counted_over_pools(study, entry):
    included, correct = arrays(study)
    draws = (Seed(0) / "bootstrap" / "models").integers(24 * DRAWS, 24).reshape(-1, 24)
    ours, changed = level(study.scores.values, study.forget.tolist()), []
    for models in draws:
        scores, _ = reference.memorization(included[models], correct[models])
        known = np.where(np.isnan(scores), study.scores.values, scores)
        theirs = level(known, study.forget.tolist())
        changed.append(sum(theirs[row] != ours[row] for row in ours) / len(ours))
    assert entry.changed_share == pytest.approx(np.mean(changed))
    assert 0 < entry.changed_share < 1


def test_a_miss_of_a_goal_is_a_warning(entry):
    good = dataclasses.replace(entry, models=128, unknown=0, split_half=0.9, changed_share=0.1)

    def warnings(**changes):
        return score_warnings(dataclasses.replace(good, **changes))

    assert not warnings()
    assert not warnings(models=None, split_half=None, changed_share=None)
    (half,) = warnings(split_half=0.85)
    assert half.startswith("The reliability of the scores is 0.850, below the goal of 0.9: 128 mod")
    (changed,) = warnings(changed_share=0.25)
    assert changed.startswith("25 % of the forget set would be in another subset with other model")
    (unknown,) = warnings(unknown=3)
    assert unknown == "3 examples have no score and were left out."


def test_confidences_give_soft_memorization(bundle, tmp_path, study):
    score = dataclasses.replace(POOL, models=8, confidences=True, compare=())
    ours = Study(experiment(score), Context(bundle, Store(tmp_path)))
    for job in ours.first_jobs:
        ours.context.get_or_compute(job)
    for with_them, without in zip(ours.scoring.pool, study.scoring.pool, strict=False):
        record, plain = (ours.context.load(with_them), study.context.load(without))
        kept = record.arrays["confidences"]
        assert (kept.shape, kept.dtype) == ((160,), np.float16)
        assert record.arrays.keys() - plain.arrays.keys() == {"confidences"}
        assert all(np.array_equal(record.arrays[name], plain.arrays[name]) for name in plain.arrays)
    model = ours.recipe.fit(
        bundle.train.take(arrays(ours)[0][0].nonzero()[0]),
        LocalRuntime(ours.scoring.pool[0].seed),
    )
    with torch.inference_mode():
        p = model(bundle.train.x).softmax(1)[torch.arange(160), bundle.train.y].numpy()
    first = ours.context.load(ours.scoring.pool[0]).arrays["confidences"]
    np.testing.assert_allclose(first, p, rtol=1e-3, atol=1e-3)
    kept = np.stack([ours.context.load(j).arrays["confidences"] for j in ours.scoring.pool])
    expected = reference.soft_memorization(arrays(ours)[0], kept)
    table = score_table(load_examples(ours))["soft_memorization"]
    np.testing.assert_allclose(table, expected, atol=1e-14)
    spearman = summary_of(ours).proxies["soft_memorization"].spearman
    known = np.isfinite(expected)
    assert spearman == pytest.approx(
        spearmanr(np.array(expected)[known], ours.scores.values[known]).statistic
    )
    assert "soft_memorization" not in study.scoring.proxies


def test_what_cannot_be_said_of_scores_has_a_reason(study, entry, monkeypatch):
    assert not [name for name in to_json(entry) if name.endswith("_reason")]
    assert entry.proxies["confidence"].reason is None
    alike = {"confidence": np.full((2, 160), 0.3), "entropy": np.full((2, 160), np.nan)}
    alike["entropy"][:, study.forget[0] :: 2] = 0.1
    monkeypatch.setitem(vars(study.scoring), "proxies", alike)
    monkeypatch.setattr(results, "split_half", lambda *_: float("nan"))
    poor = summary_of(study)
    assert (poor.split_half, poor.split_half_reason) == (None, "a score is the same for all")
    (warning,) = [w for w in score_warnings(poor) if "reliability" in w]
    assert warning == "The reliability of the scores is unknown: a score is the same for all."
    assert poor.proxies["confidence"].reason == "a score is the same for all"
    assert poor.proxies["confidence"].spearman is None
    same = poor.proxies["entropy"].same_subset
    assert (same.mean, same.reason) == (None, "unknown for some of the forget set")


def test_costs_are_what_goes_through_models(study):
    # 24 models on half of D; held-out retraining 30 x 40 examples more, and two looks at D.
    heldout = 1 + (30 * 40 + 2 * 160 / 3) / (3 * 160)
    assert load_examples(study).cost == pytest.approx(24 / 2 + heldout + 3)
    empty = Study(study.experiment, Context(study.context.bundle, Store("nowhere")))
    (train,) = [stage for stage in forecast(empty) if stage.stage == "train"]
    assert (train.total, train.missing) == (2 + 24 + 2, 28)
    assert train.trainings == pytest.approx(2 + 24 / 2 + heldout + 3)


def test_recorded_proxies_and_the_score_add_no_job():
    free = ScoreConfig(compare=("entropy", "cumulative_loss"))
    own = ScoreConfig(name="heldout", compare=("heldout", "curvature"))
    assert not Study(experiment(free), None).scoring.compared
    assert list(Study(experiment(own), None).scoring.compared) == ["curvature"]


def test_held_out_retraining_can_be_the_score(bundle, tmp_path):
    study = Study(experiment(ScoreConfig(name="heldout")), Context(bundle, Store(tmp_path)))
    for job in study.first_jobs:
        study.context.get_or_compute(job)
    entry = summary_of(study)
    assert (entry.name, entry.models, entry.split_half) == ("heldout", None, None)
    assert entry.changed_share is None
    for name in ("split_half", "changed_share"):
        assert getattr(entry, f"{name}_reason") == "the scores are not those of a pool"
    assert (entry.standard_error, entry.standard_error_reason) == (None, "none is known")
    assert entry.proxies.keys() == set(EVENTS)
    assert len(study.partition) == 3


def test_a_search_and_held_out_retraining_get_one_half_of_v_each():
    search = SearchConfig(trials=4, finalists=4)
    asked = [ScoreConfig(name="heldout"), ScoreConfig(compare=("heldout",))]
    for score in asked:
        data = experiment(score, search=search).load_data()
        assert (len(data.valid), len(data.reserved)) == (100, 100)
        assert not set(data.valid.ids) & set(data.reserved.ids)
        assert experiment(score).load_data().reserved is None
    for score in (POOL, ScoreConfig(file="f"), ScoreConfig(name="heldout", file="f")):
        without = dataclasses.replace(score, compare=())
        assert experiment(without, search=search).load_data().reserved is None


def test_listed_ids_are_moved_to_the_training_set(tmp_path):
    plain = experiment().load_data()
    listed = [*plain.train.ids[:9].tolist(), *plain.valid.ids[:4].tolist()]
    (tmp_path / "ids").write_text("\n".join(map(str, listed)))
    ours = experiment(forget=ForgetConfig(ids=str(tmp_path / "ids")))
    bundle = ours.load_data()
    study = Study(ours, Context(bundle, Store(tmp_path / "store")))
    assert bundle.train.ids[study.forget].tolist() == sorted(listed)
    assert (len(bundle.train), len(bundle.valid)) == (1204, 196)
    assert (np.diff(bundle.train.ids) > 0).all()
    known = {
        int(i): (x, int(y))
        for part in (plain.train, plain.valid)
        for i, x, y in zip(part.ids, part.x, part.y, strict=True)
    }
    for i, x, y in zip(bundle.train.ids, bundle.train.x, bundle.train.y, strict=True):
        assert torch.equal(x, known[int(i)][0])
        assert int(y) == known[int(i)][1]
    assert int(bundle.flipped.sum()) == int(plain.flipped.sum())


def test_the_key_of_a_proxys_scores_depends_on_held_out_data(bundle, tmp_path):
    job = ScoreByProxy(PROXIES["heldout"](), RECIPE, Seed(0))
    other = dataclasses.replace(bundle, label_noise=None)
    keys = {
        job.key(Context(data, Store(tmp_path))).digest for data in (bundle, bundle.halved(), other)
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"\b3 scores for 160 examples"),
        (np.full(160, np.nan), "NaN"),
    ],
)
def test_a_proxy_without_one_score_per_example_is_refused(bundle, tmp_path, values, message):
    job = ScoreByProxy(lambda *_: Scores(values), RECIPE, Seed(0))
    with pytest.raises(ScoreError, match=message):
        Context(bundle, Store(tmp_path)).get_or_compute(job)
