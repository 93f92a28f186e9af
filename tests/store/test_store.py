import contextlib
import errno
import fcntl
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from logs import logged

from rum_ray.errors import DamagedError, IntegrityError, MissingError, StoreError
from rum_ray.files import write_bytes, write_once
from rum_ray.store import Artifact, Key, Store
from rum_ray.store.places import Folder

KEY = Key("model", {"lr": 0.1, "rows": np.arange(3)})
OTHER = Key("model", {"lr": 0.2, "rows": np.arange(3)})
ARTIFACT = Artifact(
    {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "number": np.array(7),
        "real": np.array(-0.0),
        "bits": np.array([True, False]),
        "none": np.zeros((0, 3), dtype=np.int64),
        "odd": np.array([np.nan, np.inf, -1e-300]),
    },
    {"status": "ok", "by_seed": [0.1, 1, None], "nested": {"ä": True}},
)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def file_of(store: Store, key: Key = KEY) -> Path:
    return Path(store.path(key))


def files(store: Store) -> list[str]:
    root = store.folder
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def assert_same(found: Artifact | None, made: Artifact = ARTIFACT) -> None:
    assert found is not None
    assert found.value == made.value
    assert found.arrays.keys() == made.arrays.keys()
    for name, array in made.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files written by this process, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_round_trip(tmp_path, prefix):
    store = Store(f"{prefix}{tmp_path}/store")
    assert store.find(KEY) is None
    assert not store.has(KEY)
    assert not (tmp_path / "store").exists()
    store.save(KEY, ARTIFACT, {"seconds": 1.5})
    assert store.has(KEY)
    assert_same(store.find(KEY))
    assert_same(store.load(KEY))
    assert_same(pickle.loads(pickle.dumps(store)).load(KEY))
    assert store.provenance(KEY) == {"seconds": 1.5}
    name = f"model/{KEY.digest}"
    assert files(store) == [f"{name}.json", f"{name}.safetensors"]
    assert store.path(KEY) == f"{tmp_path}/store/{name}.safetensors"
    assert store.find(OTHER) is None


def test_have_checks_many_keys_at_once(store):
    assert store.have([KEY, OTHER]) == [False, False]
    store.save(KEY, ARTIFACT, {})
    assert store.have([OTHER, KEY, OTHER, KEY]) == [False, True, False, True]
    assert store.have([]) == []


def test_round_trip_without_hard_links():
    store = Store("mock://bucket/a")
    store._place.files.create_dir("a/model")
    store.save(KEY, ARTIFACT, {"seconds": 1})
    store.save(KEY, ARTIFACT, {"seconds": 2})
    assert_same(store.load(KEY))
    assert store.provenance(KEY) == {"seconds": 1}
    with pytest.raises(IntegrityError, match=f"^model {KEY.digest[:12]} "):
        store.save(KEY, Artifact(), {})
    with store._place.files.open_output_stream(store.path(KEY)) as stream:
        stream.write(b"damaged")
    with logged("a/quarantine"):
        assert store.find(KEY) is None
    with pytest.raises(StoreError, match="mock://bucket/a: "):
        store.save(Key("other", {}), ARTIFACT, {})
    assert store.provenance(OTHER) == {}


@pytest.mark.parametrize("value", [None, 0, "text", [1.5, None], {"a": []}, True])
def test_an_artifact_may_have_no_arrays(store, value):
    store.save(KEY, Artifact(value=value), {})
    assert_same(store.load(KEY), Artifact(value=value))


def test_memory_order_does_not_matter_and_tensors_are_saved_as_arrays(store):
    matrix = np.arange(6.0).reshape(2, 3)
    store.save(KEY, Artifact({"a": matrix.T, "b": torch.arange(3)}), {})
    assert_same(store.load(KEY), Artifact({"a": matrix.T.copy(), "b": np.arange(3)}))
    store.save(KEY, Artifact({"a": matrix.T.copy(), "b": np.arange(3)}), {})


def test_saving_is_idempotent_and_the_first_provenance_stays(store):
    store.save(KEY, ARTIFACT, {"seconds": 1})
    before = file_of(store).read_bytes()
    store.save(KEY, ARTIFACT, {"seconds": 2})
    assert file_of(store).read_bytes() == before
    assert store.provenance(KEY) == {"seconds": 1}
    assert len(files(store)) == 2


