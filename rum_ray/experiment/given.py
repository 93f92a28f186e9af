"""Models that others trained: files in place of trainings, one for all seeds or one per seed."""

from collections.abc import Sequence

from rum_ray.errors import ConfigError

SEED = "{seed}"
"""Stands for a seed in the path of a file."""


def path_of(path: str, seed: int) -> str:
    """Return the file of a seed; a path without `{seed}` is the file of all seeds."""
    return path.replace(SEED, str(seed))


def floor_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds of the files of the noise floor: those after the reported ones.

    Example:
        >>> floor_seeds([0, 1, 2])
        [3, 4, 5]
    """
    span = max(seeds) - min(seeds) + 1
    return [seed + span for seed in seeds]


def check_given(weights: str | None, retrained: str | None, search: bool, listed: bool) -> None:
    """Raise ConfigError if files of models do not fit the experiment.

    Args:
        weights: files of the originals.
        retrained: files of the references.
        search: True if the experiment has a search.
        listed: True if a file lists the forget set.
    """
    if search and weights is not None and SEED in weights:
        raise ConfigError(
            f"search: it needs originals of seeds of its own, but recipe.weights is a file per "
            f"reported seed ({weights}). Give one file for all seeds, or remove 'search'."
        )
    if retrained is None:
        return
    if SEED not in retrained:
        raise ConfigError(
            f"evaluate.retrained: each seed needs a reference of its own, got {retrained}. Put "
            f"{SEED} where the name of the file has the number."
        )
    if not listed:
        raise ConfigError(
            "evaluate.retrained: the references were trained without a given set of examples. List "
            "it in forget.ids."
        )
