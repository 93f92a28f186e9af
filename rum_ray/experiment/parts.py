"""Sections of an experiment: data, forget set, evaluation and cluster."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from rum_ray.data import DataBundle, Reading, find_dataset, load
from rum_ray.errors import ConfigError
from rum_ray.evaluation import ALWAYS, ATTACKS, find_attack
from rum_ray.evaluation.attack import Attack, Needs
from rum_ray.evaluation.sets import Members
from rum_ray.refinement import Middle, Pick
from rum_ray.training.recipe import check_not_negative, check_positive
from rum_ray.unlearning.finetune import FineTune

T = TypeVar("T")


def moved(part: T, by: int) -> T:
    """Return a section with its `seed` moved; one without an integer seed as it is."""
    seed = getattr(part, "seed", None)
    return replace(part, seed=seed + by) if isinstance(seed, int) else part  # type: ignore[type-var]


@dataclass(frozen=True)
class DataConfig:
    """A data set: its name and its options.

    Attributes:
        name: a key of `DATASETS`, or `package.module:function`.
        options: keyword arguments of the data set's function.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def moved(self, by: int) -> "DataConfig":
        """Return the same data set with another seed of its split.

        Raises:
            ConfigError: the function of the data set takes no integer `seed`.
        """
        function = find_dataset(self.name)
        parameter = inspect.signature(function).parameters.get("seed")
        seed = self.options.get("seed", None if parameter is None else parameter.default)
        if parameter is None or not isinstance(seed, int):
            raise ConfigError(
                f"repeats: each study has a split of its own, but the data set '{self.name}' has "
                "no integer 'seed'. Give its function this parameter, or remove 'repeats'."
            )
        return replace(self, options={**self.options, "seed": seed + by})

    def load(self, reading: Reading = Reading()) -> DataBundle:  # noqa: B008 - immutable
        """Return the data set.

        Args:
            reading: ids of examples that are in D whatever the split, and the folder of a cache.

        Raises:
            ConfigError: an option is out of range.
            DataError: a file is missing, damaged, or not in the expected format.
        """
        try:
            return load(self.name, reading=reading, **self.options)
        except ValueError as error:
            raise ConfigError(f"data: {error}") from error


@dataclass(frozen=True)
class ForgetConfig:
    """The forget set: chosen by score, entanglement or class, at random, or listed in a file.

    Attributes:
        size: number of examples, unless `ids` lists them.
        pick: lowest values, middle, highest, a third of each ("spread"), or a random draw.
        middle: definition of the middle: values nearest to one "half", nearest to the "median", or
            the middle "rank". The default is "half" for memorization and "median" for proxies,
            which are not centred on one half.
        by: the value to pick by: the score, or the distance to the centroid of D in embedding
            space, averaged over the original models of the reported seeds.
        groups: with `by: entanglement`, number of groups in ascending distance. low, medium and
            high are the first examples of the groups 3, 12 and 14 of the paper's 15 (counted from
            0), or of groups at the same relative positions.
        label: choose from this class only (index or name); without a size, the whole class. The
            key in an experiment file is `class`.
        seed: seed of the random draw.
        ids: a file with one id per line: a row number of the source, a path relative to the data
            folder, or a value of the column `data.id`. scores.parquet has all of them. A file
            `.npy` of NumPy has row numbers.
    """

    size: int | None = None
    pick: Pick = "spread"
    middle: Middle | None = None
    by: Literal["score", "entanglement"] = "score"
    groups: int = 15
    label: int | str | None = field(default=None, metadata={"key": "class"})
    seed: int = 0
    ids: str | None = None

    def __post_init__(self) -> None:
        if (self.size is None and self.label is None) == (self.ids is None):
            raise ValueError("give either ids (a file), or size (with pick), class, or both")
        if self.size is not None:
            check_positive(self, "size")
        if self.groups < 3:
            raise ValueError(f"groups must be at least 3, got {self.groups}")

    @property
    def by_distance(self) -> bool:
        """True if distances in embedding space determine the forget set."""
        return self.by == "entanglement" and self.size is not None and self.pick != "random"


@dataclass(frozen=True)
class RelearnConfig:
    """Relearning test: fine-tuning on the retain set, after which forgotten examples may return.

    Attributes:
        epochs: passes over the retain set.
        lr: learning rate.
    """

    epochs: int = 2
    lr: float = 0.01

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "lr")

    @property
    def unlearner(self) -> FineTune:
        """The fine-tuning as an unlearner."""
        return FineTune(epochs=self.epochs, lr=self.lr)