def test_equal_artifacts_have_equal_files(tmp_path):
    contents = set()
    for number in range(8):
        store = Store(tmp_path / str(number))
        arrays = dict(reversed(ARTIFACT.arrays.items())) if number % 2 else ARTIFACT.arrays
        store.save(KEY, Artifact(arrays, ARTIFACT.value), {"number": number})
        contents.add(file_of(store).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    "other",
    [
        Artifact(ARTIFACT.arrays, None),
        Artifact({**ARTIFACT.arrays, "number": np.array(8)}, ARTIFACT.value),
        Artifact({**ARTIFACT.arrays, "real": np.array(0.0)}, ARTIFACT.value),
        Artifact({**ARTIFACT.arrays, "number": np.array([7])}, ARTIFACT.value),
        Artifact({**ARTIFACT.arrays, "number": np.array(7, np.int32)}, ARTIFACT.value),
    ],
)
def test_other_bits_under_the_same_key_are_an_integrity_error(store, other):
    store.save(KEY, ARTIFACT, {})
    with pytest.raises(IntegrityError, match=f"^model {KEY.digest[:12]} "):
        store.save(KEY, other, {})
    assert IntegrityError.exit_code == 7
    assert_same(store.load(KEY))


def test_an_artifact_under_another_key_is_refused(store):
    store.save(KEY, ARTIFACT, {})
    file_of(store, OTHER).write_bytes(file_of(store).read_bytes())
    with logged(rf"^model {OTHER.digest[:12]} was damaged.*quarantine"):
        assert store.find(OTHER) is None
    assert_same(store.load(KEY))


