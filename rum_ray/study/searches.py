"""Several searches at once: units of one fill the time in which another waits for its batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.jobs.context import Context
from rum_ray.jobs.ledger import Result, objective
from rum_ray.jobs.proposals import Proposal, Proposals
from rum_ray.jobs.search import SearchJob
from rum_ray.jobs.trial import EvaluatePlan
from rum_ray.study.progress import ProgressState


@dataclass(frozen=True, eq=False)
class Request:
    """A unit of one of the searches.

    Attributes:
        search: number of the search.
        proposal: the plan and the seed.
    """

    search: int
    proposal: Proposal


class Searches:
    """Proposes the units of several searches, and saves each search when its budget is spent.

    A search begins when its parents are finished. What one search proposes does not depend on the
    others, besides its parents.

    Attributes:
        searches: the searches; parents come before their children.
        done: number of units that were judged.
    """

    def __init__(self, searches: Sequence[SearchJob], context: Context) -> None:
        """Begin the searches that are not in the store yet."""
        self.searches, self._context = searches, context
        self._open: dict[int, Proposals] = {}
        self._left = [n for n, search in enumerate(searches) if not context.has(search)]
        self._all, self._note = len(self._left), ""
        self.done, self._best = 0, float("-inf")
        self._begin()

    @property
    def finished(self) -> bool:
        """True if every search is saved."""
        return not self._left

    def state(self, before: int, seconds: float) -> ProgressState:
        """Return the progress; the total is expected from the share of the budgets that is judged.

        Args:
            before: number of units whose results were in the store.
            seconds: since the start.
        """
        share = self._all - len(self._left) + sum(each.share for each in self._open.values())
        total = round(self.done * self._all / share) if share else self.done + 1
        return ProgressState(
            self.done, max(self.done, total), before, seconds, best=self._best, note=self._note
        )

    def job(self, request: Request) -> EvaluatePlan:
        """Return the job that judges a unit."""
        proposal = request.proposal
        return self.searches[request.search].proposed(proposal.answers, proposal.unit.seed)

    def propose(self) -> Request | None:
        """Return the next unit; None while every search waits for results, and at the end."""
        # Others wait for the first ones: spaces have children, rows have none.
        for number, proposals in sorted(self._open.items()):
            proposal = proposals.propose()
            if proposal is not None:
                return Request(number, proposal)
        return None

    def tell(self, request: Request, result: Result) -> None:
        """Record the result of a unit."""
        number, unit = request.search, request.proposal.unit
        search, proposals = self.searches[number], self._open[number]
        value = objective(result, search.config)
        self.done, self._best = self.done + 1, max(self._best, value)
        self._note = (
            f"{search.name} trial {unit.trial} on seed {unit.seed}: J {value:.3f}, best "
            f"{self._best:.3f}; {proposals.share:.0%} of {search.config.size}"
        )
        proposals.tell(unit, result)
        self._end(number)
        if number not in self._open:
            self._begin()

    def _end(self, number: int) -> None:
        """Save a search whose budget is spent."""
        if self._open[number].finished:
            self.searches[number].save(self._context, self._open.pop(number).ledger)
            self._left.remove(number)

    def _begin(self) -> None:
        """Begin every search whose parents are finished."""
        for number in [*self._left]:
            parents = (parent for parent, _ in self.searches[number].parents)
            if number in self._open or not all(map(self._context.has, parents)):
                continue
            self._open[number] = Proposals(self.searches[number], self._context)
            self._end(number)
