"""The parts of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rum_ray.data import DataBundle, load
from rum_ray.errors import ConfigError
from rum_ray.evaluation.sets import Members
from rum_ray.refinement import Middle, Pick
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import SpaceName
from rum_ray.training.recipe import check_not_negative, check_positive
from rum_ray.unlearning import Retrain, Unlearner
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
class SearchConfig:
    """What the searches may do, the same for each space.

    Attributes:
        trials: plans that are tried in each space.
        spaces: which are searched; the pick of the last one, in their order, is the plan of RUM.
        unlearners: what may be chosen, and what of its domains.
        steps: unlearners that are fixed, by subset, in every space that has subsets.
        grid: how many values each number of the first step that is searched, and is not "nothing",
            may have, where others follow it, so that plans begin alike: the middles of equal parts
            of its domain. Null is any value.
        sampler: "tpe" learns from the trials; "random" does not, and is the control.
        start: plans that are tried first, in every space that has them: "plan", the experiment's
            own, or a file such as plan.yaml. They count as trials.
        reference: "oracle": models retrained without the forget set, on search seeds.
        attack: whose gap counts in the objective: "auc", or the paper's "svm".
        max_cost: cap on a plan's cost, as a share of retraining.
        seed: root of all draws of the search, models included.
        batch: trials that are proposed at a time, whatever the number of workers.
        seeds: search seeds that each trial is averaged over, and models in the reference.
    """

    trials: int = 32
    spaces: tuple[SpaceName, ...] = ("V0", "V1", "V4")
    unlearners: tuple[Candidate, ...] = tuple(
        map(Candidate, ("nothing", "finetune", "neggrad+", "salun"))
    )
    steps: Mapping[str, Unlearner] = field(default_factory=dict)
    grid: int | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    start: tuple[str, ...] = ()
    reference: Literal["oracle"] = "oracle"
    attack: Literal["auc", "svm"] = "auc"
    max_cost: float = 0.5
    seed: int = 0
    batch: int = 4
    seeds: int = 3

    def __post_init__(self) -> None:
        check_positive(self, "trials", "max_cost", "batch")
        if self.seeds < 3:
            raise ValueError(f"seeds must be at least 3, got {self.seeds}")
        if len({*self.spaces}) < len(self.spaces) or {*self.spaces} <= {"V0"}:
            raise ValueError(
                f"spaces must name each once, and one besides V0, got {list(self.spaces)}"
            )
        if self.grid is not None and self.grid < 2:
            raise ValueError(f"grid must be at least 2, got {self.grid}")
        names = [candidate.name for candidate in self.unlearners]
        if not names or len({c.kind for c in self.unlearners}) < len(names):
            raise ValueError(f"unlearners must name at least one, and each once, got {names}")
        if any(isinstance(step, Retrain) for step in self.steps.values()):
            raise ValueError("steps must be without retrain, which a search is judged against")
        if not len({*self.start}) == len(self.start) <= self.trials:
            raise ValueError(
                f"start must name each plan once, and no more than there are trials, "
                f"got {list(self.start)}"
            )


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