def test_loading_a_missing_artifact_is_an_error(store):
    with pytest.raises(StoreError, match=rf"^model {KEY.digest[:12]} .*/store\.$"):
        store.load(KEY)


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A flipped bit in each byte, each truncation, and each zeroed tail."""
    for place in range(len(whole)):
        flipped = whole[place] ^ (1 << (place % 8))
        yield f"bit in byte {place}", whole[:place] + bytes([flipped]) + whole[place + 1 :]
        yield f"cut at {place}", whole[:place]
        tail = bytes(len(whole) - place)
        if whole[place:] != tail:
            yield f"zeros from {place}", whole[:place] + tail
    yield "longer", whole + b"\0"


def test_every_damage_is_detected(store):
    store.save(KEY, ARTIFACT, {})
    path, unseen = file_of(store), []
    whole = path.read_bytes()
    aside = path.parents[1] / "quarantine"
    for what, damaged in damages(whole):
        path.write_bytes(damaged)
        try:
            found = store.load(KEY)
        except DamagedError:
            assert not store.has(KEY), what
        else:
            assert_same(found)
            unseen.append(what)
            continue
        assert not path.exists()
        (moved,) = aside.iterdir()
        assert moved.read_bytes() == damaged
        moved.unlink()
    assert not unseen


@pytest.mark.parametrize("damaged", [b"", b"x" * 100, b"\xff" * 8 + b"{}", bytes(5000)])
def test_a_damaged_file_is_quarantined_and_replaced(store, damaged):
    store.save(KEY, ARTIFACT, {})
    file_of(store).write_bytes(damaged)
    with logged("quarantine"):
        store.save(KEY, ARTIFACT, {})
    assert_same(store.load(KEY))
    file_of(store).write_bytes(damaged)
    with pytest.raises(DamagedError, match=r"^model .*quarantine"):
        store.load(KEY)
    with pytest.raises(MissingError, match=r"^model .*not in the store"):
        store.load(KEY)


@pytest.mark.parametrize(
    "damaged", [b'{"sec', b"", b"[]", b"7", b"[" * 100_000, b'{"time": "noon"}', b"\xff\xfe"]
)
def test_damaged_provenance_is_ignored(store, damaged):
    store.save(KEY, ARTIFACT, {"seconds": 1})
    file_of(store).with_suffix(".json").write_bytes(damaged)
    assert store.provenance(KEY) == {}
    assert store.provenance(OTHER) == {}


def obstacles(path: Path) -> dict[str, object]:
    """Things that are no file under a name, by kind, as functions that make them."""
    outside = path.parents[2] / "outside"

    def full_folder() -> None:
        path.mkdir()
        (path / "mine.txt").write_text("kept")

    return {
        "dangling link": lambda: path.symlink_to(outside),
        "loop of links": lambda: path.symlink_to(path),
        "folder": full_folder,
        "FIFO": lambda: os.mkfifo(path),
        "link to a device": lambda: path.symlink_to("/dev/zero"),
        "link to a folder": lambda: path.symlink_to(path.parents[2]),
        "foreign file": lambda: path.write_text("mine"),
    }


@pytest.mark.parametrize("kind", obstacles(Path("a/b/c/d")))
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_what_is_no_artifact_under_its_name_is_moved_away(store, kind, suffix):
    path = file_of(store).with_suffix(f".{suffix}")
    path.parent.mkdir(parents=True)
    obstacles(path)[kind]()
    assert (kind, suffix) == ("foreign file", "safetensors") or not store.has(KEY)
    assert store.find(KEY) is None or suffix == "json"
    store.save(KEY, ARTIFACT, {"seconds": 1})
    assert_same(store.load(KEY))
    assert store.provenance(KEY) == ({} if suffix == "json" else {"seconds": 1})
    if suffix == "safetensors":
        (moved,) = (path.parents[1] / "quarantine").iterdir()
        assert moved.is_symlink() or kind != "folder" or (moved / "mine.txt").exists()


def test_a_name_that_others_take_again_and_again_is_an_error(store, monkeypatch):
    monkeypatch.setattr(Folder, "create", lambda *args: False)
    with pytest.raises(StoreError, match="other files appear") as caught:
        store.save(KEY, ARTIFACT, {})
    assert caught.value.exit_code == 6


def test_all_damage_is_found_in_one_reading(store):
    keys = [Key("trial", {"n": n}) for n in range(6)]
    for key in keys:
        store.save(key, ARTIFACT, {})
    for key in keys[1::2]:
        file_of(store, key).write_bytes(b"damaged")
    with pytest.raises(MissingError, match=rf"{keys[1].digest[:12]} .*3 artifacts"):
        list(store.load_each(keys))
    assert store.have(keys) == [True, False] * 3


def test_another_process_quarantines_the_damaged_file_first(store, monkeypatch):
    store.save(KEY, ARTIFACT, {})
    file_of(store).write_bytes(b"damaged")
    read = Folder.read

    def read_and_lose(self: Folder, path: str, start: int = 0, end: int | None = None) -> bytes:
        content = read(self, path, start, end)
        self.path(path).unlink()
        return content

    monkeypatch.setattr(Folder, "read", read_and_lose)
    with logged(KEY.digest[:12]):
        assert store.find(KEY) is None
    assert not list(file_of(store).parents[1].glob("quarantine/*"))


def test_concurrent_saves_of_one_key(store):
    errors = []

    def save() -> None:
        try:
            store.save(KEY, ARTIFACT, {})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert_same(store.load(KEY))
    assert len(files(store)) == 2


def test_a_write_that_exceeds_the_disk_leaves_no_file(store):
    large = Artifact({"x": np.zeros(10_000)})
    with largest_file(4096), pytest.raises(StoreError, match=r"/store: .*File too large") as e:
        store.save(KEY, large, {})
    assert e.value.exit_code == 6
    assert files(store) == [f"model/{KEY.digest}.json"]
    store.save(KEY, large, {})
    assert_same(store.load(KEY), large)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_write_that_fails_midway_leaves_no_file(store, monkeypatch, call):
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreError, match=r"/store: .*No space left on device"):
        store.save(KEY, ARTIFACT, {})
    assert files(store) == []
    monkeypatch.undo()
    store.save(KEY, ARTIFACT, {})
    assert_same(store.load(KEY))


def test_a_process_that_dies_midway_leaves_no_file_of_the_final_name(store, monkeypatch):
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", die)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    with pytest.raises(KeyboardInterrupt):
        store.save(KEY, ARTIFACT, {})
    monkeypatch.undo()
    (left,) = files(store)
    assert left.startswith("model/.")
    assert store.find(KEY) is None
    store.save(KEY, ARTIFACT, {})
    assert_same(store.load(KEY))


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "store")
    assert store.find(KEY) is None
    with pytest.raises(StoreError, match=r"/file/store: .*Not a directory") as e:
        store.save(KEY, ARTIFACT, {})
    assert e.value.exit_code == 6
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store(store):
    store.save(KEY, ARTIFACT, {})
    folder = file_of(store).parent
    folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            store.save(OTHER, ARTIFACT, {})
        assert_same(store.load(KEY))
        assert store.find(OTHER) is None
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("root", ["ftp://host/x", "nosuch://x", "file://relative/x"])
def test_an_invalid_uri_is_an_error(root):
    with pytest.raises(StoreError, match=f"'{root}'"):
        Store(root)


def test_keys_differ_by_kind_and_value():
    keys = [KEY, OTHER, Key("pool", KEY.values), Key("model", {**KEY.values, "x": None})]
    assert len({key.digest for key in keys}) == len(keys)
    assert Key("model", dict(reversed(KEY.values.items()))).digest == KEY.digest


def test_files_are_created_once_or_replaced_atomically(tmp_path):
    path = tmp_path / "new" / "file"
    assert write_once(path, b"one")
    assert not write_once(path, b"two")
    assert path.read_bytes() == b"one"
    write_bytes(path, b"three")
    assert path.read_bytes() == b"three"
    assert list(path.parent.iterdir()) == [path]
    with largest_file(10), pytest.raises(StoreError, match=r"new/file: File too large"):
        write_bytes(path, b"x" * 100)
    assert path.read_bytes() == b"three"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(StoreError, match="/file/below: "):
        write_bytes(path / "below", b"")


def test_discard_removes_a_kind_except_temporary_files(store):
    one, other, elsewhere = (Key("a", {"n": 1}), Key("a", {"n": 2}), Key("b", {"n": 1}))
    store.discard("a")
    for key in (one, other, elsewhere):
        store.save(key, ARTIFACT, {})
    writing = file_of(store, one).with_name(".half")
    writing.touch()
    store.discard("a")
    assert store.have([one, other, elsewhere]) == [False, False, True]
    assert list(writing.parent.iterdir()) == [writing]


def test_a_lock_excludes_others_of_the_same_key_only(store):
    inside = threading.Event()

    def wait(key: Key) -> None:
        with store.lock(key):
            inside.set()

    with store.lock(KEY):
        for key in (OTHER, KEY):
            thread = threading.Thread(target=wait, args=(key,))
            thread.start()
            assert inside.wait(0.3 if key is KEY else 60) == (key is OTHER)
            inside.clear()
    assert inside.wait(60)
    thread.join()
    assert files(store) == []


def test_many_threads_hold_a_lock_one_after_another(store):
    holders, most = [], []

    def hold() -> None:
        for _ in range(100):
            with store.lock(KEY):
                holders.append(1)
                time.sleep(0.0005)
                most.append(len(holders))
                holders.pop()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 400)
    assert files(store) == []


def test_a_killed_process_leaves_no_lock(store):
    code = (
        "import sys, time; from rum_ray.store import Key, Store\n"
        "with Store(sys.argv[1]).lock(Key('model', {})): print('held', flush=True); time.sleep(99)"
    )
    command = [sys.executable, "-c", code, store.root]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    lock = file_of(store, Key("model", {})).with_suffix(".lock")
    with lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.kill()
    holder.communicate()
    with store.lock(Key("model", {})):
        assert lock.exists()
    assert files(store) == []


def test_without_locks_nobody_waits(tmp_path, store, monkeypatch):
    (tmp_path / "file").touch()
    for place in (Store(tmp_path / "file" / "store"), Store("mock://bucket")):
        with place.lock(KEY), place.lock(KEY):
            pass

    for number in (errno.ENOLCK, errno.ENOSYS):

        def refuse(*args: object, number: int = number) -> None:
            raise OSError(number, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
        with store.lock(KEY), store.lock(KEY):
            pass


class Stores(RuleBasedStateMachine):
    """After any saves and damages, a reader gets the saved artifact of its key, or none."""

    keys = st.integers(0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(self.folder) / os.urandom(8).hex()
        self.saved: set[int] = set()

    folder = ""

    def key(self, number: int) -> Key:
        return Key("model", {"number": number})

    def artifact(self, number: int) -> Artifact:
        return Artifact({"x": np.arange(number + 1.0)}, {"number": number})

    @rule(number=keys)
    def save(self, number: int) -> None:
        Store(self.root).save(self.key(number), self.artifact(number), {})
        self.saved.add(number)

    @rule(number=keys, place=st.integers(0, 10**4), bit=st.integers(0, 7))
    def flip(self, number: int, place: int, bit: int) -> None:
        path = file_of(Store(self.root), self.key(number))
        if path.exists():
            content = bytearray(path.read_bytes())
            if content:
                content[place % len(content)] ^= 1 << bit
                path.write_bytes(content)

    @rule(number=keys, length=st.integers(0, 10**4))
    def cut(self, number: int, length: int) -> None:
        path = file_of(Store(self.root), self.key(number))
        if path.exists():
            path.write_bytes(path.read_bytes()[:length])

    @rule(source=keys, other=keys)
    def copy(self, source: int, other: int) -> None:
        store = Store(self.root)
        if file_of(store, self.key(source)).exists():
            content = file_of(store, self.key(source)).read_bytes()
            file_of(store, self.key(other)).write_bytes(content)

    @rule(number=keys)
    def remove(self, number: int) -> None:
        file_of(Store(self.root), self.key(number)).unlink(missing_ok=True)

    @invariant()
    def never_wrong(self) -> None:
        for number in range(3):
            found = Store(self.root).find(self.key(number))
            assert found is None or number in self.saved
            if found is not None:
                assert_same(found, self.artifact(number))


def test_any_sequence_of_saves_and_damages(tmp_path):
    class Here(Stores):
        folder = str(tmp_path)

    machine = Here.TestCase
    machine.settings = settings(
        max_examples=15,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine("runTest").runTest()
    assert json.loads((next(tmp_path.glob("*/model/*.json"))).read_text()) == {}
