"""The ledger of a model: the published requests in order, with salted hashes in place of ids.

A file of JSON lines. The first line names the original model and holds the salt; each further line
is a request. Every line has a chain value: the SHA-256 of the chain value before and of the line.
A changed, swapped or inserted line therefore breaks the chain. The chain detects accidents and
edits; a person who computes new chain values is not detected.
"""

import dataclasses
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rum_ray.data.bundle import LabeledData
from rum_ray.data.reading import Part
from rum_ray.errors import IntegrityError, StoreError, first_ten
from rum_ray.files import read_regular

LEDGER = "ledger.jsonl"
MOST_BYTES = 2**30
"""Largest ledger or file of a published request beside its models that is read."""
FORMAT = 1
HEAD = ("original", "salt", "mean", "std", "held")
"""Keys that the first line of every ledger has, beside its format and its chain value."""
START = hashlib.sha256(b"rum_ray ledger").hexdigest()
"""The chain value before the first line."""
RESTORE = (
    "Restore it from a backup. Without one, name another --out, set recipe.weights to the last "
    "model that you trust, and list the rows that it must not know with the next request."
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published request.

    Attributes:
        request: its number, from 1.
        time: of its publication, ISO 8601 in UTC.
        manifest: SHA-256 of its manifest.json.
        before: digest of the model that it started from.
        model: digest of the published model.
        ids: salted hashes of the forgotten ids.
        cost: of the request, in trainings of the original.
        test_accuracy_before: accuracy on the test set of the model that it started from.
        test_accuracy: accuracy on the test set of the published model.
    """

    request: int
    time: str
    manifest: str
    before: str
    model: str
    ids: tuple[str, ...]
    cost: float
    test_accuracy_before: float
    test_accuracy: float


ENTRY = frozenset(field.name for field in dataclasses.fields(Entry))


@dataclass(frozen=True)
class Ledger:
    """All published requests of one original model.

    Attributes:
        original: digest of the original model.
        salt: of the hashes of ids, in hexadecimal digits.
        mean: mean of inputs per channel, with which the model normalises.
        std: standard deviation of inputs per channel, likewise.
        held: salted hashes of the ids in V and in T at the first request, by "valid" and "test".
        classes: names of the classes at the first request, in the order of the model's outputs;
            empty in ledgers that do not know them.
        entries: the requests, in order.

    Example:
        >>> ledger = Ledger("d0", "00ff")
        >>> len(ledger.hashed("cat/1.png")), ledger.hashed("cat/1.png") in ledger.forgotten
        (32, False)
        >>> Ledger.parse(ledger.content(), "ledger.jsonl") == ledger
        True
    """

    original: str
    salt: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    @classmethod
    def new(
        cls,
        original: str,
        data: LabeledData,
        held: Mapping[Part, Sequence[str]] | None = None,
        classes: tuple[str, ...] = (),
    ) -> "Ledger":
        """Return an empty ledger of a model of these data, with a salt of its own.

        Args:
            original: digest of the model.
            data: its training set.
            held: ids of the same source that are in other parts.
            classes: names of the classes, in the order of the model's outputs.
        """
        empty = cls(original, secrets.token_hex(16), data.mean, data.std)
        hashes: dict[str, tuple[str, ...]] = {
            part: tuple(empty.hashes(names)) for part, names in (held or {}).items()
        }
        return dataclasses.replace(empty, held=hashes, classes=classes)

    def part_of(self, name: str) -> Part:
        """Return the part of an id: that of the first request, or D."""
        hashed = self.hashed(name)
        parts: tuple[Part, ...] = ("valid", "test")
        return next((part for part in parts if hashed in self.held.get(part, ())), "train")

    @property
    def model(self) -> str:
        """The digest of the last published model, or of the original."""
        return self.entries[-1].model if self.entries else self.original

    @cached_property
    def forgotten(self) -> frozenset[str]:
        """The salted hashes of all ids that were ever forgotten."""
        return frozenset(each for entry in self.entries for each in entry.ids)

    def hashed(self, name: str) -> str:
        """Return the salted hash of an id: 32 hexadecimal digits of its HMAC-SHA256."""
        salt = bytes.fromhex(self.salt)
        return hmac.new(salt, name.encode(), hashlib.sha256).hexdigest()[:32]

    def add(self, entry: Entry) -> "Ledger":
        """Return the ledger with one more request."""
        return dataclasses.replace(self, entries=(*self.entries, entry))

    @property
    def chain(self) -> str:
        """The chain value of the last line."""
        return self._chained()[-1][1]

    def content(self) -> bytes:
        """Return the content of the file; it follows from the values alone."""
        return b"".join(_line({**line, "chain": chain}) for line, chain in self._chained())

    def _chained(self) -> list[tuple[dict[str, Any], str]]:
        """Return each line without its chain value, and that value."""
        head = {name: getattr(self, name) for name in HEAD} | {"format": FORMAT}
        if self.classes:
            head["classes"] = self.classes
        found, chain = [], START
        for line in (head, *map(dataclasses.asdict, self.entries)):
            chain = hashlib.sha256(chain.encode() + _line(line)).hexdigest()
            found.append((line, chain))
        return found

    @classmethod
    def parse(cls, content: bytes, place: str | Path) -> "Ledger":
        """Return the ledger in the content of a file.

        Raises:
            IntegrityError: the content was cut or edited; `place` names the file.
        """
        *lines, rest = content.split(b"\n")
        if rest or not lines:
            raise _damaged(place, f"line {len(lines) + 1} is cut off" if rest else "it is empty")
        names = [frozenset(HEAD) | {"format"}] + [ENTRY] * (len(lines) - 1)
        trees = [
            _tree(line, number, known, place)
            for number, (line, known) in enumerate(zip(lines, names, strict=True), 1)
        ]
        try:
            ledger = cls(**_head(trees[0]), entries=tuple(map(_entry, trees[1:])))
            again = ledger.content().splitlines()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(place, f"a value is of another kind ({error})") from error
        for number, (line, expected) in enumerate(zip(lines, again, strict=True), 1):
            if line != expected:
                raise _damaged(place, f"line {number} does not match its chain value")
        ledger._check_order(place)
        return ledger

    def _check_order(self, place: str | Path) -> None:
        """Raise IntegrityError unless the requests follow one another."""
        before = self.original
        for number, entry in enumerate(self.entries, 1):
            if entry.request != number or entry.before != before:
                raise _damaged(place, f"line {number + 1} does not follow the line before it")
            before = entry.model

    @classmethod
    def read(cls, out: Path) -> "Ledger | None":
        """Return the ledger of an output folder; None if it has none.

        Raises:
            IntegrityError: the ledger was cut or edited.
            StoreError: the file cannot be read.
        """
        path = out / LEDGER
        try:
            return cls.parse(read_regular(path, MOST_BYTES), path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"the ledger {path} cannot be read: {error.strerror}.") from error

    def hashes(self, names: Iterable[str]) -> list[str]:
        """Return the salted hashes of ids, in order."""
        return [self.hashed(name) for name in names]


def _line(values: Mapping[str, Any]) -> bytes:
    """Return the one form of a line."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _tree(line: bytes, number: int, names: Collection[str], place: str | Path) -> dict[str, Any]:
    """Return the values of a line, which has these keys and a chain value.

    Raises:
        IntegrityError: the line is no JSON object, or lacks a key.
    """
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, f"line {number} is no JSON ({error})") from error
    if not isinstance(tree, dict):
        raise _damaged(place, f"line {number} is no JSON object")
    lacking = sorted({*names, "chain"} - tree.keys())
    if lacking:
        keys = "the key" if len(lacking) == 1 else "the keys"
        raise _damaged(place, f"line {number} lacks {keys} {first_ten(lacking)}")
    return tree


def _head(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a ledger in its first line."""
    held = {str(part): tuple(hashes) for part, hashes in tree["held"].items()}
    lists = {name: tuple(tree.get(name, ())) for name in ("mean", "std", "classes")}
    return {"original": tree["original"], "salt": tree["salt"], "held": held, **lists}


def _entry(tree: Mapping[str, Any]) -> Entry:
    """Return the request in a line; another key than its own is a key too many."""
    return Entry(**{**{n: tree[n] for n in tree if n != "chain"}, "ids": tuple(tree["ids"])})


def _damaged(place: str | Path, reason: str) -> IntegrityError:
    """Return the error for a ledger that was changed."""
    return IntegrityError(f"the ledger {place} was cut or edited: {reason}. {RESTORE}")
