"""The whole study."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rum_ray.data import DataBundle
from rum_ray.data.ids import read_ids
from rum_ray.digest import digest
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment.parts import (
    ClusterConfig,
    DataConfig,
    EvaluateConfig,
    ForgetConfig,
)
from rum_ray.experiment.score import Precision, ScoreConfig
from rum_ray.experiment.search import SearchConfig
from rum_ray.refinement import ByScore, Refiner
from rum_ray.rum import WHOLE_SETS, Retain
from rum_ray.search.spaces import FREE
from rum_ray.training.fused import FUSED
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All of one study; docs/configuration.md lists every key.

    Attributes:
        name: what the output folder is called.
        data: what was learned.
        recipe: how the original model is trained.
        embedding: the layer of the model whose output, pooled over pixels, is the embedding; by
            default what the model itself says, the input of its head.
        score: how hard examples are.
        forget: which are to be forgotten.
        refine: how they are split into subsets.
        order: the subsets' names in the order of unlearning, then of every plan; by default the
            refiner's, and a search may find others.
        retain: what a step may learn from; see `Plan.retain`.
        plan: an unlearner for each subset: the row "rum" from the file. In a file, the name of
            another one, such as plan.yaml, stands for its plan and its order.
        compare: unlearners that get the rows vanilla, shuffle and rum_f.
        search: how assignments are searched; None is not at all.
        evaluate: which attacks are reported, and which counts.
        seeds: roots of the reported runs.
        cluster: where it runs.
    """

    name: str
    data: DataConfig
    recipe: Recipe
    embedding: str | None = None
    score: ScoreConfig = field(default_factory=ScoreConfig)
    forget: ForgetConfig
    refine: Refiner = field(default_factory=ByScore)
    order: tuple[str, ...] | None = None
    retain: Retain = "remaining"
    plan: Mapping[str, Unlearner] | None = None
    compare: tuple[Unlearner, ...] = ()
    search: SearchConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    seeds: tuple[int, ...] = (0,)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_" for c in self.name):
            raise ValueError(f"name may have letters, digits, - and _, got '{self.name}'")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, and at least one, got {self.seeds}")
        if len({u.name for u in self.compare}) < len(self.compare):
            raise ValueError("compare names an unlearner twice")
        into = getattr(self.refine, "into", None)
        for subset in WHOLE_SETS & {*(into or ())}:
            raise ConfigError(f"refine.into: '{subset}' is a whole set; name the subset otherwise.")
        for subset in self.plan or {}:
            if into is not None and subset not in into:
                raise ConfigError(f"plan: unknown subset '{subset}'. {did_you_mean(subset, into)}")
        if self.order and into and sorted(self.order) != sorted(into):
            raise ConfigError(
                f"order: name each of {', '.join(into)} once; got {', '.join(self.order)}."
            )
        missing = [s for s in into or () if self.plan is not None and s not in self.plan]
        if missing:
            raise ConfigError(
                f"plan: subset '{missing[0]}' has no unlearner; 'nothing' is one. "
                f"The subsets are {', '.join(into or ())}."
            )

        self._check_search(into)
        self._check_scoring()
        if self.evaluate.of_pool:
            self._check_pool(f"evaluate.also: {self.evaluate.of_pool[0]}")

    def _check_search(self, into: Sequence[str] | None) -> None:
        """Raise ConfigError if the search fixes a step, or starts at a plan, that is not there."""
        if self.search is None:
            return
        if into is not None:
            self.search.check_steps(into)
        if "plan" in self.search.start and self.plan is None:
            raise ConfigError(
                "search.start: 'plan' is the experiment's plan, and there is none; add 'plan'."
            )
        if "pool" in self.search.references:
            self._check_pool("search.reference: pool")
            if not self.score.confidences:
                raise ConfigError(
                    "search.reference: pool asks what the leave-k-out models say of labels they "
                    "did not learn; set score.confidences: true."
                )
            if isinstance(self.score.models, Precision):
                raise ConfigError(
                    "search.reference: pool takes half of the models from the scores, so the "
                    "precision of all says nothing of them; give score.models as a number."
                )

    def _check_scoring(self) -> None:
        """Raise ConfigError if the pool cannot be trained together, or not be as large as asked.

        Only its scores may decide its size, not subsets that other things decide.
        """
        model = (self.score.recipe or self.recipe).model
        if self.score.fused and model not in FUSED:
            raise ConfigError(
                f"score.fused: only {', '.join(FUSED)} gains by it, and the scoring model is "
                f"'{model}'. Remove it."
            )
        if self.score.fused and self.cluster.gpus_per_worker:
            raise ConfigError(
                "score.fused: what it gains, and that a model's bits do not depend on the others, "
                "is known of CPUs only. Remove it, or set cluster.gpus_per_worker to 0."
            )
        models = self.score.models
        if not isinstance(models, Precision) or models.changed is None:
            return
        if not isinstance(self.refine, ByScore) or self.forget.by_distance:
            raise ConfigError(
                "score.models.changed: only scores of the pool may decide what is forgotten and in "
                "which subset; use refine: by_score without forget.by: entanglement, or give "
                "standard_error."
            )

    def _check_pool(self, what: str) -> None:
        """Raise ConfigError unless there is a pool that can be asked, `what` saying who asks."""
        score = self.score
        if score.file is not None or score.name != "memorization":
            raise ConfigError(
                f"{what} asks the leave-k-out pool, which only score.name: "
                f"memorization trains; the score is {score.file or score.name}."
            )
        if score.recipe not in (None, dataclasses.replace(self.recipe, weights=None)):
            raise ConfigError(
                f"{what} compares the model with the pool's, so they must be "
                "trained alike; remove score.recipe."
            )
        if self.evaluate.asks("shadows") and self.plan is None and self.search is None:
            raise ConfigError(
                f"evaluate.also: {self.evaluate.of_pool[-1]} runs a plan on the pool's models, and "
                "there is none; add 'plan' or 'search'."
            )

    def load_data(self) -> DataBundle:
        """Return the data set, with all listed ids in D, for they are said to be learned.

        V is in halves where a search and held-out retraining both want it.

        Raises:
            ConfigError: an option is out of range, or V is wanted and empty.
            DataError: a file is missing, or not what it says.
        """
        bundle, score = self.data.load(), self.score
        if self.forget.ids is not None:
            bundle = bundle.with_train_ids(read_ids(self.forget.ids))
        if self.search is not None and not len(bundle.valid):
            raise ConfigError(
                "search: plans are judged on validation data, and there is none. Set some aside "
                "(such as data.valid_fraction), or remove 'search'."
            )
        proxies = score.compare if score.file else (score.name, *score.compare)
        return bundle.halved() if self.search and "heldout" in proxies else bundle

    def ladder(self) -> "Experiment":
        """Return the same experiment with every space searched, under a name of its own.

        Raises:
            ConfigError: there is no search.
        """
        if self.search is None:
            raise ConfigError("the experiment has no key 'search', so there is no ladder. Add one.")
        # Where the order is given, V2 is V1.
        spaces = tuple(name for name in FREE if name != "V2" or self.order is None)
        search = dataclasses.replace(self.search, spaces=spaces)
        return dataclasses.replace(self, name=f"{self.name}-ladder", search=search)

    @property
    def digest(self) -> str:
        """Digest of all that determines the results: not the name, the cluster, nor the pick.

        Another plan may be picked of the trials that an output folder tells of.
        """
        search = None if self.search is None else dataclasses.replace(self.search, pick=None)
        science = dataclasses.replace(self, name="digest", cluster=ClusterConfig(), search=search)
        return digest(science)
