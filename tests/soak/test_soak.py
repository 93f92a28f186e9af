"""A small part of the fault campaign; `make soak` runs all of it."""

import random
import shutil

import pytest

from soak import damage, operations, walks
from soak.outcome import Outcome, Verdict
from soak.study import Place, undisturbed

pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]
STORE, STUDY = 30, 3
"""Faults of a test that uses a store, and of one that uses whole studies."""


def check(outcome: Outcome, least: int) -> None:
    assert outcome.wrong == []
    assert outcome.verdict == Verdict()
    assert outcome.faults.total() >= least


def after(count: int):
    return lambda outcome: outcome.faults.total() >= count


@pytest.mark.parametrize("kind", operations.ERRORS)
def test_an_operation_of_the_store_that_fails_loses_nothing(tmp_path, kind):
    outcome = operations.operations(tmp_path / "stores", kind, after(STORE), random.Random(0))
    check(outcome, STORE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def right(whole):
    with pytest.MonkeyPatch.context() as patch:
        from rum_ray.report import files

        # The campaign leaves the page out for good.
        for name in ("sections", "html", "markdown"):
            patch.setattr(files, name, getattr(files, name))
        yield undisturbed(whole)


@pytest.mark.parametrize(("mode", "share"), [("killed before the call", 0.05), ("disk full", 1.0)])
def test_a_study_under_faults_has_the_bits_of_an_undisturbed_one(right, tmp_path, mode, share):
    """A study has hundreds of operations, but few that a full disk refuses."""
    draw = random.Random(0)
    check(walks.walk(mode, Place(tmp_path), right, after(STUDY), share, draw), STUDY)


def test_damaged_files_are_made_again_in_the_same_start(whole, right, tmp_path):
    place = Place(tmp_path)
    shutil.copytree(whole.store, place.store)
    check(damage.damage(place, right, after(STUDY), random.Random(0)), STUDY)


def test_a_clock_that_jumps_back_changes_no_bit(right, tmp_path):
    check(walks.back(Place(tmp_path), right, random.Random(0)), 1)


def test_two_drivers_on_one_store_make_every_result_once(right, tmp_path):
    check(walks.both(Place(tmp_path), right, random.Random(0)), 2)
