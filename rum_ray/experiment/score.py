"""How hard examples are: the part `score` of an experiment."""

from dataclasses import dataclass

from rum_ray.plugins import find
from rum_ray.scores import PROXIES
from rum_ray.scores.reliability import STEP
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True)
class Precision:
    """How precise memorization is to be, instead of a number of leave-k-out models.

    The pool is the first 64, 128, ... models that are as precise as this, or all that there may be.

    Attributes:
        max: models that there may be at most; the pool ends there, precise enough or not.
        standard_error: what the standard error of memorization, mean over the examples, may be.
        changed: share of the forget set whose subset other models may change.
    """

    max: int
    standard_error: float | None = None
    changed: float | None = None

    def __post_init__(self) -> None:
        if self.max < STEP:
            raise ValueError(f"max must be at least 64, got {self.max}")
        if self.standard_error is None and self.changed is None:
            raise ValueError("give standard_error or changed: how precise is precise enough")
        if self.standard_error is not None and self.changed is not None:
            raise ValueError("give either standard_error or changed, and not both")
        if self.standard_error is not None and not 0 < self.standard_error < 1:
            raise ValueError(f"standard_error must be in (0, 1), got {self.standard_error}")
        if self.changed is not None and not 0 < self.changed < 1:
            raise ValueError(f"changed must be in (0, 1), got {self.changed}")

    @property
    def rule(self) -> tuple[str, float]:
        """The figure that decides, and what it may be at most."""
        if self.changed is not None:
            return "changed", self.changed
        assert self.standard_error is not None
        return "standard_error", self.standard_error


@dataclass(frozen=True)
class ScoreConfig:
    """How hard examples are: by memorization, or by a proxy.

    Attributes:
        name: "memorization", or a key of `PROXIES`; of a file, the column to read.
        file: a Parquet file of known scores; columns as in scores.parquet.
        models: leave-k-out models: a number, or a precision.
        fraction: share of D that each is trained on, in (0, 1).
        seed: root of the pool's draws.
        recipe: of the scoring models; the experiment's by default.
        confidences: whether the pool's models also keep the probability of each example's label,
            which gives `soft_memorization`; asking for it later trains the pool again.
        fused: whether the pool's models are trained several at a time, as one batched computation;
            only an "mlp", which gains about a third. The bits are other ones.
        compare: proxies to compare with the scores, besides those that every training records.
    """

    name: str = "memorization"
    file: str | None = None
    models: int | Precision = 128
    fraction: float = 0.7
    seed: int = 0
    recipe: Recipe | None = None
    confidences: bool = False
    fused: bool = False
    compare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.models, int) and self.models < 4:
            raise ValueError(f"models must be at least 4, got {self.models}")
        if not 0 < self.fraction < 1:
            raise ValueError(f"fraction must be in (0, 1), got {self.fraction}")
        if self.recipe is not None and self.recipe.weights is not None:
            raise ValueError("recipe.weights is for the original; scoring models are trained")
        if self.file is None and self.name != "memorization":
            find(self.name, {"memorization": None, **PROXIES}, "score")
        pool = self.file is None and self.name == "memorization"
        for key in ("fused", "confidences"):
            if getattr(self, key) and not pool:
                other = self.file or self.name
                raise ValueError(f"{key} is about the leave-k-out pool, and the score is {other}")
        for name in self.compare:
            find(name, PROXIES, "proxy")
        if len(set(self.compare)) < len(self.compare):
            raise ValueError(f"compare names a proxy twice: {', '.join(self.compare)}")
