"""The searches of a study: a chain of spaces for each reference, and one per row of `compare`."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rum_ray.experiment import Experiment, ReferenceName, SearchConfig
from rum_ray.jobs import PoolReference, RetrainedReference, SearchJob, TrainModel
from rum_ray.partition import Partition
from rum_ray.search.candidates import Candidate
from rum_ray.study.spaces import is_tuned, load_start_plans, plans_in, row_space, search_spaces


@dataclass(frozen=True, eq=False)
class Searched:
    """What the searches with one reference have in common.

    Attributes:
        experiment: has the search.
        originals: one per search seed, then one per fresh seed.
        reference: the target of the unlearned models.
        candidates: the unlearners, with domains that a range test has narrowed.
    """

    experiment: Experiment
    originals: tuple[TrainModel, ...]
    reference: RetrainedReference | PoolReference
    candidates: Sequence[Candidate]

    @property
    def config(self) -> SearchConfig:
        """The settings of the search."""
        assert self.experiment.search is not None
        return self.experiment.search


def search_chain(common: Searched, name: ReferenceName, is_main: bool) -> list[SearchJob]:
    """Return the search of each space with one reference; each starts from the ones before.

    With the main reference, V0 is the rival of all others: it gets the sum of their budgets.
    """
    config = dataclasses.replace(common.config, reference=name, also=())
    partition, found = common.reference.partition, list[SearchJob]()
    plans = [*load_start_plans(common.experiment, partition).values()]
    spaces = search_spaces(common.experiment, partition, common.candidates)

    def parts(space: str) -> int:
        return len(spaces) if is_main and space == "V0" else 1

    for space in spaces:
        search = SearchJob(
            *(space, config.times(parts(space.name)), common.originals, common.reference),
            starts=plans_in(space, plans),
            parents=tuple((parent, parts(parent.name)) for parent in found),
        )
        found.append(search)
    return found


def row_searches(common: Searched, shuffled: Partition) -> Mapping[tuple[str, str], SearchJob]:
    """Return the searches of the rows of `compare`, by unlearner and method.

    Each row is tuned alike, with a number of plans of its own. The plans of one batch spread evenly
    over the ranges, so that few plans suffice. Hyperparameters that the file sets are not searched.

    Args:
        common: of the main reference.
        shuffled: its forget set as random subsets.
    """
    config, count = common.config, common.config.rows
    config = dataclasses.replace(
        config,
        trials=count,
        budget=None,
        batch=min(count, config.batch),
        finalists=1,
        also=(),
        start=(),
    )
    partition = common.reference.partition
    partitions = {"vanilla": partition, "shuffle": shuffled, "rum_f": partition}
    found = {}
    for unlearner in filter(is_tuned, common.experiment.compare):
        for method, subsets in partitions.items():
            space = row_space(common.experiment, unlearner, method, subsets, common.candidates)
            job = SearchJob(space, config, common.originals, common.reference)
            found[unlearner.name, method] = job
    return found
