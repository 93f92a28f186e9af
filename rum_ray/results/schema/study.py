"""The study: data, environment, stage times, costs, and selections."""

from dataclasses import dataclass, field

from rum_ray.results.schema.rows import OPTIONAL, PlanStep
from rum_ray.study.timing import StageForecast


@dataclass(frozen=True)
class DataSummary:
    """The data set: examples per split, class names, and wrong labels where they are known."""

    name: str
    train: int
    valid: int
    test: int
    reserved: int | None
    classes: tuple[str, ...]
    label_noise: float | None
    flipped: int | None


@dataclass(frozen=True)
class Environment:
    """Versions and hardware. No result depends on them."""

    rum_ray: str
    python: str
    torch: str
    ray: str
    numpy: str
    hardware: str
    threads: int
    workers: int


@dataclass(frozen=True)
class ExperimentSummary:
    """The experiment: its name, the digest of all that determines its results, and its YAML."""

    name: str
    digest: str
    config: str


@dataclass(frozen=True)
class StageSummary:
    """Wall time of a stage.

    Attributes:
        name: of the stage.
        seconds: of wall time, over all starts in which it computed something.
        made: jobs it did.
        trainings: how many of them train a model from scratch.
        reused: jobs that were in the store when it last started.
        forecast: made at the first start; left out for a short command.
    """

    name: str
    seconds: float = 0.0
    made: int = 0
    trainings: int = 0
    reused: int = 0
    forecast: StageForecast | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Costs:
    """The whole bill by part, in `unit`."""

    unit: str
    scores: float
    originals: float
    search: float
    references: float
    plans: float
    attacks: float


@dataclass(frozen=True)
class Bill:
    """The whole cost of the reported plan, in trainings of the original.

    Models that only the report needs are no part of it: the reported originals, the models that
    they are compared with, and all other rows.

    Attributes:
        scores: the models that score the examples.
        search: range tests, the originals of the search seeds, and all units of the plan's search
            and of the smaller ones from which it started; 0 for a plan of the file.
        references: models retrained for the search.
        plan: one run of the plan.
        total: the sum of these.
        fixed: the part that many requests share.
        per_request: the part that each request pays: the plan, and the references if they are
            retrained without the examples of the request ("oracle").
        break_even: first number of requests at which all of this costs less than retraining per
            request; None if there is none.
    """

    scores: float
    search: float
    references: float
    plan: float
    total: float
    fixed: float
    per_request: float
    break_even: int | None


@dataclass(frozen=True)
class RepeatSummary:
    """One repeat of a study, whose own report is in the folder `repeat1`, `repeat2` and so on.

    Attributes:
        number: from 1.
        digest: of its experiment.
        seeds: the reported seeds.
        forget: size of the forget set.
        split_half: reliability of its scores; None if they are not those of a pool.
        retain_accuracy: of the originals on the retain set, mean over seeds.
        objective: of the plan, mean over seeds; None without a plan.
        plan: its steps; empty without a plan.
    """

    number: int
    digest: str
    seeds: tuple[int, ...]
    forget: int
    split_half: float | None
    retain_accuracy: float | None
    objective: float | None
    plan: tuple[PlanStep, ...]


@dataclass(frozen=True)
class Selection:
    """A choice that was made: what was chosen, on which split, with which seeds."""

    what: str
    split: str
    seeds: str
