import pickle

import pytest

from rum_ray import errors
from rum_ray.errors import RumRayError, did_you_mean

CODES = {
    "RumRayError": 1,
    "ConfigError": 2,
    "PlanError": 2,
    "DataError": 3,
    "ScoreError": 3,
    "BusyError": 4,
    "DivergedError": 5,
    "StalledError": 5,
    "StoreError": 6,
    "IntegrityError": 7,
    "UnsafeError": 8,
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
KINDS = [kind for kind in KINDS if issubclass(kind, RumRayError)]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_pickling(kind):
    error = kind("subset 'med' does not exist.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "subset 'med' does not exist."
    assert again.args == error.args


def test_exit_codes_are_those_of_the_command_line():
    known = {kind.__name__: kind.exit_code for kind in KINDS}
    assert {name: code for name, code in known.items() if name in CODES} == CODES
    assert set(known.values()) <= {1, 2, 3, 4, 5, 6, 7, 8, 9, 75}


def test_did_you_mean():
    known = ("low", "medium", "high")
    assert did_you_mean("med", known) == "Known: low, medium, high. Did you mean 'medium'?"
    assert did_you_mean("x", known) == "Known: low, medium, high."
    assert did_you_mean("med", iter(known)).endswith("'medium'?")
