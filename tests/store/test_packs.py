"""Packs: artifacts of a pool are merged into files of many, at any moment and by anyone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from logs import logged

from rum_ray.errors import IntegrityError, StoreError
from rum_ray.store import Artifact, Key, Store, packs
from rum_ray.store.packs import Packs
from rum_ray.store.places import Folder

SIZE = 5


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch):
    monkeypatch.setattr(packs, "PACK_RECORDS", SIZE)
    monkeypatch.setattr(packs, "WHOLE_FROM", 3)


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path) -> Store:
    bucket = request.param == "bucket"
    return Store(request.getfixturevalue("server").bucket() if bucket else tmp_path / "store")


@pytest.fixture
def local(tmp_path) -> Store:
    return Store(tmp_path / "store")


def key(number: int, kind: str = "pool") -> Key:
    return Key(kind, {"number": number})


def record(number: int) -> Artifact:
    return Artifact({"x": np.arange(number + 1.0)}, {"number": number})


def fill(store: Store, numbers, kind: str = "pool") -> list[Key]:
    for number in numbers:
        store.save(key(number, kind), record(number), {"seconds": number})
    return [key(number, kind) for number in numbers]


def assert_all(store: Store, numbers, missing=()) -> None:
    """Assert that every way to read finds these artifacts and no others."""
    keys = [key(number) for number in numbers]
    known = [number not in missing for number in numbers]
    # Requests of the server are slow.
    for each in (store, Store(store.root)) if store.folder else (store,):
        assert [each.has(k) for k in keys] == known
        assert each.have(keys) == known
        present = [n for n in numbers if n not in missing]
        for n in present:
            found = each.load(key(n))
            assert (found.value, len(found.arrays["x"])) == ({"number": n}, n + 1)
            assert each.provenance(key(n)) == {"seconds": n}
        streamed = {
            n: found.value["number"] for n, found in each.load_each([key(n) for n in present])
        }
        assert streamed == dict(enumerate(present))
        for n in missing:
            assert each.find(key(n)) is None
            with pytest.raises(StoreError):
                each.load(key(n))
            with pytest.raises(StoreError):
                list(each.load_each(keys))


def alone(store: Store) -> list[str]:
    return sorted(store._place.sizes("pool"))


def in_packs(store: Store) -> list[str]:
    return sorted(store._place.sizes("packs/pool"))


def test_packed_artifacts_are_read_like_others(store, monkeypatch):
    if store.folder is None:
        monkeypatch.setattr("rum_ray.store.store.LIST_FROM", 1)
    fill(store, range(12))
    reader = Store(store.root)
    reader.have([key(0)])
    store.pack({"pool", "model"})
    assert (len(in_packs(store)), len(alone(store))) == (2, 4)
    assert_all(store, range(14), missing=(12, 13))
    assert [reader.load(key(n)).value["number"] for n in range(12)] == list(range(12))
    packed = in_packs(store)
    store.pack({"pool"})
    assert (in_packs(store), len(alone(store))) == (packed, 4)
    fill(store, range(12, 20))
    store.pack({"pool"})
    assert (len(in_packs(store)), len(alone(store))) == (4, 0)
    assert_all(store, range(20))
    assert reader.have([key(n) for n in range(21)]) == [True] * 20 + [False]
    store.discard("pool")
    assert_all(store, range(3), missing=range(3))
    assert in_packs(store) == []


def test_only_full_packs_of_small_records_of_a_pool_are_made(local, monkeypatch):
    fill(local, range(SIZE - 1))
    fill(local, range(SIZE), "model")
    local.pack({"pool"})
    local.pack({"model"})
    assert in_packs(local) == []
    monkeypatch.setattr(packs, "RECORD_BYTES", 1000)
    local.save(key(1000), record(1000), {})
    local.pack({"pool"})
    assert in_packs(local) == []
    monkeypatch.setattr(packs, "PACK_BYTES", 300)
    local.pack({"pool"})
    assert len(in_packs(local)) == 2
    assert alone(local) == [f"{key(1000).digest}.json", f"{key(1000).digest}.safetensors"]


def test_a_pack_is_a_safetensors_file_of_the_files(local):
    from safetensors.numpy import load_file

    fill(local, range(SIZE))
    files = {path.name: path.read_bytes() for path in (local.folder / "pool").iterdir()}
    local.pack({"pool"})
    (path,) = (local.folder / "packs" / "pool").iterdir()
    names = [name.removesuffix(".safetensors") for name in files]
    assert {n: a.tobytes() for n, a in load_file(path).items()} == dict(
        zip(names, files.values(), strict=True)
    )
    again = Store(local.folder / "again")
    fill(again, reversed(range(SIZE)))
    again.pack({"pool"})
    assert in_packs(again) == in_packs(local)


def test_the_bits_of_a_packed_artifact_are_final(store):
    fill(store, range(SIZE))
    store.pack({"pool"})
    late = Store(store.root)
    late.save(key(0), record(0), {"seconds": 99})
    assert alone(store) == []
    with pytest.raises(IntegrityError):
        late.save(key(0), record(7), {})
    assert alone(store) == []
    assert_all(store, range(SIZE))


@pytest.mark.parametrize("step", range(1, 4))
def test_a_packer_that_dies_loses_nothing(local, monkeypatch, step):
    fill(local, range(2 * SIZE))
    calls = iter(range(1, 100))

    def die_at(name: str):
        whole = getattr(Folder, name)

        def dying(self, *arguments):
            if next(calls) == step:
                raise KeyboardInterrupt
            return whole(self, *arguments)

        monkeypatch.setattr(Folder, name, dying)

    for name in ("create", "remove"):
        die_at(name)
    with pytest.raises(KeyboardInterrupt):
        local.pack({"pool"})
    assert_all(Store(local.root), range(2 * SIZE))
    Store(local.root).pack({"pool"})
    assert (len(in_packs(local)), alone(local)) == (2, [])
    assert_all(local, range(2 * SIZE))


def test_a_packer_killed_at_any_time_loses_nothing(local):
    fill(local, range(60))
    # A packer needs about as many milliseconds as the longest wait.
    code = (
        "import sys; from rum_ray.store import Store, packs\n"
        f"packs.PACK_RECORDS = {SIZE}\n"
        "print('go', flush=True)\n"
        "Store(sys.argv[1]).pack({'pool'})"
    )
    for wait in range(0, 8, 2):
        command = [sys.executable, "-c", code, local.root]
        packer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert packer.stdout.readline() == "go\n"
        with pytest.raises(subprocess.TimeoutExpired):
            packer.wait(0.001 * 2**wait)
            raise subprocess.TimeoutExpired("", 0)
        packer.kill()
        packer.communicate()
        assert all(Store(local.root).find(key(n)) for n in range(60))
    local.pack({"pool"})
    assert alone(local) == []


def test_two_packers_at_once(store, monkeypatch):
    fill(store, range(3 * SIZE))
    other, create = Store(store.root), Packs.write

    def other_first(self: Packs, files) -> None:
        monkeypatch.setattr(Packs, "write", create)
        fill(other, range(3 * SIZE, 4 * SIZE))
        other.pack({"pool"})
        create(self, files)

    monkeypatch.setattr(Packs, "write", other_first)
    store.pack({"pool"})
    assert_all(store, range(4 * SIZE))
    assert alone(store) == []


def test_a_packed_artifact_whose_file_is_back_is_packed_once(store):
    fill(store, range(SIZE))
    contents = {name: store._place.read(f"pool/{name}") for name in alone(store)}
    store.pack({"pool"})
    before = in_packs(store)
    for name, content in contents.items():
        store._place.create(f"pool/{name}", content)
    assert_all(store, range(SIZE))
    store.pack({"pool"})
    assert (alone(store), in_packs(store)) == ([], before)


def damage(store: Store, number: int) -> None:
    """Flip a bit of a packed artifact."""
    (name,) = [
        n
        for n in in_packs(store)
        if key(number).digest in str(store._place.read(f"packs/pool/{n}"))
    ]
    content = bytearray(store._place.read(f"packs/pool/{name}"))
    found = Store(store.root)._packs["pool"].entry(key(number).digest)
    content[found[2] - 1] ^= 1
    store._place.replace(f"packs/pool/{name}", bytes(content))


@pytest.mark.parametrize("read", ["find", "load_each", "save"])
def test_a_damaged_artifact_alone_is_missing(store, read):
    fill(store, range(2 * SIZE))
    store.pack({"pool"})
    watching = Store(store.root)
    assert all(watching.have([key(n) for n in range(2 * SIZE)]))
    damage(store, 3)

    def load() -> None:
        with pytest.raises(StoreError, match=r"^pool "):
            list(store.load_each([key(n) for n in range(2 * SIZE)]))

    reads = {
        "find": lambda: store.find(key(3)),
        "save": lambda: store.save(key(3), record(3), {"seconds": 3}),
    }
    text = rf"packs/pool/.* {key(3).digest}.* moved to quarantine/pack"
    with logged(text):
        found = reads.get(read, load)()
    assert found is None
    if read != "save":
        assert_all(store, range(2 * SIZE), missing=[3])
        fill(store, [3])
    assert_all(store, range(2 * SIZE))
    assert len(alone(store)) == 2
    assert [watching.load(key(n)).value["number"] for n in range(2 * SIZE)] == [*range(2 * SIZE)]
    assert len(store._place.sizes("quarantine")) == 1


def test_a_file_wins_over_a_pack(local):
    fill(local, range(SIZE))
    local.pack({"pool"})
    damage(local, 2)
    other = Store(local.folder / "other")
    fill(other, [2])
    for suffix in ("safetensors", "json"):
        name = f"pool/{key(2).digest}.{suffix}"
        local._place.create(name, other._place.read(name))
    assert local.find(key(2)).value == {"number": 2}
    local.pack({"pool"})
    assert len(alone(local)) == 2


def test_a_damaged_file_is_not_packed(local):
    fill(local, range(SIZE))
    path = Path(local.path(key(1)))
    path.write_bytes(path.read_bytes()[:-1])
    local.pack({"pool"})
    assert len(alone(local)) == 2
    with logged("quarantine"):
        assert local.find(key(1)) is None
    assert_all(local, range(SIZE), missing=[1])


@pytest.mark.parametrize("start", [b"", b"x" * 100, b"\xff" * 8 + b"{}", bytes(5000)])
def test_a_pack_without_a_header_is_quarantined(local, start):
    fill(local, range(SIZE))
    local.pack({"pool"})
    fill(local, range(SIZE, SIZE + 2))
    (path,) = (local.folder / "packs" / "pool").iterdir()
    path.write_bytes(start)
    with logged("no valid header"):
        assert Store(local.root).find(key(0)) is None
    assert_all(Store(local.root), range(SIZE + 2), missing=range(SIZE))
    assert [p.read_bytes() for p in (local.folder / "quarantine").iterdir()] == [start]


def test_no_damage_of_a_pack_gives_wrong_bits(local):
    fill(local, range(SIZE))
    local.pack({"pool"})
    (path,) = (local.folder / "packs" / "pool").iterdir()
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        )
        reader, found = Store(local.root), 0
        for number in range(SIZE):
            artifact = reader.find(key(number))
            assert artifact is None or artifact.value == {"number": number}
            found += artifact is not None
        if place > 8 + int.from_bytes(whole[:8], "little"):
            assert found >= SIZE - 1
        for other in (local.folder / "packs" / "pool").iterdir():
            other.unlink()


def test_a_store_that_cannot_be_packed_warns(local, monkeypatch):
    fill(local, range(SIZE))

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    with logged(r"was not packed: .*No space left"):
        local.pack({"pool"})
    monkeypatch.undo()
    assert_all(local, range(SIZE))


class Pools(RuleBasedStateMachine):
    """After any saves, packings, kills and damages, a reader gets the right artifact or none."""

    folder = ""
    numbers = st.integers(0, 11)

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(Path(self.folder) / os.urandom(8).hex())
        self.saved: set[int] = set()

    @rule(first=numbers, count=st.integers(1, 12))
    def save(self, first: int, count: int) -> None:
        numbers = {n % 12 for n in range(first, first + count)}
        fill(Store(self.store.root), numbers)
        self.saved |= numbers

    @rule(fresh=st.booleans())
    def pack(self, fresh: bool) -> None:
        (Store(self.store.root) if fresh else self.store).pack({"pool"})

    @rule(number=numbers)
    def flip(self, number: int) -> None:
        packed = Store(self.store.root)._packs["pool"].entry(key(number).digest)
        path = Path(self.store.path(key(number)))
        if path.exists():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            self.saved.discard(number)
        elif packed:
            damage(self.store, number)
            self.saved.discard(number)

    @invariant()
    def right_or_none(self) -> None:
        for store in (self.store, Store(self.store.root)):
            for number in range(12):
                found = store.find(key(number))
                assert found is None or found.value == {"number": number}
                assert found is not None or number not in self.saved


def test_any_sequence_of_saves_packings_and_damages(tmp_path):
    class Here(Pools):
        folder = str(tmp_path)

    machine = Here.TestCase
    machine.settings = settings(
        max_examples=10,
        stateful_step_count=8,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine("runTest").runTest()


def test_provenance_of_a_pack_is_optional(local):
    fill(local, range(SIZE))
    Path(local.path(key(0))).with_suffix(".json").unlink()
    local.pack({"pool"})
    assert local.provenance(key(0)) == {}
    assert local.provenance(key(1)) == {"seconds": 1}
    assert local.provenance(key(99)) == {}
    assert json.loads(Packs(local._place, "pool").provenance(key(1).digest)) == {"seconds": 1}


def test_many_packed_artifacts_cost_few_requests(server):
    root = server.bucket()
    store = Store(root)
    fill(store, range(4 * SIZE))
    store.pack({"pool"})
    keys = [key(n) for n in range(4 * SIZE)]

    def requests(act) -> list[str]:
        before = len(server.requests())
        act(Store(root))
        return [line.partition(" ")[0] for line in server.requests()[before:]]

    listing = ["GET"] * (1 + 4)  # the list of packs, and their headers
    assert requests(lambda s: list(s.load_each(keys))) == listing + ["GET"] * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rum_ray.store.store.LIST_FROM", 1)
        assert requests(lambda s: s.have(keys)) == ["GET", *listing]


def test_removed_artifacts_are_gone_from_files_and_packs(store):
    fill(store, range(SIZE + 2))
    store.pack({"pool"})
    store.save_checkpoint(f"{key(1).digest}-seed", b"state")
    store.save_checkpoint(f"{key(2).digest}-seed", b"state")
    store.remove([key(1), key(3), key(SIZE + 1), key(99)])
    assert_all(store, range(SIZE + 2), missing={1, 3, SIZE + 1})
    assert store.checkpoint(f"{key(1).digest}-seed") is None
    assert store.checkpoint(f"{key(2).digest}-seed") == b"state"
    assert not store.provenance(key(3))
    assert store.provenance(key(2)) == {"seconds": 2}
