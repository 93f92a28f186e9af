"""The searches in the report: budgets and picks, the ladder of spaces, and references."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rum_ray.evaluation.statistics import expected_best, pareto
from rum_ray.results.claims import Deciding, Pair, claims, regret
from rum_ray.results.metrics import numbers
from rum_ray.results.outcome import SearchOutcome, Trial
from rum_ray.results.rows import find_row, trials_of
from rum_ray.results.schema import (
    FrontPoint,
    Ladder,
    ReferenceSummary,
    Row,
    Rung,
    SearchSummary,
    StageSummary,
)
from rum_ray.search.objective import INFEASIBLE


def search_summaries(
    searches: Sequence[SearchOutcome], stages: Sequence[StageSummary]
) -> tuple[SearchSummary, ...]:
    """Return budget, trials and pick of each search.

    Args:
        searches: in their order.
        stages: wall times, of which those of the searches are used.
    """
    made = any(stage.name == "search" and stage.made for stage in stages)
    return tuple(_search(search, made) for search in searches)


def _search(search: SearchOutcome, made: bool) -> SearchSummary:
    """Return budget, trials and pick of a search."""
    config, statuses = search.config, Counter(trial.status for trial in search.trials)
    objectives = drawn(search.trials, search.cost_limit)
    return SearchSummary(
        name=search.label,
        space=search.space,
        sampler=config.sampler,
        trials=len(search.trials),
        inherited=sum(trial.inherited for trial in search.trials),
        budget=config.budget,
        spent=search.spent,
        whole=search.whole,
        starts=search.starts,
        objective="tow - mia_gap" if config.objective == "tow_gap" else "tow_examples",
        split="validation",
        attack=config.attack,
        reference=config.reference,
        max_cost=config.max_cost,
        pick=config.pick,
        seconds=sum(trial.seconds or 0.0 for trial in search.trials) if made else None,
        complete=statuses["complete"],
        infeasible=0,
        drawn_again=search.drawn_again,
        diverged=statuses["diverged"],
        best=search.pick,
        finalists=search.finalists,
        front=_front(search.trials),
        expected_best=numbers(expected_best(objectives)) if objectives else (),
    )


def drawn(trials: Sequence[Trial], cost_limit: float) -> list[float]:
    """Return J of the trials that were drawn, not given; -1 above the cost limit of a pick."""
    return [
        trial.objective if trial.cost <= cost_limit else INFEASIBLE
        for trial in trials
        if not trial.start
    ]


def _front(trials: Sequence[Trial]) -> tuple[FrontPoint, ...]:
    """Return the trials that no cheaper trial matches, by rising cost."""
    found = [(number, t) for number, t in enumerate(trials) if t.status == "complete"]
    edge = pareto([t.cost for _, t in found], [t.objective for _, t in found])
    points = (found[index] for index in edge)
    return tuple(FrontPoint(t.objective, t.cost, t.plan, number) for number, t in points)


def ladder(searches: Sequence[SearchOutcome], rows: Sequence[Row], rule: Deciding) -> Ladder | None:
    """Return the worth of each space, measured on the reported seeds and on test data.

    Each rung is compared with the one before it, the first on subsets with its control on random
    subsets, and the last with the first. Holm corrects over these claims.

    Returns:
        None unless several spaces were searched.
    """
    rungs = [search for search in searches if search.name == search.space]
    if len(rungs) < 2:
        return None
    found = {search.space: _row_of(rows, search.method) for search in rungs}
    first, *_, last = found
    pairs = list(zip(found, [*found][1:], strict=False))
    told = [_rung(search.space, search.method, rows, rule, search.whole) for search in rungs]
    if find_row(rows, "shuffled") is not None:
        found["shuffle"] = _row_of(rows, "shuffled")
        told.append(_rung("shuffle", "shuffled", rows, rule))
        pairs.append(("shuffle", "V1"))
    if len(rungs) > 2:
        pairs.append((first, last))
    named: list[Pair] = [(b, found[b], a, found[a]) for a, b in pairs]
    return Ladder(rungs=tuple(told), claims=claims(named, rule))


def _rung(
    space: str, method: str, rows: Sequence[Row], rule: Deciding, whole: float | None = None
) -> Rung:
    """Return the worth of a space."""
    row = _row_of(rows, method)
    trials = trials_of(row, method)
    assert trials is not None
    objective, tow, cost = (row.metrics[name] for name in ("objective", "tow", "cost"))
    return Rung(
        *(space, method, trials, objective, tow, cost),
        whole=whole,
        searched=row.metrics.get(rule.metric),
    )


def _row_of(rows: Sequence[Row], method: str, source: str = "search") -> Row:
    """Return the row of a search."""
    found = find_row(rows, method, source)
    assert found is not None
    return found


def reference_summaries(
    references: Mapping[str, int], rows: Sequence[Row], rule: Deciding
) -> tuple[ReferenceSummary, ...]:
    """Return the cost of each reference of the search, and the worth of the plan it led to.

    Regret is the metric that decides of the oracle's plan minus that of this plan, both as
    reported: lower is better.

    Args:
        references: trainings of the models that each is made of, the main one first.
        rows: of the report.
        rule: has the metric that decides.
    """
    if len(references) < 2:
        return ()
    main, *_ = references
    sources = {name: "search" if name == main else name for name in references}
    found = {name: _row_of(rows, "rum", source) for name, source in sources.items()}
    best = found.get("oracle")
    return tuple(
        ReferenceSummary(
            reference=name,
            main=name == main,
            trials=trials_of(row, "rum", sources[name]),
            trainings=references[name],
            objective=row.metrics["objective"],
            regret=None if best is None or name == "oracle" else regret(best, row, rule),
        )
        for name, row in found.items()
    )
