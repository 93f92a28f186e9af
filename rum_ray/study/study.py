"""A study: an experiment and its data, its jobs, and the values that follow from their results.

Nothing here trains. A property returns jobs, or reads the results of finished ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rum_ray.data.bundle import Indices
from rum_ray.errors import ConfigError, PlanError
from rum_ray.experiment import Experiment, ReferenceName, SearchConfig, to_plain
from rum_ray.experiment.given import floor_seeds
from rum_ray.jobs import (
    CentroidDistances,
    Context,
    EmbeddingMoments,
    Evaluate,
    EvaluatePlan,
    Job,
    PoolReference,
    RetrainedReference,
    SearchJob,
    TrainModel,
)
from rum_ray.partition import WHOLE_SETS, Partition
from rum_ray.refinement import Shuffle
from rum_ray.scores.base import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import FREE
from rum_ray.seeding import Seed
from rum_ray.study.chains import Searched, row_searches, search_chain
from rum_ray.study.forget import (
    choose_forget_set,
    listed_rows,
    needs_distances,
    order_subsets,
    refine_forget_set,
)
from rum_ray.study.given import originals, references, trained_recipe
from rum_ray.study.ranges import range_tests, tested_candidates
from rum_ray.study.scoring import Scoring
from rum_ray.study.spaces import check_plans, load_start_plans, make_reference
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner


@dataclass(frozen=True, eq=False)
class Study:
    """One experiment on its data.

    Attributes:
        experiment: the configuration.
        context: the data, the store and the device.
        plan_only: True measures only the plan of the file, without `search` and `compare`.
    """

    experiment: Experiment
    context: Context
    plan_only: bool = False

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of all models that are trained here: without pretrained weights."""
        return trained_recipe(self.experiment)

    @cached_property
    def originals(self) -> tuple[TrainModel, ...]:
        """The original models, one per reported seed."""
        seeds = self.experiment.seeds
        return originals(self.experiment, [Seed(s) / "run" for s in seeds], seeds)

    @cached_property
    def search_originals(self) -> tuple[TrainModel, ...]:
        """The original models of the search seeds, then those of the fresh seeds."""
        search = self.experiment.search
        if search is None or self.plan_only:
            return ()
        roots = [Seed(search.seed) / "search" / k for k in range(search.seeds + search.fresh)]
        return originals(self.experiment, roots, range(len(roots)))

    @cached_property
    def scoring(self) -> Scoring:
        """The jobs and results of the scores."""
        return Scoring(self.experiment, self.context, self.recipe, self.originals)

    @property
    def scores(self) -> Scores:
        """The scores of D; higher is harder to forget."""
        return self.scoring.scores

    @cached_property
    def distances(self) -> Scores | None:
        """Distances of D's embeddings to their centroid, as means over the originals, or None."""
        if not self.distance_jobs:
            return None
        by_seed = [job.load(self.context) for job in self.distance_jobs]
        return Scores(np.mean(by_seed, axis=0), name="distance")

    @cached_property
    def forget(self) -> Indices:
        """The rows of the forget set."""
        if self.experiment.forget.ids is not None:
            # A list needs no scores.
            return listed_rows(self.experiment.forget.ids, self.context.bundle)
        bundle = self.context.bundle
        return choose_forget_set(self.experiment, bundle, self.scores, self.distances)

    @cached_property
    def partition(self) -> Partition:
        """The subsets of the forget set, in the order of unlearning."""
        experiment, bundle = self.experiment, self.context.bundle
        subsets = refine_forget_set(experiment, bundle, self.forget, self.scores, self.distances)
        partition = self.scoring.foreseen(order_subsets(experiment, subsets))
        for name in WHOLE_SETS & {*partition.names}:
            raise PlanError(
                f"refine: a subset has the name '{name}', which is reserved for a whole set. "
                "Rename the subset."
            )
        check_plans(experiment, partition, len(bundle.train), len(bundle.valid))
        return partition

    @cached_property
    def shuffled(self) -> Partition:
        """The forget set as random subsets, as many as `partition` has."""
        return self._shuffle(self.partition)

    def _shuffle(self, partition: Partition) -> Partition:
        """Return a forget set as random subsets, as many as it has."""
        names = tuple(f"shuffle{k}" for k in range(1, len(partition) + 1))
        return self.scoring.foreseen(Shuffle(into=names)(partition.rows, self.scores))

    @cached_property
    def retrained(self) -> tuple[TrainModel, ...]:
        """The references: retrained from the originals' initial weights, or given."""
        seeds = [original.seed for original in self.originals]
        return references(self.experiment, self.forget, seeds, self.experiment.seeds)

    @cached_property
    def retrained_again(self) -> tuple[TrainModel, ...]:
        """The noise floor: retrained from other initial weights, in another order."""
        seeds = self.experiment.seeds
        again = [Seed(s) / "again" for s in seeds]
        return references(self.experiment, self.forget, again, floor_seeds(seeds))

    @cached_property
    def retrained_reordered(self) -> tuple[TrainModel, ...]:
        """The second noise floor: retrained from the same initial weights, in another order.

        None with given references, whose initial weights are unknown.
        """
        if self.experiment.evaluate.retrained is not None:
            return ()
        return tuple(
            TrainModel(o.recipe, o.seed / "reordered", self.forget, init=o.seed)
            for o in self.originals
        )

    @cached_property
    def references(self) -> Mapping[ReferenceName, RetrainedReference | PoolReference]:
        """The references of the searches, by name, the main one first."""
        inputs = self.partition, self.search_originals, self.scoring
        names = self._reference_names
        return {name: make_reference(self.experiment, name, *inputs) for name in names}

    @property
    def _reference_names(self) -> tuple[ReferenceName, ...]:
        """The names of the references, the main one first; none without a search."""
        search = self.experiment.search
        return () if search is None or self.plan_only else search.references

    @property
    def rung_names(self) -> tuple[str, ...]:
        """The spaces of the searches, smaller ones first; needs no results."""
        search = self.experiment.search
        if search is None or self.plan_only:
            return ()
        return tuple(name for name in FREE if name in search.spaces)

    @property
    def search_names(self) -> tuple[str, ...]:
        """The keys of `searches`; needs no results."""
        spaces, others = self.rung_names, self._reference_names[1:]
        return (*spaces, *(f"{space} {name}" for name in others for space in spaces))

    @property
    def asks_pool(self) -> bool:
        """True if an attack compares the models with the logits of the pool."""
        return bool(self.experiment.evaluate.needing("pool", "trained_shadows"))

    @cached_property
    def searches(self) -> Mapping[str, SearchJob]:
        """The searches by name, smaller spaces first; none without a search.

        "V5" is the search of a space with the main reference. "V5 surrogate" is the search of the
        same space with another reference.
        """
        searches: dict[str, SearchJob] = {}
        for name, reference in self.references.items():
            is_main = not searches
            for search in search_chain(self._searched(reference), name, is_main):
                searches[search.name if is_main else f"{search.name} {name}"] = search
        return searches

    @cached_property
    def row_searches(self) -> Mapping[tuple[str, str], SearchJob]:
        """The searches of the rows of `compare`, by unlearner and method."""
        if not self._reference_names:
            return {}
        reference = self.references[self.require_search().reference]
        shuffled = self._shuffle(reference.partition)
        return row_searches(self._searched(reference), shuffled)

    def _searched(self, reference: RetrainedReference | PoolReference) -> Searched:
        """Return what the searches with one reference have in common."""
        return Searched(self.experiment, self.search_originals, reference, self._candidates)

    @cached_property
    def range_tests(self) -> Mapping[str, Sequence[tuple[float, EvaluatePlan]]]:
        """The learning rates to test before the searches, and their jobs, by unlearner."""
        if not self._reference_names:
            return {}
        reference = self.references[self.require_search().reference]
        return range_tests(self.experiment, self.search_originals[0], reference)

    @cached_property
    def _candidates(self) -> tuple[Candidate, ...]:
        """The candidates of the searches; the range tests must be finished."""
        plans = [*load_start_plans(self.experiment, self.partition).values()]
        return tested_candidates(self.experiment, self.range_tests, self.context, plans)

    @property
    def rungs(self) -> list[SearchJob]:
        """The searches with the main reference; the pick of the last one is the plan of RUM."""
        return [search for name, search in self.searches.items() if name == search.name]

    @property
    def first_jobs(self) -> list[Job]:
        """The training jobs that do not depend on the forget set."""
        return [*self.originals, *self.search_originals, *self.scoring.jobs]

    @property
    def retrain_jobs(self) -> list[Job]:
        """The jobs that retrain without the forget set."""
        floors = (*self.retrained_again, *self.retrained_reordered)
        return [*self.retrained, *floors, *self.reference_jobs]

    @property
    def reference_jobs(self) -> list[Evaluate]:
        """The evaluated models of the searches' references."""
        return [model for reference in self.references.values() for model in reference.models]

    @property
    def moments(self) -> list[EmbeddingMoments]:
        """The jobs that embed the subsets under each original."""
        layer = self.experiment.embedding
        return [EmbeddingMoments(o, self.partition, layer) for o in self.originals]

    @property
    def distance_jobs(self) -> list[CentroidDistances]:
        """The jobs that measure distances, if the forget set or its subsets depend on them."""
        if not needs_distances(self.experiment):
            return []
        return [CentroidDistances(o, self.experiment.embedding) for o in self.originals]

    @property
    def validations(self) -> list[Job]:
        """The finalists of each search on fresh seeds; the searches must be finished."""
        return [
            unit for search in self.searches.values() for unit in search.validations(self.context)
        ]

    def require_search(self) -> SearchConfig:
        """Return the configuration of the searches; raise ConfigError if there is none."""
        if self.experiment.search is None:
            raise ConfigError(
                "search: this key is missing, so there is nothing to tune. Add it, for example "
                f"{{budget: 22}}; its keys are {list(to_plain(SearchConfig()))}."
            )
        return self.experiment.search

    def require_plan(self) -> Mapping[str, Unlearner]:
        """Return the plan of the file; raise ConfigError if it has none."""
        if self.experiment.plan is None:
            raise ConfigError(
                "plan: this key is missing, so there is nothing to run. Add an unlearner per "
                "subset, or search for them with 'rum-ray tune'."
            )
        return self.experiment.plan
