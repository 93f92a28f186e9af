"""Difficulty scores: the section `score` of an experiment."""

from dataclasses import dataclass

from rum_ray.errors import ConfigError
from rum_ray.plugins import find, implementing
from rum_ray.scores import PROXIES, Proxy, find_proxy
from rum_ray.scores.reliability import STEP
from rum_ray.training.fused import FUSED
from rum_ray.training.recipe import Recipe

MOST_MODELS = 10**6
AUTO = "auto"
"""The score of requests to forget: that of the pool if there is one, else from the model."""


@dataclass(frozen=True)
class Precision:
    """Precision of memorization, in place of a fixed number of leave-k-out models.

    The pool grows in steps of 64 models until it reaches this precision or its largest size.

    Attributes:
        max: largest number of models; the pool ends there at any precision.
        standard_error: largest standard error of memorization, averaged over the examples.
        changed: largest share of the forget set whose subset another pool would change.
    """

    max: int
    standard_error: float | None = None
    changed: float | None = None

    def __post_init__(self) -> None:
        if self.max < STEP:
            raise ValueError(f"max must be at least 64, got {self.max}")
        if self.standard_error is None and self.changed is None:
            raise ValueError("give standard_error or changed, the precision to reach")
        if self.standard_error is not None and self.changed is not None:
            raise ValueError("give either standard_error or changed, not both")
        if self.standard_error is not None and not 0 < self.standard_error < 1:
            raise ValueError(f"standard_error must be in (0, 1), got {self.standard_error}")
        if self.changed is not None and not 0 < self.changed < 1:
            raise ValueError(f"changed must be in (0, 1), got {self.changed}")

    @property
    def rule(self) -> tuple[str, float]:
        """Name and upper limit of the statistic that stops the pool."""
        if self.changed is not None:
            return "changed", self.changed
        assert self.standard_error is not None
        return "standard_error", self.standard_error


@dataclass(frozen=True)
class ScoreConfig:
    """Difficulty scores: memorization or a proxy.

    Attributes:
        name: "memorization", or a key of `PROXIES`; with `file`, the column of the scores. "auto"
            is for `rum-ray delete`: the best score that is there.
        file: a Parquet file of existing scores, with columns as in scores.parquet, or a published
            `.npz` file of memorization, whose labels must be those of the data.
        models: number of leave-k-out models, or a precision.
        fraction: share of D in the training set of each leave-k-out model.
        seed: seed of the pool.
        recipe: recipe of the scoring models; the recipe of the experiment by default.
        confidences: store each pool model's probability of each example's label, from which
            `soft_memorization` is computed, and the shifts that `datamodel_matching` needs. A later
            change trains the pool again.
        fused: train several models of the pool as one batched computation; only for an "mlp", which
            becomes faster by about a third. The bits of the results differ.
        compare: proxies to compare with the scores, in addition to those every training records.
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
        most = self.models if isinstance(self.models, int) else self.models.max
        if most > MOST_MODELS:
            raise ValueError(f"models must be at most {MOST_MODELS}, got {most}")
        if not 0 < self.fraction < 1:
            raise ValueError(f"fraction must be in (0, 1), got {self.fraction}")
        if self.recipe is not None and self.recipe.weights is not None:
            raise ValueError(
                "recipe.weights is for the original model only; scoring models are always trained"
            )
        if self.file is None and self.name != "memorization":
            known = {"memorization": None, AUTO: None, **PROXIES}
            find(self.name, known, "score", implementing(Proxy))
        pool = self.file is None and self.name in ("memorization", AUTO)
        for key in ("fused", "confidences"):
            if getattr(self, key) and not pool:
                score = self.file or self.name
                raise ValueError(f"{key} requires the leave-k-out pool, but the score is {score}")
        for name in self.compare:
            find_proxy(name)
        if len(set(self.compare)) < len(self.compare):
            raise ValueError(f"compare lists a proxy twice, got {list(self.compare)}")

    def check_fused(self, recipe: Recipe, on_gpus: bool) -> None:
        """Raise ConfigError unless the models of the pool can be trained as a batch.

        Args:
            recipe: of the experiment.
            on_gpus: True if the workers have GPUs.
        """
        recipe = self.recipe or recipe
        if recipe.model not in FUSED:
            raise ConfigError(
                f"score.fused: supported for {', '.join(FUSED)} only, but the scoring model is "
                f"'{recipe.model}'. Remove score.fused."
            )
        if recipe.init is not None:
            raise ConfigError(
                "score.fused: fused training starts from new weights only. Remove score.fused or "
                "recipe.init."
            )
        if on_gpus:
            raise ConfigError(
                "score.fused: supported on CPUs only, because its speed and its reproducibility "
                "are untested on GPUs. Remove it, or set cluster.gpus_per_worker to 0."
            )
