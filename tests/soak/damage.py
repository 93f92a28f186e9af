"""Damage of every kind of file that a start reads; the start makes good what it needs."""

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rum_ray.store import Key, Store
from soak.outcome import Enough, Outcome
from soak.study import Place, compare, last_line, start
from soak.walks import lighten

AT_ONCE = 6
"""Most files that are damaged before a start."""


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    _put(path, bytes(content))


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    _put(path, content[: draw.randrange(len(content) or 1)])


def zero(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content) or 1)
    content[at : at + 4096] = bytes(len(content[at : at + 4096]))
    _put(path, bytes(content))


def empty(path: Path, draw: random.Random) -> None:
    _put(path, b"")


def longer(path: Path, draw: random.Random) -> None:
    _put(path, path.read_bytes() + draw.randbytes(100))


def swap(path: Path, draw: random.Random) -> None:
    """Put the content of another file of its folder in its place."""
    others = [p for p in path.parent.iterdir() if p.suffix == path.suffix and p.is_file()]
    _put(path, draw.choice(others).read_bytes())


def folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def fifo(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def gone(path: Path, draw: random.Random) -> None:
    path.unlink()


ARTIFACT = (flip, cut, zero, empty, longer, swap, folder, dangling, fifo, gone)
TEXT = (flip, cut, zero, empty, longer, fifo, gone)
Damage = Callable[[Path, random.Random], None]


def _put(path: Path, content: bytes) -> None:
    """Replace a file; other links to it keep their content."""
    path.unlink()
    path.write_bytes(content)


def damage(
    place: Place, reference: Mapping[str, Any], enough: Enough, draw: random.Random
) -> Outcome:
    """Damage some files of a finished study and start it again, until that is enough."""
    outcome, log = Outcome(), place.folder / "log"
    code = start(place, log, lighten)
    assert code == 0, last_line(log)
    whole = place.folder / "whole"
    shutil.copytree(place.store, whole)
    while not enough(outcome):
        shutil.rmtree(place.store)
        shutil.copytree(whole, place.store, copy_function=os.link)
        place.out.mkdir(exist_ok=True)
        for path in place.out.iterdir():
            if path.is_dir() or not path.is_file():
                _remove(path)
        hurt, done = _hurt(place, outcome, draw)
        code = start(place, log, lighten)
        if code:
            outcome.wrong.append(f"{', '.join(done)}: exit {code}, {last_line(log)}")
            code = start(place, log, lighten)
        if code:
            outcome.wrong.append(f"again after {', '.join(done)}: exit {code}, {last_line(log)}")
            _remove(place.out)
            continue
        found = place.results()
        found |= {n: reference[n] for n in hurt & reference.keys() if _is_noticed(place, whole, n)}
        outcome.verdict += compare(found, reference)
    return outcome


def _is_noticed(place: Place, whole: Path, name: str) -> bool:
    """Return True if the reader of a damaged artifact finds none, or the right one.

    A start that needs no artifact of a kind reads none of it, so the damage may still be there.
    """
    key = Key.named(*name.removesuffix(".safetensors").split("/"))
    found, right = (Store(store).find(key) for store in (place.store, whole))
    return found is None or found.checksum(key) == right.checksum(key)


def _hurt(place: Place, outcome: Outcome, draw: random.Random) -> tuple[set[str], list[str]]:
    """Damage some files; return the names of those in the store, and what was done."""
    files = [
        *place.store.glob("*/*.safetensors"),
        *place.store.glob("*/*.json"),
        *(place.out / name for name in ("stages.json", "progress.jsonl", "report.json")),
        *(place.out / name for name in ("plan.yaml", "scores.parquet", "trials.parquet")),
    ]
    kinds: dict[str, list[Path]] = {}
    for path in sorted(files):
        inside = path.is_relative_to(place.store)
        kinds.setdefault(f"{path.parent.name}{path.suffix}" if inside else path.name, []).append(
            path
        )
    hurt, done = set[str](), []
    for kind in draw.sample(sorted(kinds), draw.randint(1, AT_ONCE)):
        path = draw.choice(kinds[kind])
        if not path.is_file():
            continue
        act = draw.choice(ARTIFACT if path.suffix == ".safetensors" else TEXT)
        act(path, draw)
        hurt |= {str(path.relative_to(place.store))} if path.is_relative_to(place.store) else set()
        done.append(f"{kind} {act.__name__}")
        outcome.faults[f"{kind} damaged"] += 1
    return hurt, done


def _remove(path: Path) -> None:
    """Remove whatever is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
