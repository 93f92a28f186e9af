"""The parts of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rum_ray.data import DataBundle, load
from rum_ray.errors import ConfigError
from rum_ray.evaluation import ALWAYS, ATTACKS
from rum_ray.evaluation.attack import Attack, Needs
from rum_ray.evaluation.sets import Members
from rum_ray.plugins import find
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
    """The attacks that are reported.

    Attributes:
        attack: the attack whose gap counts in the reported objective.
        members: the retain examples that attacks learn from: a random sample, or the first (the
            paper's code).
        also: attacks beside "svm" and "auc": names of `ATTACKS`, or `package.module:name` of an
            `Attack`. An SVM learns from confidence, or from the feature in its name. Attacks on the
            pool keep its weights, so asking for one later trains the pool again. "u_lira" also runs
            each reported plan "rum" on each model of the pool.
        relearn: the relearning test: fine-tune on the retain set, and measure how much forget
            accuracy returns. Null: no test.
        residual: measure how far the embeddings of the forget set still differ from those of the
            retrained models, for models whose weights are kept: retrained models, originals, and
            those of a plan "rum".
    """

    attack: Literal["svm", "auc"] = "svm"
    members: Members = "random"
    also: tuple[str, ...] = ()
    relearn: RelearnConfig | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        known = {name: attack for name, attack in ATTACKS.items() if name not in ALWAYS}
        for place, name in enumerate(self.also):
            attack = _at_also(place, name, known)
            if name not in known and attack.name in ATTACKS:
                raise ConfigError(
                    f"also[{place}]: attack '{name}' has the name '{attack.name}' of an attack of "
                    "rum_ray. Give it another name."
                )
        if len({attack.name for attack in self.attacks}) < len(self.also):
            raise ValueError(f"also must name each attack once, got {list(self.also)}")

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The attacks of `also`."""
        return tuple(find(name, ATTACKS, "attack") for name in self.also)

    def asks(self, needs: Needs) -> bool:
        """Return True if an attack of `also` needs this evidence."""
        return any(attack.needs == needs for attack in self.attacks)

    @property
    def of_pool(self) -> tuple[str, ...]:
        """The names in `also` of attacks that need the models of the pool again."""
        pairs = zip(self.also, self.attacks, strict=True)
        return tuple(name for name, attack in pairs if attack.needs in ("pool", "shadows"))


def _at_also(place: int, name: str, known: Mapping[str, Attack]) -> Attack:
    """Return the attack of a name; ConfigError with the place if there is none."""
    try:
        attack = find(name, known, "attack")
    except ConfigError as error:
        raise ConfigError(f"also[{place}]: {error}") from error
    if not isinstance(attack, Attack):
        raise ConfigError(
            f"also[{place}]: '{name}' must be a rum_ray.Attack, got {type(attack).__name__}."
        )
    return attack


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
