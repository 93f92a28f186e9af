"""The experiment: all sections of an experiment file, and the checks across sections."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rum_ray.data import DataBundle, Reading
from rum_ray.data.ids import read_list
from rum_ray.digest import digest
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment.deletion import DeletionConfig
from rum_ray.experiment.given import check_given
from rum_ray.experiment.parts import (
    ClusterConfig,
    DataConfig,
    EvaluateConfig,
    ForgetConfig,
    moved,
)
from rum_ray.experiment.score import Precision, ScoreConfig
from rum_ray.experiment.search import SearchConfig
from rum_ray.partition import WHOLE_SETS, members
from rum_ray.refinement import ByScore, Refiner
from rum_ray.rum import Retain
from rum_ray.search.spaces import FREE
from rum_ray.training.recipe import Recipe, check_positive
from rum_ray.unlearning import Unlearner

MOST_REPEATS = 1000


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment; docs/configuration.md lists every key.

    Attributes:
        name: name of the output folder.
        data: the data set.
        recipe: training of the original model.
        embedding: name of the layer whose output, averaged over pixels, is the embedding; by
            default the input of the model's head.
        score: difficulty scores of the training examples.
        forget: choice of the forget set.
        refine: refinement of the forget set into subsets.
        order: names of the subsets in the order of unlearning, for every plan; null leaves the
            order to the refiner and to the search.
        retain: the retain set of a step, "remaining" or "final"; see `Plan.retain`.
        plan: unlearner per subset, reported as the row "rum" from the file. In an experiment file,
            the path of a plan file such as plan.yaml stands for its plan and order, and "auto" for
            the plan that other studies recommend (docs/howto/auto.md).
        compare: unlearners reported in the rows vanilla, shuffle and rum_f.
        search: search for plans; null for none.
        evaluate: reported attacks, and the attack of the objective.
        seeds: seeds of the reported runs.
        repeats: number of whole studies, each with another split, pool, forget set, search and
            seeds. Their seeds follow from those of the file. The report has intervals over the
            studies.
        deletion: requests to forget, for `rum-ray delete`.
        cluster: workers and resources.
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
    repeats: int = field(default=1, metadata={"sparse": 1})
    deletion: DeletionConfig = field(
        default_factory=DeletionConfig, metadata={"sparse": DeletionConfig()}
    )
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 64 or not all(c.isalnum() or c in "-_" for c in self.name):
            raise ValueError(f"name must be 1 to 64 letters, digits, - and _, got '{self.name}'")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {list(self.seeds)}")
        self._check_repeats()
        if len({u.name for u in self.compare}) < len(self.compare):
            raise ValueError("compare names an unlearner twice")
        into = getattr(self.refine, "into", None)
        for subset in WHOLE_SETS & {*(into or ())}:
            raise ConfigError(
                f"refine.into: '{subset}' is the name of a whole set. Rename the subset."
            )
        if into is not None:
            self._check_subsets(into)
        self._check_search(into)
        self._check_scoring()
        self.evaluate.check_seeds(len(self.seeds))
        given, has_list = self.evaluate.retrained, self.forget.ids is not None
        check_given(self.recipe.weights, given, self.search is not None, has_list)
        if self.evaluate.of_pool:
            self._check_pool(f"evaluate.also: {self.evaluate.of_pool[0]}")
        for name in self.foreseeing:
            self._check_confidences(f"the unlearner {name}")
            self.evaluate.check_foreseeing(name)

    @property
    def foreseeing(self) -> list[str]:
        """The names of the unlearners that need the shifts that the pool predicts."""
        kinds = [type(each) for each in [*(self.plan or {}).values(), *self.compare]]
        kinds += [] if self.search is None else self.search.kinds
        return [kind.name for kind in kinds if getattr(kind, "foreseeing", False)]

    def _check_subsets(self, into: Sequence[str]) -> None:
        """Raise ConfigError unless the plan and the order hold each subset once, maybe joined."""
        given = [member for step in self.plan or () for member in members(step, into)]
        for subset in given:
            if subset not in into:
                raise ConfigError(f"plan: unknown subset '{subset}'. {did_you_mean(subset, into)}")
            if given.count(subset) > 1:
                raise ConfigError(f"plan: subset '{subset}' is in two steps. Remove one of them.")
        order = [member for step in self.order or () for member in members(step, into)]
        if self.order is not None and sorted(order) != sorted(into):
            raise ConfigError(
                f"order: list each of {', '.join(into)} once; got {', '.join(self.order or ())}."
            )
        missing = [subset for subset in into if self.plan is not None and subset not in given]
        if missing:
            raise ConfigError(
                f"plan: subset '{missing[0]}' has no unlearner. Add one; 'nothing' is allowed. "
                f"The subsets are {', '.join(into)}."
            )

    def _check_repeats(self) -> None:
        """Raise an error if there is no repeat, or if repeats would share what they vary."""
        check_positive(self, "repeats")
        if self.repeats > MOST_REPEATS:
            raise ValueError(f"repeats must be at most {MOST_REPEATS}, got {self.repeats}")
        if self.repeats == 1:
            return
        if self.forget.ids is not None:
            raise ConfigError(
                f"repeats: {self.repeats} studies need {self.repeats} forget sets, but forget.ids "
                f"lists one ({self.forget.ids}). Choose by forget.size or forget.class, or remove "
                "'repeats'."
            )
        if self.recipe.weights is not None:
            raise ConfigError(
                f"repeats: recipe.weights is one given original, so {self.repeats} studies with "
                "splits of their own cannot share it. Remove recipe.weights or 'repeats'."
            )
        self.data.moved(1)

    def _check_search(self, into: Sequence[str] | None) -> None:
        """Raise ConfigError if the search refers to a subset, plan or pool that does not exist."""
        if self.search is None:
            return
        if into is not None:
            self.search.check_steps(into)
        if "plan" in self.search.start and self.plan is None:
            raise ConfigError(
                "search.start: 'plan' refers to the plan of the experiment, which has none. Add "
                "the key 'plan'."
            )
        if "pool" in self.search.references:
            self._check_confidences("search.reference: pool")
            if isinstance(self.score.models, Precision):
                raise ConfigError(
                    "search.reference: pool leaves half of the models to the scores, so a "
                    "precision for all models does not apply. Set score.models to a number."
                )

    def _check_scoring(self) -> None:
        """Raise ConfigError if fused training or the precision of the pool does not apply.

        The precision `changed` depends on the subsets, so scores alone must determine them.
        """
        if self.score.fused:
            self.score.check_fused(self.recipe, bool(self.cluster.gpus_per_worker))
        models = self.score.models
        if not isinstance(models, Precision) or models.changed is None:
            return
        if not isinstance(self.refine, ByScore) or self.forget.by_distance:
            raise ConfigError(
                "score.models.changed: requires that scores of the pool alone determine the forget "
                "set and its subsets. Use refine: by_score without forget.by: entanglement, or set "
                "standard_error instead."
            )

    def _check_confidences(self, what: str) -> None:
        """Raise ConfigError unless the pool that `what` requires stores its confidences."""
        self._check_pool(what)
        if not self.score.confidences:
            raise ConfigError(
                f"{what} requires the confidences of the leave-k-out models on held-out examples. "
                "Set score.confidences: true."
            )

    def _check_pool(self, what: str) -> None:
        """Raise ConfigError unless the experiment trains a pool that `what` can use.

        Args:
            what: the key and value that require the pool; the place in the message.
        """
        score = self.score
        if score.file is not None or score.name != "memorization":
            raise ConfigError(
                f"{what} requires the leave-k-out pool, but the score is "
                f"{score.file or score.name}. Set score.name: memorization."
            )
        if score.recipe not in (None, dataclasses.replace(self.recipe, weights=None)):
            raise ConfigError(
                f"{what} compares the model with models of the pool, so both need the same "
                "recipe. Remove score.recipe."
            )
        if self.evaluate.of_shadows and self.plan is None and self.search is None:
            raise ConfigError(
                f"evaluate.also: {self.evaluate.of_shadows[0]} runs a plan on the models of the "
                "pool, but the experiment has no plan. Add 'plan' or 'search'."
            )

    def repeated(self, number: int) -> "Experiment":
        """Return the experiment of one repeat; it has no repeats itself.

        Repeat 0 has the seeds of the file, so it equals the experiment without repeats. In repeat
        k, the seeds of the data set, the scores, the forget set, the refiner and the search are k
        larger. The reported seeds are moved past those of the repeats before.

        Args:
            number: of the repeat, from 0.

        Raises:
            ConfigError: the data set has no seed.
        """
        one = dataclasses.replace(self, repeats=1)
        if number == 0:
            return one
        span = max(self.seeds) - min(self.seeds) + 1
        return dataclasses.replace(
            one,
            data=self.data.moved(number),
            score=moved(self.score, number),
            forget=moved(self.forget, number),
            refine=moved(self.refine, number),
            search=moved(self.search, number),
            seeds=tuple(seed + number * span for seed in self.seeds),
        )

    def load_data(self, reading: Reading = Reading()) -> DataBundle:  # noqa: B008 - immutable
        """Return the data set; examples of V listed in `forget.ids` are moved to D.

        V is halved if both the search and held-out retraining use it.

        Args:
            reading: the folder of a cache, and the parts of an earlier split.

        Raises:
            ConfigError: an option is out of range, or a search needs V and V is empty.
            DataError: a file is missing, damaged, or not in the expected format.
        """
        listed = () if self.forget.ids is None else read_list(self.forget.ids)
        reading = dataclasses.replace(reading, trained=(*reading.trained, *listed))
        bundle, score = self.data.load(reading), self.score
        if self.search is not None and not len(bundle.valid):
            raise ConfigError(
                "search: plans are evaluated on validation data, but there are none. Reserve some "
                "(for example with data.valid_fraction), or remove 'search'."
            )
        proxies = score.compare if score.file else (score.name, *score.compare)
        return bundle.halved() if self.search and "heldout" in proxies else bundle

    def ladder(self) -> "Experiment":
        """Return the same experiment with a search in every space; "-ladder" is added to its name.

        Raises:
            ConfigError: the experiment has no search.
        """
        if self.search is None:
            raise ConfigError("search: a ladder requires the key 'search'. Add it.")
        # With a fixed order, V2 equals V1.
        spaces = tuple(name for name in FREE if name != "V2" or self.order is None)
        search = dataclasses.replace(self.search, spaces=spaces)
        return dataclasses.replace(self, name=f"{self.name}-ladder", search=search)

    @property
    def digest(self) -> str:
        """Digest of everything that determines the results: all but name, cluster and pick.

        The pick is left out, because it only chooses among finished trials.
        """
        search = None if self.search is None else dataclasses.replace(self.search, pick=None)
        science = dataclasses.replace(self, name="digest", cluster=ClusterConfig(), search=search)
        return digest(science)