LABELS = ("method", "unlearner", "source", "seed")
"""Columns of the table of rows that are no metrics."""
METRICS = (
    *("tow", "tow_mia", "tow_examples", "objective", "excess", "cost", "seconds"),
    *("objective_svm", "objective_auc", "accuracy_gap_retain", "accuracy_gap_test"),
    *("mia", "mia_gap", "auc", "auc_gap", "relearned_forget_accuracy", "relearned_gap"),
    *("forget_accuracy", "retain_accuracy", "test_accuracy", "residual_forget"),
    *(f"{name}_{part}" for name in ("disagreement", "js") for part in ("forget", "retain", "test")),
)
"""Metrics of a row besides those of `also` and of subsets; no attack of the user has their name."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Reported attacks and tests.

    Attributes:
        attack: attack of the reported objective.
        members: retain examples the attacks are trained on: a random sample, or the first ones (as
            in the paper's code).
        also: attacks beside "svm" and "auc": names of `ATTACKS`, or `package.module:name` of an
            `Attack`. An SVM learns from confidence, or from the feature in its name. Those of the
            pool keep its models, so asking for one later trains the pool again; "u_lira" and "ruli"
            run each reported plan "rum" and the best single unlearner on each of them.
            "forgetting_quality" compares the models of all seeds, of which it needs at least 3.
        relearn: relearning test: fine-tune on the retain set and measure how much forget accuracy
            returns; null for none.
        residual: measure the residual of the forget set in embedding space, for models whose
            weights are stored: retrained and original models, those of a plan "rum", and those of
            the best single unlearner.
        retrained: files of models that others retrained without the examples of `forget.ids`, in
            place of trainings; `{seed}` in the path stands for a reported seed. The noise floor
            reads the files of the seeds that follow. There is no second noise floor.
    """

    attack: Literal["svm", "auc"] = "svm"
    members: Members = "random"
    also: tuple[str, ...] = ()
    relearn: RelearnConfig | None = None
    residual: bool = False
    retrained: str | None = field(default=None, metadata={"sparse": None})

    def __post_init__(self) -> None:
        known = {name: attack for name, attack in ATTACKS.items() if name not in ALWAYS}
        for place, name in enumerate(self.also):
            attack = _at_also(place, name, known)
            taken = {*ATTACKS, *METRICS, *LABELS}
            if name not in known and taken & {attack.name, f"{attack.name}_gap"}:
                raise ConfigError(
                    f"also[{place}]: attack '{name}' has the name '{attack.name}' of an attack or "
                    "metric of rum_ray. Give it another name."
                )
        if len({attack.name for attack in self.attacks}) < len(self.also):
            raise ValueError(f"also must name each attack once, got {list(self.also)}")

    def check_seeds(self, count: int) -> None:
        """Raise ConfigError if an attack compares the models of more than `count` seeds."""
        for name, attack in zip(self.also, self.attacks, strict=True):
            if count < attack.seeds:
                raise ConfigError(
                    f"evaluate.also: {name} compares the models of at least {attack.seeds} seeds, "
                    f"and there are {count} in 'seeds'. List more seeds, or remove {name}."
                )

    def check_foreseeing(self, unlearner: str) -> None:
        """Raise ConfigError if an attack runs plans on models for which nothing is predicted."""
        if self.of_shadows:
            raise ConfigError(
                f"evaluate.also: {self.of_shadows[0]} unlearns models of the pool, for which the "
                f"pool predicts nothing, but {unlearner} needs predictions. Remove one of them."
            )

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The attacks of `also`."""
        return tuple(find_attack(name) for name in self.also)

    def needing(self, *needs: Needs) -> tuple[str, ...]:
        """Return the names in `also` of the attacks that need one of these kinds of evidence."""
        pairs = zip(self.also, self.attacks, strict=True)
        return tuple(name for name, attack in pairs if attack.needs in needs)

    @property
    def of_shadows(self) -> tuple[str, ...]:
        """The attacks that need shadow unlearned models."""
        return self.needing("shadows", "trained_shadows")

    @property
    def of_pool(self) -> tuple[str, ...]:
        """The attacks that need the models of the pool again."""
        return self.needing("pool", "shadows", "trained_shadows")


def _at_also(place: int, name: str, known: Mapping[str, Attack]) -> Attack:
    """Return the attack of a name; ConfigError with the place if there is none."""
    try:
        return find_attack(name, known)
    except ConfigError as error:
        raise ConfigError(f"also[{place}]: {error}") from error


@dataclass(frozen=True)
class ClusterConfig:
    """Workers and resources; no key changes a result.

    Attributes:
        workers: largest number of worker processes; fewer start if resources are short, and at
            most four per core on one machine. Each worker takes jobs until none are left.
        gpus_per_worker: GPUs per worker, at most 1; a fraction shares a GPU.
        shard_workers: largest number of workers per Train run ("shard"). The workers of a shard are
            on one machine; a machine with room for more gets several shards.
        max_failures: deaths of workers allowed per shard; -1 for no limit.
        modules: folders of Python modules used by the experiment; they are shipped to the workers.
    """

    workers: int = 2
    gpus_per_worker: float = 0.0
    shard_workers: int = field(default=16, compare=False)
    max_failures: int = -1
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_positive(self, "workers", "shard_workers")
        check_not_negative(self, "gpus_per_worker")
        if self.max_failures < -1:
            raise ValueError(f"max_failures must be at least -1, got {self.max_failures}")
        if self.gpus_per_worker > 1:
            raise ValueError(
                f"gpus_per_worker must be at most 1, got {self.gpus_per_worker}: a job uses one GPU"
            )
