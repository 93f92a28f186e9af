"""The given models of a study: originals and references that are read from files, not trained."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError
from rum_ray.experiment import Experiment
from rum_ray.experiment.given import floor_seeds, path_of
from rum_ray.jobs import TrainModel
from rum_ray.jobs.pretrained import read_weights, weights_digest
from rum_ray.seeding import Seed
from rum_ray.training.recipe import Recipe

if TYPE_CHECKING:
    from rum_ray.study.study import Study

WEIGHTS, RETRAINED = "recipe.weights", "evaluate.retrained"
"""Keys of an experiment file that name the files."""


def trained_recipe(experiment: Experiment) -> Recipe:
    """Return the recipe of all models that are trained: without given weights."""
    return dataclasses.replace(experiment.recipe, weights=None)


def originals(
    experiment: Experiment, seeds: Sequence[Seed], numbers: Sequence[int]
) -> tuple[TrainModel, ...]:
    """Return originals, trained or given.

    Args:
        experiment: names the files.
        seeds: of the trainings.
        numbers: of the files, for a file per seed.

    Raises:
        DataError: a file cannot be read.
    """
    recipe, given = trained_recipe(experiment), _digests(experiment.recipe.weights, numbers)
    pairs = zip(seeds, given, strict=True)
    return tuple(TrainModel(recipe, seed, weights=each) for seed, each in pairs)


def references(
    experiment: Experiment, forget: Indices, seeds: Sequence[Seed], numbers: Sequence[int]
) -> tuple[TrainModel, ...]:
    """Return models without a forget set, trained or given; see `originals`."""
    recipe = trained_recipe(experiment)
    given = _digests(experiment.evaluate.retrained, numbers, RETRAINED)
    pairs = zip(seeds, given, strict=True)
    return tuple(TrainModel(recipe, seed, forget, each) for seed, each in pairs)


def _digests(path: str | None, seeds: Sequence[int], key: str = WEIGHTS) -> list[str | None]:
    """Return the SHA-256 of the file of each seed; None for each seed without a path."""
    if path is None:
        return [None] * len(seeds)
    files = [path_of(path, seed) for seed in seeds]
    known = {file: weights_digest(file, key) for file in dict.fromkeys(files)}
    return [known[file] for file in files]


def original_files(study: "Study") -> Mapping[str, Sequence[TrainModel]]:
    """Return the given originals that are not in the store, by file."""
    path, searched = study.experiment.recipe.weights, study.search_originals
    # With a search, one file has the original of all seeds.
    seeds = (*study.experiment.seeds, *range(len(searched)))
    return _missing(study, path, zip(seeds, (*study.originals, *searched), strict=True))


def reference_files(study: "Study") -> Mapping[str, Sequence[TrainModel]]:
    """Return the given references and models of the noise floor that are not in the store."""
    path, seeds = study.experiment.evaluate.retrained, study.experiment.seeds
    models = (*study.retrained, *study.retrained_again)
    return _missing(study, path, zip((*seeds, *floor_seeds(seeds)), models, strict=True))


def _missing(
    study: "Study", path: str | None, models: Iterable[tuple[int, TrainModel]]
) -> dict[str, list[TrainModel]]:
    """Return the models without a result in the store, by file."""
    found: dict[str, list[TrainModel]] = {}
    if path is not None:
        for seed, model in models:
            if not study.context.has(model):
                found.setdefault(path_of(path, seed), []).append(model)
    return found


def check_files(study: "Study") -> None:
    """Look for the files of all given models, and read the first of each kind.

    Raises:
        DataError: files are missing, or the first one does not fit the model.
        UnsafeError: reading a file could run code or exhaust memory.
    """
    experiment, seeds = study.experiment, study.experiment.seeds
    asked = (
        (WEIGHTS, experiment.recipe.weights, seeds),
        (RETRAINED, experiment.evaluate.retrained, (*seeds, *floor_seeds(seeds))),
    )
    for key, path, numbers in asked:
        if path is None:
            continue
        files = dict.fromkeys(path_of(path, number) for number in numbers)
        missing = [file for file in files if not Path(file).expanduser().exists()]
        if missing:
            floor = " The noise floor reads the files of the seeds after the reported ones."
            raise DataError(
                f"{key}: {len(missing)} of {len(files)} files are missing, first {missing[0]}. Get "
                f"them, or list fewer seeds.{floor if key == RETRAINED else ''}"
            )
        read_weights(next(iter(files)), study.recipe, study.context.bundle.train, key)
