"""The verb `purge`: the list of all that still derives from forgotten rows, and its removal.

It knows what `prepare` and `delete` wrote down, what the experiment's file makes, and the files of
the output folder. It does not know copies at other places.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rum_ray.deletion.data import load_data
from rum_ray.deletion.ledger import MOST_BYTES, Ledger
from rum_ray.deletion.models import own_recipe, run_seed
from rum_ray.deletion.pool import PREPARED, Prepared
from rum_ray.deletion.prepare import pooled
from rum_ray.deletion.publish import MANIFEST, check_folders, folder_of
from rum_ray.errors import DataError, RumRayError, StoreError
from rum_ray.experiment import Experiment
from rum_ray.files import read_regular, write_bytes
from rum_ray.jobs import Context, TrainModel
from rum_ray.results.parquet import without_rows
from rum_ray.results.schema.manifest import Manifest
from rum_ray.store import CACHE, Key, Store
from rum_ray.study.study import Study

Kind = Literal["artifact", "file", "rows", "yours"]
MODELS = "model.*"
SCORES = "scores.parquet"


@dataclass(frozen=True)
class Item:
    """Something that derives from forgotten rows.

    Attributes:
        kind: "artifact" in the store; "file" in the output folder; "rows" of a file, whose other
            rows stay; "yours", which is not removed.
        place: its path, or its kind and digest.
        reason: why it derives from them.
    """

    kind: Kind
    place: str
    reason: str


def find(experiment: Experiment, out: Path, store: Store) -> list[Item]:
    """Return all that derives from the forgotten rows, as far as it is known.

    Args:
        experiment: the file.
        out: its output folder.
        store: the artifacts.

    Raises:
        DataError: the output folder has no ledger.
        IntegrityError: the ledger was cut or edited.
    """
    ledger = Ledger.read(out)
    if ledger is None:
        raise DataError(
            f"{out} has no ledger, so nothing was forgotten there. Name the --out of the requests."
        )
    check_folders(out, ledger)
    if not ledger.entries:
        return []
    recorded = {**dict(_of_requests(out, ledger)), **dict(_of_pool(out, ledger))}
    recorded |= dict(_of_experiment(experiment, store, ledger))
    found = [
        Item("artifact", place, reason)
        for place, reason in recorded.items()
        if store.has(_key(place))
    ]
    found += _files(out, ledger, store)
    found += _rows(out, ledger)
    path = experiment.recipe.weights
    if path is not None and Path(path).expanduser().exists():
        found.append(Item("yours", path, "the original; remove it yourself"))
    return found


def _key(place: str) -> Key:
    """Return the key of an artifact."""
    return Key.named(*place.split("/"))


def _of_requests(out: Path, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield the artifacts that the manifests of the requests list."""
    for entry in ledger.entries:
        with contextlib.suppress(OSError, ValueError, RecursionError, DataError):
            text = read_regular(folder_of(out, entry.request) / MANIFEST, MOST_BYTES)
            manifest = Manifest.from_json(json.loads(text))
            for place in manifest.artifacts:
                yield place, f"made for request {entry.request}"


def _of_pool(out: Path, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield the artifacts of pool models that saw a forgotten row."""
    prepared = Prepared.read(out)
    if prepared is None:
        return
    forgotten = np.array([each in ledger.forgotten for each in prepared.ids], dtype=bool)
    saw = [bool(row.any()) for row in prepared.included[:, forgotten]]
    for number, place in enumerate(prepared.artifacts):
        model = number % prepared.models
        if saw[model] or place.startswith("pool_logits/"):
            told = "has seen forgotten rows" if saw[model] else "has their predictions"
            yield place, f"pool model {model} {told}"


def _of_experiment(
    experiment: Experiment, store: Store, ledger: Ledger
) -> Iterator[tuple[str, str]]:
    """Yield the originals, pools and proxies that the experiment's file makes on all data."""
    device = torch.device("cuda" if experiment.cluster.gpus_per_worker else "cpu")
    with contextlib.suppress(RumRayError):
        context = Context(load_data(experiment, ledger, None), store, device)
        jobs = [TrainModel(own_recipe(experiment), run_seed(experiment))]
        studies = [Study(pooled(experiment), context)]
        if experiment.score.name != "auto":
            studies.append(Study(experiment, context))
        for job in (*jobs, *(job for study in studies for job in study.first_jobs)):
            key = context.key(job)
            yield f"{key.kind}/{key.digest}", "trained on all rows of the data"


def _files(out: Path, ledger: Ledger, store: Store) -> Iterator[Item]:
    """Yield the files of the output folder and of the cache: earlier models, pictures of rows."""
    if store.folder is not None:
        for path in sorted((store.folder / CACHE).glob("*")):
            yield Item("file", str(path), "cached pixels, also of forgotten rows")
    for entry in ledger.entries[:-1]:
        for path in sorted(folder_of(out, entry.request).glob(MODELS)):
            yield Item("file", str(path), "knows rows forgotten later")
    for path in sorted((out / "unlearned").glob("*.safetensors")):
        yield Item("file", str(path), "a model of 'rum-ray unlearn'")
    for path in (out / "report.html",):
        if path.exists():
            yield Item("file", str(path), "may show pictures of forgotten rows")


def _rows(out: Path, ledger: Ledger) -> Iterator[Item]:
    """Yield the files in which forgotten rows have lines of their own."""
    prepared = Prepared.read(out)
    if prepared is not None and ledger.forgotten & {*prepared.ids}:
        yield Item("rows", str(out / PREPARED), "the pool's numbers of forgotten rows")
    path = out / SCORES
    if path.exists() and without_rows(path, ledger.forgotten, ledger.hashed)[1]:
        yield Item("rows", str(path), "scores of forgotten rows")


def remove(items: list[Item], out: Path, store: Store) -> None:
    """Remove the items, except those that are yours; the caller holds the lock of `out`.

    Raises:
        StoreError: something cannot be removed; the same command goes on.
    """
    ledger = Ledger.read(out)
    assert ledger is not None
    store.remove([_key(item.place) for item in items if item.kind == "artifact"])
    for item in items:
        path = Path(item.place)
        try:
            if item.kind == "file":
                path.unlink(missing_ok=True)
            elif item.kind == "rows" and path.name == PREPARED:
                prepared = Prepared.read(out)
                if prepared is not None:
                    prepared.without(ledger.forgotten).write(out)
            elif item.kind == "rows":
                content, _ = without_rows(path, ledger.forgotten, ledger.hashed)
                write_bytes(path, content)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be removed: {error.strerror}. Give the same command again."
            ) from error
