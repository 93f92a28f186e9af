"""An experiment and its data, as the jobs that it takes and what follows from them.

Nothing here trains: each property says which jobs there are, or reads what finished ones made.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rum_ray.data.bundle import Indices
from rum_ray.data.ids import read_rows
from rum_ray.errors import ConfigError, PlanError
from rum_ray.experiment import Experiment, ReferenceName, SearchConfig, to_plain
from rum_ray.jobs import (
    CentroidDistances,
    Context,
    EmbeddingMoments,
    Evaluate,
    Job,
    PoolReference,
    RetrainedReference,
    SearchJob,
    TrainModel,
)
from rum_ray.jobs.pretrained import weights_digest
from rum_ray.jobs.search import FRESH_SEEDS
from rum_ray.refinement import Shuffle
from rum_ray.rum import WHOLE_SETS, Partition
from rum_ray.scores.base import Scores
from rum_ray.search.spaces import FREE
from rum_ray.seeding import Seed
from rum_ray.study.forget import chosen, needs_distances, ordered, refined
from rum_ray.study.scoring import Scoring
from rum_ray.study.spaces import (
    check_plans,
    reference,
    search_spaces,
    starting_plans,
    those_in,
)
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner


@dataclass(frozen=True, eq=False)
class Study:
    """One experiment on its data.

    Attributes:
        experiment: what is studied.
        context: the data and the store.
        plan_only: True measures the plan of the file alone, without `search` and `compare`.
    """

    experiment: Experiment
    context: Context
    plan_only: bool = False

    @cached_property
    def recipe(self) -> Recipe:
        """How models are trained from fresh weights, whatever weights the original has."""
        return dataclasses.replace(self.experiment.recipe, weights=None)

    @cached_property
    def originals(self) -> tuple[TrainModel, ...]:
        """The original models, one a reported seed."""
        return tuple(self._original(Seed(s) / "run") for s in self.experiment.seeds)

    def _original(self, seed: Seed) -> TrainModel:
        """Return an original: trained under a seed, or the one that is given."""
        return TrainModel(self.recipe, seed, weights=self._weights_digest)

    @cached_property
    def _weights_digest(self) -> str | None:
        path = self.experiment.recipe.weights
        return None if path is None else weights_digest(path)

    @cached_property
    def search_originals(self) -> tuple[TrainModel, ...]:
        """The original models of the search seeds, the fresh ones at the end."""
        search = self.experiment.search
        if search is None or self.plan_only:
            return ()
        roots = [Seed(search.seed) / "search" / k for k in range(search.seeds + FRESH_SEEDS)]
        return tuple(map(self._original, roots))

    @cached_property
    def scoring(self) -> Scoring:
        """What scores D's examples."""
        return Scoring(self.experiment, self.context, self.recipe, self.originals)

    @property
    def scores(self) -> Scores:
        """How hard D's examples are to forget."""
        return self.scoring.scores

    @cached_property
    def distances(self) -> Scores | None:
        """How far D's embeddings are from their centroid, mean over the originals; None if unused.

        There is one forget set for all seeds, so their distances are averaged.
        """
        if not self.distance_jobs:
            return None
        by_seed = [job.load(self.context) for job in self.distance_jobs]
        return Scores(np.mean(by_seed, axis=0), name="distance")

    @cached_property
    def forget(self) -> Indices:
        """The forget set."""
        if self.experiment.forget.ids is not None:
            # A list needs no scores.
            return read_rows(self.experiment.forget.ids, self.context.bundle.train.ids)
        return chosen(self.experiment, self.context.bundle, self.scores, self.distances)

    @cached_property
    def partition(self) -> Partition:
        """The forget set as refined subsets, in the order of unlearning."""
        bundle = self.context.bundle
        found = refined(self.experiment, bundle, self.forget, self.scores, self.distances)
        partition = ordered(self.experiment, found)
        for whole in WHOLE_SETS & {*partition.names}:
            raise PlanError(f"a refiner's subset is called '{whole}', as a whole set is.")
        check_plans(self.experiment, partition, len(bundle.train))
        return partition

    @cached_property
    def shuffled(self) -> Partition:
        """The forget set as subsets drawn at random, as many as there are refined ones."""
        names = tuple(f"shuffle{k}" for k in range(1, len(self.partition) + 1))
        return Shuffle(into=names)(self.forget, self.scores)

    @cached_property
    def retrained(self) -> tuple[TrainModel, ...]:
        """The references: retrained from the originals' initial weights."""
        return tuple(TrainModel(o.recipe, o.seed, self.forget) for o in self.originals)

    @cached_property
    def retrained_again(self) -> tuple[TrainModel, ...]:
        """The noise floor: retrained from other initial weights, in another order."""
        again = [Seed(s) / "again" for s in self.experiment.seeds]
        return tuple(TrainModel(self.recipe, seed, self.forget) for seed in again)

    @cached_property
    def references(self) -> Mapping[str, RetrainedReference | PoolReference]:
        """What searches judge plans against, by name, the one that counts first."""
        given = self.partition, self.search_originals, self.scoring
        names = self._reference_names
        return {name: reference(self.experiment, name, *given) for name in names}

    @property
    def _reference_names(self) -> tuple[ReferenceName, ...]:
        """The references of the searches, the main one first; none without a search."""
        search = self.experiment.search
        return () if search is None or self.plan_only else search.references

    @property
    def search_names(self) -> tuple[str, ...]:
        """The keys of `searches`, which are known before the forget set is."""
        search = self.experiment.search
        if search is None or self.plan_only:
            return ()
        spaces = tuple(name for name in FREE if name in search.spaces)
        return (*spaces, *(f"{spaces[-1]} {name}" for name in search.also))

    @property
    def asks_pool(self) -> bool:
        """True if an attack compares the models with the logits of the pool."""
        return any(name != "u_lira" for name in self.experiment.evaluate.of_pool)

    @cached_property
    def searches(self) -> Mapping[str, SearchJob]:
        """What is searched, each with the same budget, by name; nothing without a search.

        "V4" is a space. "V4 surrogate" is the last one, searched once more with that reference.
        """
        searches: dict[str, SearchJob] = {}
        for name in self._reference_names:
            found = self._searches(name)
            if searches:
                searches[f"{found[-1].name} {name}"] = found[-1]
            else:
                searches |= {search.name: search for search in found}
        return searches

    def _searches(self, name: ReferenceName) -> list[SearchJob]:
        """Return the search of each space with one reference."""
        config = dataclasses.replace(self.require_search(), reference=name, also=())
        against = self.references[name]
        plans = [*starting_plans(self.experiment, against.partition).values()]
        return [
            SearchJob(space, config, self.search_originals, against, those_in(space, plans))
            for space in search_spaces(self.experiment, against.partition)
        ]

    @property
    def rungs(self) -> list[SearchJob]:
        """The spaces' searches with the reference that counts; the last pick is RUM's plan."""
        return [search for name, search in self.searches.items() if name == search.name]

    @property
    def pretrained(self) -> list[TrainModel]:
        """The originals that are read from a file and are not in the store yet."""
        originals = (*self.originals, *self.search_originals)
        return [o for o in originals if o.weights is not None and not self.context.has(o)]

    @property
    def first_jobs(self) -> list[Job]:
        """What is trained before the forget set is known."""
        return [*self.originals, *self.search_originals, *self.scoring.jobs]

    @property
    def retrain_jobs(self) -> list[Job]:
        """What is trained without the forget set."""
        return [*self.retrained, *self.retrained_again, *self.judged]

    @property
    def judged(self) -> list[Evaluate]:
        """The models that the searches' references are made of."""
        return [model for known in self.references.values() for model in known.models]

    @property
    def moments(self) -> list[EmbeddingMoments]:
        """The originals' embeddings of the subsets."""
        layer = self.experiment.embedding
        return [EmbeddingMoments(o, self.partition, layer) for o in self.originals]

    @property
    def distance_jobs(self) -> list[CentroidDistances]:
        """The originals' distances, if the forget set or its subsets depend on them."""
        if not needs_distances(self.experiment):
            return []
        return [CentroidDistances(o, self.experiment.embedding) for o in self.originals]

    @property
    def validations(self) -> list[Job]:
        """What tries each search's finalists on fresh seeds; searches must be finished."""
        return [
            search.trial(plan, fresh=True)
            for search in self.searches.values()
            for plan in search.finalists(self.context)
        ]

    def require_search(self) -> SearchConfig:
        """Return what the searches may do.

        Raises:
            ConfigError: the experiment has no search.
        """
        if self.experiment.search is None:
            raise ConfigError(
                "the experiment has no key 'search', so there is nothing to tune. "
                f"Add one, such as {{trials: 32}}; its keys are {list(to_plain(SearchConfig()))}."
            )
        return self.experiment.search

    def require_plan(self) -> Mapping[str, Unlearner]:
        """Return the file's unlearner for each subset.

        Raises:
            ConfigError: the file has none.
        """
        if self.experiment.plan is None:
            raise ConfigError(
                "the experiment has no key 'plan', so there is nothing to unlearn with. "
                "Give each subset an unlearner, or let 'rum-ray tune' find them."
            )
        return self.experiment.plan
