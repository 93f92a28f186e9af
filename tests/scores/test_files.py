import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rum_ray.data import LabeledData
from rum_ray.errors import DataError, ScoreError, UnsafeError
from rum_ray.scores.files import read_scores


def examples(*ids: int) -> LabeledData:
    return LabeledData(np.zeros((len(ids), 1)), np.zeros(len(ids), dtype=int), ids=np.array(ids))


DATA = examples(2, 3, 5, 8)


@pytest.fixture
def write(tmp_path):
    def write(**columns) -> str:
        pq.write_table(pa.table(columns), tmp_path / "scores.parquet")
        return str(tmp_path / "scores.parquet")

    return write


def test_scores_go_to_their_ids(write):
    path = write(
        id=[9, 5, 2, 3], memorization=[0.9, 0.5, 0.2, None], standard_error=[0.09, 0.05, 0.02, 0.03]
    )
    scores = read_scores(path, DATA)
    assert np.array_equal(scores.values, [0.2, np.nan, 0.5, np.nan], equal_nan=True)
    errors = [0.02, 0.03, 0.05, np.nan]
    assert np.array_equal(scores.standard_errors, errors, equal_nan=True)
    assert scores.name == "memorization"


def test_standard_errors_and_other_columns_are_optional(write):
    scores = read_scores(write(id=[2, 8], memorization=[1, 0], confidence=[0.5, 0.5]), DATA)
    assert np.array_equal(scores.values, [1, np.nan, np.nan, 0], equal_nan=True)
    assert np.isnan(scores.standard_errors).all()


def test_an_empty_file_has_no_scores(write):
    path = write(id=pa.array([], pa.int64()), memorization=pa.array([], pa.float64()))
    assert np.isnan(read_scores(path, DATA).values).all()


def test_a_tilde_is_the_home_folder(write, tmp_path, monkeypatch):
    write(id=[2], memorization=[0.5])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_scores("~/scores.parquet", DATA).values[0] == 0.5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1]}, r"scores\.parquet: .* 'memorization'; .*\['id'\]"),
        ({"memorization": [1.0]}, r"scores\.parquet: .* 'id'; .*\['memorization'\]"),
        ({"id": [1, 1], "memorization": [0.1, 0.2]}, r"scores\.parquet: .* twice"),
        ({"id": [1, None], "memorization": [0.1, 0.2]}, r"scores\.parquet: .* \(null\)"),
        ({"id": ["a"], "memorization": [0.1]}, "column 'id' .* integers; .* string"),
        ({"id": [1.5], "memorization": [0.1]}, "column 'id' .* integers; .* double"),
        ({"id": [1], "memorization": ["high"]}, "'memorization' .* numbers; .* string"),
        (
            {"id": [1], "memorization": [0.1], "standard_error": [True]},
            "column 'standard_error' .* numbers; .* bool",
        ),
    ],
)
def test_bad_columns(write, columns, message):
    with pytest.raises(ScoreError, match=message):
        read_scores(write(**columns), DATA)


def test_bad_files(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.parquet does not exist"):
        read_scores(tmp_path / "nowhere.parquet", DATA)
    (tmp_path / "bad.parquet").write_bytes(b"no Parquet file")
    with pytest.raises(DataError, match=r"bad\.parquet .*Parquet"):
        read_scores(tmp_path / "bad.parquet", DATA)


class Pickled(pa.ExtensionType):
    """Like Ray's type for Python objects, whose values run code on conversion."""

    def __init__(self) -> None:
        super().__init__(pa.float64(), "test.pickled_score")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


def test_columns_that_could_run_code_are_errors(write):
    values = pa.ExtensionArray.from_storage(Pickled(), pa.array([0.5]))
    path = write(id=[1], memorization=values)
    with pytest.raises(UnsafeError, match=r"column 'memorization'"):
        read_scores(path, DATA)


def test_a_proxy_has_a_column_of_its_own(write):
    path = write(id=[2, 5], memorization=[1, 0], confidence=[0.25, 0.5], standard_error=[0.1, 0.1])
    scores = read_scores(path, examples(5, 2), "confidence")
    assert (scores.name, scores.values.tolist()) == ("confidence", [0.5, 0.25])
    assert np.isnan(scores.standard_errors).all()
