"""The verb `verify`: a published folder against its manifest, the ledger, and the data."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rum_ray import config
from rum_ray.data.bundle import DataBundle
from rum_ray.deletion.data import load_data
from rum_ray.deletion.files import EVIDENCE
from rum_ray.deletion.jobs import predictions
from rum_ray.deletion.ledger import LEDGER, Entry, Ledger
from rum_ray.deletion.measure import Predictions
from rum_ray.deletion.models import own_recipe, state_digest
from rum_ray.deletion.publish import MANIFEST, MODEL, sha256
from rum_ray.digest import digest
from rum_ray.errors import DataError, IntegrityError, RumRayError
from rum_ray.evaluation.peers import auc_interval, peer_scores
from rum_ray.experiment import Experiment
from rum_ray.files import read_regular
from rum_ray.jobs.context import hardware
from rum_ray.jobs.pretrained import read_weights
from rum_ray.models.checkpoint import MOST_BYTES
from rum_ray.results.environment import machine
from rum_ray.results.schema.evidence import Evidence
from rum_ray.results.schema.manifest import Manifest
from rum_ray.training.runtime import set_threads

SAME, OTHER = 1e-6, 0.005
"""Largest differences of a number that is measured again: on the same kind of machine, or not."""


@dataclass(frozen=True)
class Check:
    """A check of a published folder.

    Attributes:
        check: its name.
        state: "ok", "failed", or "note" where it could not be made.
        found: in words.
    """

    check: str
    state: str
    found: str


def verify(folder: Path) -> list[Check]:
    """Return the checks of a published folder; none of them failed.

    Args:
        folder: such as out/photos/deletions/0001.

    Raises:
        DataError: the folder has no manifest.
        IntegrityError: a check failed; the message has all that did.
    """
    content = _read(folder / MANIFEST)
    if content is None:
        raise DataError(
            f"{folder} has no {MANIFEST}. Name the folder of a request, such as "
            "out/NAME/deletions/0001."
        )
    try:
        manifest = Manifest.from_json(json.loads(content))
    except (ValueError, RecursionError, DataError) as error:
        raise IntegrityError(f"{folder / MANIFEST} was changed or cut: {error}") from error
    entry, ledger, line = _in_ledger(folder, manifest, sha256(content))
    later = ledger is not None and len(ledger.entries) > manifest.request
    checks = [_file(folder, name, known, later) for name, known in manifest.files.items()]
    checks += [line, _versions(manifest)]
    _stop_if_failed(folder, checks)
    if (folder / MODEL).exists():
        checks += _from_model(folder, manifest, entry, ledger)
    _stop_if_failed(folder, checks)
    return checks


def _stop_if_failed(folder: Path, checks: list[Check]) -> None:
    """Raise IntegrityError if a check failed."""
    failed = [f"{each.check}: {each.found}" for each in checks if each.state == "failed"]
    if failed:
        raise IntegrityError(
            f"{folder} is not as it was published. {'; '.join(failed)}. Restore it from a backup; "
            "do not use its model."
        )


def _read(path: Path) -> bytes | None:
    """Return the content of a file; None if there is none."""
    try:
        return read_regular(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _file(folder: Path, name: str, expected: str, later: bool) -> Check:
    """Compare a file with its SHA-256 in the manifest.

    Args:
        folder: of the request.
        name: of the file.
        expected: its SHA-256.
        later: True if a later request is published; the model may then be purged.
    """
    content = _read(folder / name)
    if content is None and later and name.startswith("model."):
        return Check(name, "note", "removed; a later request has the model")
    if content is None:
        return Check(name, "failed", "the file is missing")
    if sha256(content) != expected:
        return Check(name, "failed", "the file is not the one of the manifest")
    return Check(name, "ok", f"SHA-256 {expected[:12]}")


def _in_ledger(
    folder: Path, manifest: Manifest, found: str
) -> tuple[Entry | None, Ledger | None, Check]:
    """Compare the manifest with its line in the ledger."""
    out = folder.absolute().parent.parent
    ledger = Ledger.read(out)
    if ledger is None:
        told = f"there is no {LEDGER} in {out}"
        inside = folder.absolute().parent.name == "deletions"
        return None, None, Check("ledger", "failed" if inside else "note", told)
    if len(ledger.entries) < manifest.request:
        told = f"it has {len(ledger.entries)} requests, and this is request {manifest.request}"
        return None, ledger, Check("ledger", "failed", told)
    entry = ledger.entries[manifest.request - 1]
    before = dataclasses.replace(ledger, entries=ledger.entries[: manifest.request - 1])
    pairs = {
        "the manifest": (entry.manifest, found),
        "the model": (entry.model, manifest.model),
        "the model before": (entry.before, manifest.before),
        "the requests before": (before.chain, manifest.chain),
    }
    wrong = [name for name, (theirs, ours) in pairs.items() if theirs != ours]
    if wrong:
        told = f"{', '.join(wrong)} differ from line {manifest.request + 1}"
        return entry, ledger, Check("ledger", "failed", told)
    told = f"request {manifest.request} of {len(ledger.entries)}"
    return entry, ledger, Check("ledger", "ok", told)


def _versions(manifest: Manifest) -> Check:
    """Compare the versions; others are no failure."""
    now = machine()
    names = ("rum_ray", "python", "torch", "numpy", "hardware")
    other = [
        f"{name} {now[name]} instead of {manifest.versions.get(name)}"
        for name in names
        if manifest.versions.get(name) != now[name]
    ]
    return Check("versions", "note" if other else "ok", "; ".join(other) or "the same")


def _from_model(
    folder: Path, manifest: Manifest, entry: Entry | None, ledger: Ledger | None
) -> list[Check]:
    """Load the model, and measure it again as far as the data are there."""
    try:
        experiment = config.parse({**config.UNCHOSEN, **manifest.experiment})
        bundle = load_data(experiment, ledger)
    except RumRayError as error:
        return [Check("measured again", "note", f"no: {error}")]
    set_threads(experiment.recipe.threads)
    try:
        model = read_weights(str(folder / MODEL), own_recipe(experiment), bundle.train).eval()
    except DataError as error:
        return [Check("model", "failed", str(error))]
    found = state_digest(model)
    if found != manifest.model:
        return [Check("model", "failed", "its weights are not those of the manifest")]
    checks = [Check("model", "ok", f"weights {found[:12]}")]
    evidence = Evidence.from_json(json.loads(_read(folder / EVIDENCE) or b"null"))
    again = _Again(experiment, manifest, evidence, bundle, model)
    return [*checks, *again.checks(entry, ledger)]


@dataclass(frozen=True, eq=False)
class _Again:
    """The numbers of the evidence, measured again.

    Attributes:
        experiment: of the manifest.
        manifest: of the request.
        evidence: of the request.
        bundle: all data that are there.
        model: the published model.
    """

    experiment: Experiment
    manifest: Manifest
    evidence: Evidence
    bundle: DataBundle
    model: nn.Module

    def checks(self, entry: Entry | None, ledger: Ledger | None) -> list[Check]:
        """Compare the accuracies and the attack by class with the evidence."""
        data = digest([self.bundle.test, self.bundle.nonmembers("test").y])
        if data != self.manifest.data["test"]:
            return [Check("measured again", "note", "no: the test set is another one")]
        found = Predictions.of(predictions(self.model, self.bundle)[0])
        test = {"accuracy on test": float(found.right["test"].mean())}
        rows = self._request(entry, ledger)
        if rows is None:
            told = "forgotten rows: no, some of their data are not there"
            return [*self._compare(test), Check("measured again", "note", told)]
        forget, retain = rows
        y, unseen = self.bundle.train.y.numpy(), self.bundle.nonmembers("test").y.numpy()
        logits = found.logits["train"][forget], found.logits["test"]
        area, _, _ = auc_interval(*peer_scores(logits, (y[forget], unseen)))
        test |= {
            "accuracy on forget": float(found.right["train"][forget].mean()),
            "accuracy on retain": float(found.right["train"][retain].mean()),
            "AUC by class": area,
        }
        return self._compare(test)

    def _request(
        self, entry: Entry | None, ledger: Ledger | None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
        """Return the forgotten and the retained rows; None if some are not there."""
        if entry is None or ledger is None:
            return None
        hashes = np.array(ledger.hashes(self.bundle.train.known_ids.texts()), dtype=object)
        before = {each for past in ledger.entries[: entry.request - 1] for each in past.ids}
        forget = np.flatnonzero([each in {*entry.ids} for each in hashes])
        gone = {*entry.ids} | before
        retain = np.flatnonzero([each not in gone for each in hashes])
        sizes = {row.name: row.size for row in self.evidence.accuracies}
        if len(forget) != len(entry.ids) or len(retain) != sizes["retain"]:
            return None
        return forget, retain

    def _compare(self, found: Mapping[str, float]) -> list[Check]:
        """Compare numbers with those of the evidence."""
        rows = {f"accuracy on {row.name}": row.after.value for row in self.evidence.accuracies}
        told = {**rows, "AUC by class": self.evidence.attacks[0].auc.value}
        here = hardware(next(self.model.parameters()).device)
        same = all(self.manifest.versions.get(name) == value for name, value in here.items())
        allowed = SAME if same else OTHER
        checks = []
        for name, value in found.items():
            expected = told.get(name)
            if expected is not None:
                state = "ok" if abs(value - expected) <= allowed else "failed"
                text = f"{value:.4f}, in the evidence {expected:.4f}"
                checks.append(Check(f"measured again: {name}", state, text))
        return checks
