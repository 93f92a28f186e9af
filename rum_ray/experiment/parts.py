"""The parts of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rum_ray.data import DataBundle, load
from rum_ray.errors import ConfigError
from rum_ray.evaluation.sets import Members
from rum_ray.refinement import Middle, Pick
from rum_ray.training.recipe import check_not_negative, check_positive
from rum_ray.unlearning.finetune import FineTune


@dataclass(frozen=True)
class DataConfig:
    """A data set: its name and its keyword arguments."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> DataBundle:
        """Return the data set.

        Raises:
            ConfigError: an option is out of range.
            DataError: a file is missing, or not what it says.
        """
        try:
            return load(self.name, **self.options)
        except ValueError as error:
            raise ConfigError(f"data: {error}") from error


@dataclass(frozen=True)
class ForgetConfig:
    """What to forget: chosen by score, by entanglement, at random, by class; or listed.

    Attributes:
        size: number of examples, when chosen.
        pick: the lowest, the middle, the highest, a third of each, or at random.
        middle: what the middle is; by default nearest to one half for memorization, and nearest
            to the median for proxies, which are not centred on one half.
        by: what low and high refer to: the score, or the distance to the centroid of D in
            embedding space, mean over the reported seeds' originals.
        groups: with `by: entanglement`, how many groups of ascending distance there are; low,
            medium and high are the first of the paper's groups 3, 12 and 14 of 15 (from 0), or of
            those in proportion.
        label: choose in this class only, an index or a name; without a size, all of it. The key
            in a file is `class`.
        seed: root of the draw at random.
        ids: a file with one id a line: rows of the source, as in scores.parquet.
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
            raise ValueError("give either size (and pick), class, or both, or ids (a file)")
        if self.size is not None:
            check_positive(self, "size")
        if self.groups < 3:
            raise ValueError(f"groups must be at least 3, got {self.groups}")

    @property
    def by_distance(self) -> bool:
        """Whether distances in embedding space decide."""
        return self.by == "entanglement" and self.size is not None and self.pick != "random"


@dataclass(frozen=True)
class RelearnConfig:
    """Fine-tuning on the retain set alone, from which forgotten examples may come back.

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
        """What does it."""
        return FineTune(epochs=self.epochs, lr=self.lr)


@dataclass(frozen=True)
class EvaluateConfig:
    """Which attacks are reported.

    Attributes:
        attack: whose gap counts in the reported objective.
        members: which of the retain set the attacks learn from: a random sample, or the first (the
            paper's code).
        also: attacks beside "svm" and "auc". An SVM learns from confidence, or from the feature in
            its name. Those of the pool keep its models, so asking for one later trains the pool
            again; "u_lira" runs each reported plan "rum" on each of them.
        relearn: whether the forget set is tried to be got back from the retain set, and how.
        residual: whether what is left of the forget set in embeddings is measured, of the models
            whose weights are kept: retrained ones, originals, and those of a plan "rum".
    """

    attack: Literal["svm", "auc"] = "svm"
    members: Members = "random"
    also: tuple[
        Literal[
            "svm_correctness",
            "svm_entropy",
            "svm_modified_entropy",
            "svm_probabilities",
            "threshold",
            "pool_lira",
            "pool_rmia",
            "u_lira",
        ],
        ...,
    ] = ()
    relearn: RelearnConfig | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        if len(set(self.also)) < len(self.also):
            raise ValueError(f"also must name each attack once, got {list(self.also)}")

    @property
    def of_shadows(self) -> tuple[str, ...]:
        """The attacks that need shadow unlearned models."""
        return tuple(attack for attack in self.also if attack == "u_lira")

    @property
    def of_pool(self) -> tuple[str, ...]:
        """The attacks that ask the pool's models again."""
        return tuple(attack for attack in self.also if attack.startswith(("pool_", "u_lira")))


@dataclass(frozen=True)
class ClusterConfig:
    """Where it runs; none of this changes a result.

    Attributes:
        workers: processes that train, at most; as many start as there is room for, and each takes
            jobs until none is left.
        gpus_per_worker: a share of a GPU is allowed.
        max_failures: restarts of the workers that a stage may need; -1 is no limit.
        modules: folders of Python modules that the experiment names, shipped to the workers.
    """

    workers: int = 2
    gpus_per_worker: float = 0.0
    max_failures: int = -1
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_positive(self, "workers")
        check_not_negative(self, "gpus_per_worker")
