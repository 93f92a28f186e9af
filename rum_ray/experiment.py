"""One study as one frozen value: the parts of an experiment file, defaults and ranges."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rum_ray.data import DataBundle, load
from rum_ray.digest import digest
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.plugins import find
from rum_ray.refinement import REFINERS, ByScore, Middle, Pick, Refiner
from rum_ray.rum import Plan, Retain
from rum_ray.scores import PROXIES
from rum_ray.training.recipe import Recipe, check_not_negative, check_positive
from rum_ray.unlearning import UNLEARNERS, Unlearner
from rum_ray.unlearning.baselines import Retrain


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
class ScoreConfig:
    """How hard examples are: by memorization, or by a proxy.

    Attributes:
        name: "memorization", or a key of `PROXIES`; of a file, the column to read.
        file: a Parquet file of known scores; columns as in scores.parquet.
        models: leave-k-out models.
        fraction: share of D that each is trained on, in (0, 1).
        seed: root of the pool's draws.
        recipe: of the scoring models; the experiment's by default.
    """

    name: str = "memorization"
    file: str | None = None
    models: int = 128
    fraction: float = 0.7
    seed: int = 0
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        if self.models < 4:
            raise ValueError(f"models must be at least 4, got {self.models}")
        if not 0 < self.fraction < 1:
            raise ValueError(f"fraction must be in (0, 1), got {self.fraction}")
        if self.file is None and self.name != "memorization":
            find(self.name, {"memorization": None, **PROXIES}, "score")


@dataclass(frozen=True)
class ForgetConfig:
    """What to forget: chosen by score, or listed.

    Attributes:
        size: number of examples, when chosen.
        pick: the lowest, the middle, the highest, or a third of each.
        middle: what the middle is; by default nearest to one half for memorization, and nearest
            to the median for proxies, which are not centred on one half.
        ids: a file with one id a line: rows of the source, as in scores.parquet.
    """

    size: int | None = None
    pick: Pick = "spread"
    middle: Middle | None = None
    ids: str | None = None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.ids is None):
            raise ValueError("give either size (and pick), or ids (a file)")
        if self.size is not None:
            check_positive(self, "size")


@dataclass(frozen=True)
class SearchConfig:
    """What the searches may do, the same for each space.

    Attributes:
        trials: plans that are tried in each space.
        unlearners: what may be chosen.
        reference: "oracle": models retrained without the forget set, on search seeds.
        attack: whose gap counts in the objective: "auc", or the paper's "svm".
        max_cost: cap on a plan's cost, as a share of retraining.
        seed: root of all draws of the search, models included.
        batch: trials that are proposed at a time, whatever the number of workers.
        seeds: search seeds that each trial is averaged over, and models in the reference.
    """

    trials: int = 32
    unlearners: tuple[str, ...] = ("nothing", "finetune", "neggrad+", "salun")
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
        if not self.unlearners:
            raise ValueError("unlearners must name at least one")
        for name in self.unlearners:
            kind = find(name, UNLEARNERS, "unlearner")
            if not hasattr(kind, "space"):
                raise ValueError(f"unlearners: {name} has no `space` that says what to search")
            if kind is Retrain:
                raise ValueError("retrain is what a search is judged against; remove it")


@dataclass(frozen=True)
class EvaluateConfig:
    """Which attack's gap counts in the reported objective."""

    attack: Literal["svm", "auc"] = "svm"


@dataclass(frozen=True)
class ClusterConfig:
    """Where it runs; none of this changes a result.

    Attributes:
        workers: processes that train; each takes jobs until none is left.
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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All of one study; docs/configuration.md lists every key.

    Attributes:
        name: what the output folder is called.
        data: what was learned.
        recipe: how the original model is trained.
        score: how hard examples are.
        forget: which are to be forgotten.
        refine: how they are split into subsets.
        retain: what a step may learn from; see `Plan.retain`.
        plan: an unlearner for each subset: the row "rum" from the file.
        compare: unlearners that get the rows vanilla, shuffle and rum_f.
        search: how assignments are searched; None is not at all.
        evaluate: which attack counts.
        seeds: roots of the reported runs.
        cluster: where it runs.
    """

    name: str
    data: DataConfig
    recipe: Recipe
    score: ScoreConfig = ScoreConfig()
    forget: ForgetConfig
    refine: Refiner = ByScore()  # noqa: RUF009 - a frozen value
    retain: Retain = "remaining"
    plan: Mapping[str, Unlearner] | None = None
    compare: tuple[Unlearner, ...] = ()
    search: SearchConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()
    seeds: tuple[int, ...] = (0,)
    cluster: ClusterConfig = ClusterConfig()

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_" for c in self.name):
            raise ValueError(f"name may have letters, digits, - and _, got '{self.name}'")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, and at least one, got {self.seeds}")
        if len({u.name for u in self.compare}) < len(self.compare):
            raise ValueError("compare names an unlearner twice")
        into = getattr(self.refine, "into", None)
        for subset in self.plan or {}:
            if into is not None and subset not in into:
                raise ConfigError(f"plan: unknown subset '{subset}'. {did_you_mean(subset, into)}")
        missing = [s for s in into or () if self.plan is not None and s not in self.plan]
        if missing:
            raise ConfigError(
                f"plan: subset '{missing[0]}' has no unlearner; 'nothing' is one. "
                f"The subsets are {', '.join(into or ())}."
            )

    @property
    def digest(self) -> str:
        """Digest of all that determines the results: not the name, nor the cluster."""
        science = dataclasses.replace(self, name="digest", cluster=ClusterConfig())
        return digest(science)


def to_plain(value: Any) -> Any:
    """Return a part of an experiment as the plain values that a YAML file would have."""
    if isinstance(value, DataConfig):
        return {"name": value.name, **{k: to_plain(v) for k, v in value.options.items()}}
    if dataclasses.is_dataclass(value):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = _table_name(type(value))
        return fields if name is None else {"name": name, **fields}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def plan_as_dicts(plan: Plan) -> list[dict[str, Any]]:
    """Return a plan as report.json has it: subset and unlearner of each step."""
    return [
        {"subset": step.subset.name, "unlearner": to_plain(step.unlearner)} for step in plan.steps
    ]


def _table_name(kind: type) -> str | None:
    """Return what an experiment file calls this class; None if it has no name there."""
    for table in (UNLEARNERS, REFINERS):
        for name, known in table.items():
            if known is kind:
                return name
    plug_in = not kind.__module__.startswith("rum_ray.")
    return f"{kind.__module__}:{kind.__qualname__}" if plug_in else None
