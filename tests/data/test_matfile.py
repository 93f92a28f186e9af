"""The reader of MAT-files against SciPy's, and against damage."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.data import matfile
from rum_ray.data.matfile import read_mat
from rum_ray.errors import DataError, UnsafeError
from rum_ray.seeding import Seed

KINDS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "f4", "f8")
SHAPES = ((1, 1), (2, 3), (4, 1), (2, 3, 4), (3, 2, 2, 5), (1, 300))


def arrays() -> dict[str, np.ndarray]:
    """Arrays of every type and of several shapes."""
    made = {}
    for at, kind in enumerate(KINDS):
        shape = SHAPES[at % len(SHAPES)]
        values = (Seed(at) / "values").integers(int(np.prod(shape)), 100)
        made[f"a{at}"] = values.reshape(shape).astype(kind)
    return made


@pytest.mark.parametrize("compress", [True, False])
def test_arrays_are_those_of_scipy(tmp_path, compress):
    others = {"text": "hello", "cell": np.array([1, "a"], dtype=object), "struct": {"b": 1}}
    scipy.io.savemat(tmp_path / "a.mat", {**others, **arrays()}, do_compression=compress)
    expected = scipy.io.loadmat(tmp_path / "a.mat")
    found = read_mat(tmp_path / "a.mat", [*arrays(), "absent"])
    assert {*found} == {*arrays()}
    for name, values in found.items():
        assert np.array_equal(values, expected[name])
        assert values.shape == expected[name].shape


@pytest.mark.parametrize("values", [np.array([1j]), "text", np.array([1, "a"], dtype=object)])
def test_other_kinds_of_values_are_errors(tmp_path, values):
    scipy.io.savemat(tmp_path / "a.mat", {"X": values})
    with pytest.raises(DataError, match=r"a\.mat cannot be read as a MAT-file: 'X' is not"):
        read_mat(tmp_path / "a.mat", ["X"])


def test_a_wrong_type_of_values_is_an_error(tmp_path):
    """SciPy 1.17's reader takes such a number for a pointer."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"X": np.zeros((4, 60), np.uint8)})
    content = path.read_bytes()
    tag = struct.pack("<II", 2, 240)
    assert content.count(tag) == 1
    for number in (0, 8, 10, 20, 5000):
        path.write_bytes(content.replace(tag, struct.pack("<II", number, 240)))
        with pytest.raises(DataError, match="'X' is not an array of real numbers"):
            read_mat(path, ["X"])


@pytest.mark.parametrize("dimensions", [(4, 61), (-4, -60), (2**31 - 1, 2**31 - 1), (0, 0)])
def test_dimensions_that_do_not_fit_are_errors(tmp_path, dimensions):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"X": np.zeros((4, 60), np.uint8)})
    content = path.read_bytes()
    known = struct.pack("<IIii", 5, 8, 4, 60)
    assert content.count(known) == 1
    path.write_bytes(content.replace(known, struct.pack("<IIii", 5, 8, *dimensions)))
    with pytest.raises(DataError, match="dimensions"):
        read_mat(path, ["X"])


def test_too_much_after_decompression_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {f"x{n}": np.zeros(9000, np.uint8) for n in "abc"}, do_compression=True)
    assert len(read_mat(path, ["xc"])) == 1
    monkeypatch.setattr(matfile, "MOST_BYTES", 20_000)
    with pytest.raises(UnsafeError, match="decompressed"):
        read_mat(path, ["xc"])


@pytest.mark.parametrize(
    "content", [b"", b"x" * 127, b"x" * 400, b"MATLAB 7.3 MAT-file" + bytes(400)]
)
def test_other_files_are_errors(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat cannot be read as a MAT-file: .*version 5"):
        read_mat(tmp_path / "a.mat", ["X"])


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="not a plain file"):
        read_mat(tmp_path, ["X"])


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> tuple[bytes, bytes]:
    """A small file, plain and compressed."""
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    made = []
    for compress in (False, True):
        scipy.io.savemat(path, {"X": np.arange(12, dtype=np.uint8)}, do_compression=compress)
        made.append(path.read_bytes())
    return made[0], made[1]


@given(
    st.booleans(), st.integers(0, 2**16), st.integers(0, 255), st.integers(0, 2**16), st.booleans()
)
def test_damage_is_a_data_error_or_changes_values_only(
    tmp_path_factory, contents, compressed, at, byte, end, inside
):
    content = bytearray(contents[compressed])
    if compressed and inside:
        # Damage below a valid checksum.
        plain = bytearray(zlib.decompress(content[136:]))
        plain[at % len(plain)] = byte
        packed = zlib.compress(plain)
        content = content[:132] + struct.pack("<I", len(packed)) + packed
    else:
        content[at % len(content)] = byte
        content = content[: end % (2 * len(content)) or None]
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    path.write_bytes(content)
    try:
        found = read_mat(path, ["X"])
    except (DataError, UnsafeError):
        return
    assert all(values.nbytes <= len(contents[0]) for values in found.values())
