"""The size of the leave-k-out pool, in stores that are filled with invented records."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from reference import scores as reference

from rum_ray.errors import ConfigError
from rum_ray.experiment import (
    DataConfig,
    Experiment,
    ForgetConfig,
    Precision,
    ScoreConfig,
)
from rum_ray.jobs import Context
from rum_ray.results.load import load_examples
from rum_ray.results.outcome import ForgetSet
from rum_ray.results.schema import PrecisionSummary, ScoreSummary
from rum_ray.results.scores import score_summary, score_warnings
from rum_ray.scores.memorization import PoolBits, included_rows
from rum_ray.scores.reliability import STEP, changed_share
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Store
from rum_ray.study.forecast import forecast
from rum_ray.study.study import Study
from rum_ray.training import Recipe

RECIPE = Recipe("mlp", epochs=2, lr=0.1, batch_size=32)
FORGET = ForgetConfig(size=60, pick="random")
MOST = 200
PREFIXES = [64, 128, 192, 200]


def study(bundle, folder, models, **changes) -> Study:
    score = ScoreConfig(models=models, fraction=0.6)
    parts = {"data": DataConfig("digits"), "recipe": RECIPE, "forget": FORGET}
    experiment = Experiment(name="small", score=score, **{**parts, **changes})
    return Study(experiment, Context(bundle, Store(folder)))


def invented(job, bundle, seen_by_all=0) -> tuple[np.ndarray, np.ndarray]:
    """Return included examples and correct predictions; few are correct without training."""
    total = len(bundle.train)
    included = np.zeros(total, dtype=bool)
    included[included_rows(total, job.fraction, job.seed)] = True
    included[:seen_by_all] = True
    chance = np.where(included, 0.95, (Seed(1) / "hardness").uniform(total))
    return included, (job.seed / "right").uniform(total) < chance


def fill(ours: Study, numbers, seen_by_all=0) -> None:
    """Save records of the models with these numbers, as if they were trained."""
    for number in numbers:
        job = ours.scoring.pool_size.jobs[number]
        bits = invented(job, ours.context.bundle, seen_by_all)
        record = dict(zip(("included", "correct"), map(np.packbits, bits), strict=True))
        ours.context.store.save(job.key(ours.context), Artifact(record), {"seconds": 0.1})


def bits(ours: Study, models: int) -> list[np.ndarray]:
    jobs = ours.scoring.pool_size.jobs[:models]
    pairs = [invented(job, ours.context.bundle) for job in jobs]
    return [np.stack(part) for part in zip(*pairs, strict=True)]


@pytest.fixture(scope="module")
def whole(bundle, tmp_path_factory) -> Path:
    """A store in which all models are finished; no test changes it."""
    folder = tmp_path_factory.mktemp("whole")
    fill(study(bundle, folder, MOST), range(MOST))
    return folder


@pytest.fixture(scope="module")
def errors(bundle, whole) -> list[float]:
    """The mean standard error of each prefix, by the definition."""
    ours = study(bundle, whole, MOST)
    return [float(np.mean(reference.memorization(*bits(ours, n))[1])) for n in PREFIXES]


@pytest.fixture(scope="module")
def shares(bundle, whole) -> list[float]:
    """The share of the forget set whose subset would change, as reports of so many models say."""
    return [entry_of(study(bundle, whole, n)).changed_share for n in PREFIXES]


def entry_of(ours: Study) -> ScoreSummary:
    """The summary of the scores without the proxies, whose originals were never trained."""
    ours.scoring.__dict__["proxies"] = {}
    rows = {subset.name: subset.rows for subset in ours.partition}
    pool = ours.scoring.pool_bits(ours.forget)
    return score_summary(load_examples(ours), ForgetSet(ours.forget, rows, False, (), pool))


def test_a_precision_grows_by_the_step_that_its_range_says():
    assert Precision(max=STEP, changed=0.1).max == STEP == 64


def test_more_models_are_more_precise(errors, shares):
    assert errors == sorted(errors, reverse=True)
    assert shares[0] > shares[-1]


@pytest.mark.parametrize("prefix", range(4))
def test_the_pool_is_the_first_prefix_that_is_precise_enough(bundle, whole, errors, prefix):
    ours = study(bundle, whole, Precision(MOST, standard_error=errors[prefix] * 1.0001))
    assert len(ours.scoring.pool) == PREFIXES[prefix]
    assert ours.scoring.pool_size.reached
    values, _ = reference.memorization(*bits(ours, PREFIXES[prefix]))
    np.testing.assert_allclose(ours.scores.values, values, atol=1e-15)
    assert ours.scoring.pool_size.statistics["standard_error"] == pytest.approx(errors[prefix])
    assert [len(half.seen) for half in ours.scoring.pool_halves] == [160, 160]
    unnecessary = PREFIXES[-1] - PREFIXES[prefix]
    assert ours.scoring.cancelled == ours.scoring.pool_size.jobs[PREFIXES[prefix] :]
    assert len(ours.scoring.cancelled) == unnecessary


def test_the_changed_share_that_decides_is_the_one_in_the_report(bundle, whole, shares):
    for n, share in zip(PREFIXES, shares, strict=True):
        ours = study(bundle, whole, Precision(MOST, changed=share))
        expected = next(n for n, found in zip(PREFIXES, shares, strict=True) if found <= share)
        assert len(ours.scoring.pool) == expected <= n
        entry = entry_of(ours)
        assert entry.precision.value == entry.changed_share <= share
        included, correct = (part[:, ours.forget] for part in bits(ours, expected))
        assert entry.changed_share == changed_share(PoolBits.of(included, correct), 3, Seed(0))


def test_a_listed_forget_set_decides_too(bundle, whole, shares, tmp_path):
    (tmp_path / "ids").write_text("\n".join(map(str, bundle.train.ids[:30])))
    listed = ForgetConfig(ids=str(tmp_path / "ids"))
    ours = study(bundle, whole, Precision(MOST, changed=0.999), forget=listed)
    assert len(ours.scoring.pool) == 64
    included, correct = (part[:, :30] for part in bits(ours, 64))
    share = changed_share(PoolBits.of(included, correct), 3, Seed(0))
    assert ours.scoring.pool_size.statistics["changed"] == share != shares[0]


@pytest.mark.parametrize("rule", ["standard_error", "changed"])
def test_a_stricter_rule_never_takes_fewer_models(bundle, whole, rule):
    goals = [0.9, 0.25, 0.15, 0.06, 0.05, 0.01]
    sizes = [
        len(study(bundle, whole, Precision(MOST, **{rule: goal})).scoring.pool) for goal in goals
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] == 64
    assert sizes[-1] == MOST


@pytest.mark.parametrize("order", range(2))
def test_the_order_in_which_models_finish_changes_nothing(bundle, tmp_path, errors, order):
    precision = Precision(MOST, standard_error=errors[1] * 1.0001)
    watching = study(bundle, tmp_path, precision)
    numbers = (Seed(order) / "order").permutation(MOST).tolist() if order else list(range(MOST))
    done: set[int] = set()
    for number in numbers:
        fill(watching, [number])
        done.add(number)
        decided = set(range(128)) <= done
        assert len(watching.scoring.pool) == (128 if decided else MOST)
        prefix = max((n for n in (64, 128) if set(range(n)) <= done), default=0)
        assert watching.scoring.pool_size.models == prefix
        if decided and len(done) % 30 == 0:
            fresh = study(bundle, tmp_path, precision)
            assert len(fresh.scoring.pool) == 128
            assert np.array_equal(fresh.scores.values, watching.scores.values)


def test_a_number_of_models_is_that_many(bundle, whole):
    ours = study(bundle, whole, 100)
    assert (len(ours.scoring.pool), ours.scoring.cancelled) == (100, ())
    error = np.mean(ours.scores.standard_errors)
    assert ours.scoring.precision_so_far["note"] == f"standard error {error:.3g} of 100 models"
    assert entry_of(ours).precision is None


def test_the_note_of_the_progress_is_about_finished_prefixes(bundle, tmp_path, errors, shares):
    ours = study(bundle, tmp_path, Precision(MOST, changed=0.001))
    fill(ours, range(63))
    assert ours.scoring.precision_so_far["note"] == ""
    fill(ours, range(63, 130))
    told = f"standard error {errors[1]:.3g}, changed {shares[1]:.3g} of 128 models"
    assert ours.scoring.precision_so_far["note"] == told


def test_the_most_is_the_pool_where_the_precision_is_missed(bundle, whole, errors):
    ours = study(bundle, whole, Precision(MOST, standard_error=0.01))
    assert (len(ours.scoring.pool), ours.scoring.pool_size.reached) == (MOST, False)
    entry = entry_of(ours)
    value = pytest.approx(errors[-1])
    assert entry.precision == PrecisionSummary("standard_error", 0.01, value, MOST, reached=False)
    assert entry.precision.value == pytest.approx(entry.standard_error)
    told = f"Memorization is less precise than asked: standard error is {errors[-1]:.3f}, where 0"
    assert any(warning.startswith(told) for warning in score_warnings(entry))


def test_the_summary_has_the_number_of_models_that_were_enough(bundle, whole):
    ours = study(bundle, whole, Precision(MOST, standard_error=0.9))
    entry = entry_of(ours)
    assert (entry.models, entry.precision.reached) == (64, True)
    assert not any("precise" in warning for warning in score_warnings(entry))


def test_a_precision_needs_two_models_without_every_example(bundle, tmp_path):
    ours = study(bundle, tmp_path, Precision(MOST, standard_error=0.9))
    fill(ours, range(64), seen_by_all=1)
    assert len(ours.scoring.pool) == MOST
    assert ours.scoring.pool_size.statistics == {}
    assert ours.scoring.precision_so_far == {"note": "", "standard_error": None}
    fill(ours, range(64, 128))
    assert len(ours.scoring.pool) == 128


def test_a_damaged_record_is_not_finished(bundle, tmp_path):
    precise = Precision(MOST, standard_error=0.9)
    ours = study(bundle, tmp_path, precise)
    fill(ours, range(64))
    job = ours.scoring.pool_size.jobs[5]
    path = Path(ours.context.store.path(job.key(ours.context)))
    path.write_bytes(path.read_bytes()[:40])
    assert len(ours.scoring.pool) == MOST
    assert not ours.context.has(job)
    fill(ours, [5])
    assert len(ours.scoring.pool) == 64


def test_a_finished_pool_is_extended(bundle, tmp_path, errors):
    before = study(bundle, tmp_path, Precision(100, standard_error=errors[0] * 1.0001))
    fill(before, range(70))
    assert len(before.scoring.pool) == 64
    for models, lacking in (
        (Precision(100, standard_error=0.001), 30),
        (Precision(MOST, standard_error=errors[0] * 1.0001), 0),
        (Precision(MOST, changed=0.001), 130),
        (128, 58),
    ):
        after = study(bundle, tmp_path, models)
        missing = [job for job in after.scoring.jobs if not after.context.has(job)]
        assert len(missing) == lacking


def test_a_forecast_is_the_maximum_until_the_size_is_known(bundle, tmp_path, errors):
    ours = study(bundle, tmp_path, Precision(MOST, standard_error=errors[0] * 1.0001))
    fill(ours, range(10, 74))
    (train,) = (stage for stage in forecast(ours) if stage.stage == "train")
    assert (train.total, train.missing) == (1 + MOST, 1 + MOST - 64)
    fill(ours, range(10))
    (train,) = (stage for stage in forecast(ours) if stage.stage == "train")
    assert (train.total, train.missing) == (1 + 64, 1)


def test_a_changed_share_needs_scores_that_choose_the_forget_set():
    parts = {"name": "x", "data": DataConfig("digits"), "recipe": RECIPE}
    by_distance = ForgetConfig(size=30, by="entanglement")
    changed = ScoreConfig(models=Precision(MOST, changed=0.1))
    with pytest.raises(ConfigError, match=r"^score\.models\.changed: "):
        Experiment(**parts, score=changed, forget=by_distance)
    error = dataclasses.replace(changed, models=Precision(MOST, standard_error=0.1))
    Experiment(**parts, score=error, forget=by_distance)
