"""The models of a deletion: the original, the last published one, and the files of a new one."""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from rum_ray.data.bundle import DataBundle
from rum_ray.deletion.ledger import Ledger
from rum_ray.deletion.publish import MODEL, folder_of
from rum_ray.digest import digest
from rum_ray.errors import BusyError, ConfigError, DataError, IntegrityError
from rum_ray.experiment import Experiment
from rum_ray.jobs import Context, TrainModel, format_weights
from rum_ray.jobs.pretrained import read_weights
from rum_ray.jobs.train import weights
from rum_ray.models.checkpoint import PT, read
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Start:
    """The model that a request starts from.

    Attributes:
        model: in eval mode.
        digest: of its weights.
        place: in words, for messages.
    """

    model: nn.Module
    digest: str
    place: str

    def job(self, experiment: Experiment, context: Context) -> TrainModel:
        """Return the job of this model; its weights are put into the store."""
        job = TrainModel(own_recipe(experiment), run_seed(experiment), weights=self.digest)
        if not context.has(job):
            context.store.save(job.key(context), Artifact(weights(self.model)), {"job": "Start"})
        return job


def own_recipe(experiment: Experiment) -> Recipe:
    """Return the recipe of models that are trained here: without given weights."""
    return replace(experiment.recipe, weights=None)


def run_seed(experiment: Experiment) -> Seed:
    """Return the seed of the original; the first reported one."""
    return Seed(experiment.seeds[0]) / "run"


def state_digest(model: nn.Module) -> str:
    """Return the digest of a model's weights, whatever file they come from."""
    return digest(dict(weights(model)))


def find_original(experiment: Experiment, context: Context) -> nn.Module | None:
    """Return the original from its file or from the store; None if it is no longer there.

    Args:
        experiment: names the file, if there is one.
        context: all data that are there, and the store.

    Raises:
        DataError: the file does not fit the network or the data.
    """
    path, train = experiment.recipe.weights, context.bundle.train
    if path is not None:
        if not Path(path).expanduser().exists():
            return None
        return read_weights(path, own_recipe(experiment), train)
    job = TrainModel(own_recipe(experiment), run_seed(experiment))
    return job.load(context).cpu() if context.has(job) else None


def find_start(experiment: Experiment, context: Context, out: Path, ledger: Ledger | None) -> Start:
    """Return the model that the next request starts from: the last published one, or the original.

    Args:
        experiment: names the network, and the original's file.
        context: all data that are there, and the store.
        out: the output folder.
        ledger: its ledger, if it has one.

    Raises:
        BusyError: the ledger belongs to another original.
        ConfigError: there is no original.
        DataError: a file of weights does not fit the network.
        IntegrityError: the published model is not the one of the ledger.
    """
    original = find_original(experiment, context)
    found = None if original is None else state_digest(original)
    if ledger is not None and found not in (None, ledger.original):
        raise BusyError(
            f"{out} has the ledger of another original ({ledger.original[:12]}; this one is "
            f"{found[:12] if found else ''}). Requests of one model belong to one folder: name "
            "another --out, or set recipe.weights to the model of the ledger."
        )
    if ledger is not None and ledger.entries:
        return read_published(experiment, context.bundle, out, ledger)
    if original is None or found is None:
        raise _no_original(experiment)
    place = experiment.recipe.weights or f"the store {context.store.shown}"
    return Start(original, found, place)


def _no_original(experiment: Experiment) -> ConfigError:
    """Return the error for an original that is not there."""
    path = experiment.recipe.weights
    if path is not None:
        return ConfigError(f"recipe.weights: {path} does not exist. Give the file of the model.")
    return ConfigError(
        "recipe.weights: this key is missing, and the store has no original that was trained with "
        "this recipe on these data. Give the file of the model, or train one with 'rum-ray "
        "prepare'."
    )


def read_published(experiment: Experiment, bundle: DataBundle, out: Path, ledger: Ledger) -> Start:
    """Return the last published model.

    Raises:
        IntegrityError: its file is missing, or is not the one of the ledger.
    """
    entry = ledger.entries[-1]
    path = folder_of(out, entry.request) / MODEL
    model, reason = None, "is missing"
    with contextlib.suppress(FileNotFoundError):
        try:
            model = read_weights(str(path), own_recipe(experiment), bundle.train)
        except DataError as error:
            reason = f"cannot be used ({error})"
    found = None if model is None else state_digest(model)
    if model is None or found != entry.model:
        reason = reason if model is None else "is not the one of the ledger"
        raise IntegrityError(
            f"{path} {reason}. The next request starts from this model. Restore it from a backup."
        )
    return Start(model, entry.model, str(path))


def model_files(
    experiment: Experiment, out: Path, ledger: Ledger, model: nn.Module, hidden: Sequence[str]
) -> Mapping[str, bytes]:
    """Return the files of a model that is published, by name.

    `model.pt` has the structure and the names of the original's file, if that is no safetensors
    file. The last published one has the same structure, so the original may be gone.

    Args:
        experiment: names the original's file.
        out: the output folder.
        ledger: its ledger before this request.
        model: the model.
        hidden: texts that no file may contain, such as the names of forgotten rows.
    """
    state = weights(model)
    files = {MODEL: format_weights(Artifact(state))}
    last = len(ledger.entries)
    given = [experiment.recipe.weights, str(folder_of(out, last) / PT) if last else None]
    path = next((each for each in given if each and Path(each).expanduser().exists()), None)
    if path is None or path.endswith(".safetensors"):
        return files
    with tempfile.TemporaryDirectory() as folder:
        read(path).write(folder, model.state_dict(), hidden)
        files[PT] = (Path(folder) / PT).read_bytes()
    return files
