"""The numbers of the report: from the outcome of a study to report.json."""

from collections.abc import Sequence

from rum_ray.experiment.given import SEED
from rum_ray.results.claims import Deciding, comparisons, variants
from rum_ray.results.costs import bill, costs
from rum_ray.results.outcome import Outcome
from rum_ray.results.rows import row_summaries
from rum_ray.results.schema import (
    Row,
    SearchSummary,
    Selection,
    Summary,
)
from rum_ray.results.scores import (
    entanglement_summary,
    forget_summary,
    score_summary,
    score_warnings,
    subset_summaries,
)
from rum_ray.results.searches import ladder, reference_summaries, search_summaries


def summarize(outcome: Outcome) -> Summary:
    """Return report.json of a finished study."""
    experiment, examples, forget = outcome.experiment, outcome.examples, outcome.forget
    rows = row_summaries(outcome.measured)
    rule = Deciding.of(experiment.search if outcome.searches else None, experiment.evaluate.attack)
    searches = search_summaries(outcome.searches, outcome.stages)
    scores, subsets = score_summary(examples, forget), subset_summaries(examples, forget)
    return Summary(
        attack=experiment.evaluate.attack,
        experiment=outcome.identity,
        environment=outcome.environment,
        data=outcome.data,
        scores=scores,
        forget=forget_summary(examples, forget),
        subsets=subsets,
        entanglement=entanglement_summary(subsets),
        rows=rows,
        comparisons=comparisons(rows, rule),
        searches=searches,
        ladder=ladder(outcome.searches, rows, rule),
        references=reference_summaries(outcome.references, rows, rule),
        stages=outcome.stages,
        costs=costs(outcome, rows),
        selected_on=_selected_on(outcome),
        warnings=(
            *score_warnings(scores),
            *_warnings(outcome, searches),
            *_plan_warnings(rows),
        ),
        attack_titles={a.name: a.title for a in outcome.measured.attacks} or None,
        decides=rule.metric,
        variants=variants(rows, rule),
        bill=bill(outcome, rows),
    )


def _chosen_by(outcome: Outcome) -> str:
    """Return the seeds that decided the forget set."""
    score, forget = outcome.experiment.score, outcome.experiment.forget
    scored = f"file {score.file}" if score.file else f"{score.name}, root {score.seed}"
    if forget.ids is not None:
        return f"ids of {forget.ids}; subsets by {scored}"
    of_class = "" if forget.label is None else f"class {forget.label}; "
    if outcome.forget.by_distance:
        return f"{of_class}distances under the reported seeds' originals; subsets by {scored}"
    at_random = f"at random, root {forget.seed}; subsets by " if forget.pick == "random" else ""
    return f"{of_class}{at_random}{scored}"


def _selected_on(outcome: Outcome) -> tuple[Selection, ...]:
    """Return each choice that was made, on its split and with its seeds."""
    search = outcome.experiment.search
    half = ""
    if outcome.data.reserved is not None:
        half = ", without the half that held-out retraining learned"
    selections = [Selection("forget set and subsets", "train", _chosen_by(outcome))]
    if search is not None:
        selections.append(
            Selection(
                "plans of the searches, and the values in vanilla, shuffle and rum_f",
                f"validation{half}",
                f"{search.seeds} search seeds, and {search.fresh} fresh ones for the finalists",
            )
        )
    seeds = ", ".join(map(str, outcome.experiment.seeds))
    return (*selections, Selection("nothing: reported rows", "test", seeds))


def _warnings(outcome: Outcome, searches: Sequence[SearchSummary]) -> list[str]:
    """Return warnings about originals, pool, searches and seeds."""
    warnings, pool, seeds = [], outcome.examples.pool, len(outcome.experiment.seeds)
    given = outcome.experiment.recipe.weights, outcome.experiment.evaluate.retrained
    if given[1] is not None:
        warnings.append(
            "The references were given: initial weights and order of training of a reference are "
            "not those of the original of its seed, and there is no second noise floor."
        )
    if given[0] is not None and SEED not in given[0]:
        warnings.append(
            "All seeds, also those of the search, share one given original: intervals cover the "
            "draws of plans and of retraining, and the reference has other initial weights."
        )
    if pool is not None and pool.held_out:
        warnings.append(
            f"The reference 'pool' asks {pool.held_out} of the leave-k-out models, so "
            "only the others score the examples: another forget set than without it."
        )
    for search in searches:
        for count, did in (
            (search.infeasible, "cost more than the cap"),
            (search.diverged, "diverged"),
        ):
            if count:
                warnings.append(f"{search.space}: {count} of {search.trials} trials {did}.")
        if search.starts:
            first = f"the first {search.starts} of {search.trials} trials"
            warnings.append(f"{search.space}: {first} were given by search.start, not found.")
    if seeds == 1:
        warnings.append("One seed has no interval.")
    elif seeds < 5:
        warnings.append(f"Only {seeds} seeds: intervals are wide.")
    return warnings


def _plan_warnings(rows: Sequence[Row]) -> list[str]:
    """Return warnings about plans of RUM that cost as much as retraining, or gain nothing."""
    warnings = []
    (nothing,) = (row.metrics["objective"].mean for row in rows if row.method == "original")
    for row in rows:
        if row.method != "rum":
            continue
        name = f"The plan of the {row.source}"
        cost, objective = (row.metrics[key].mean for key in ("cost", "objective"))
        if cost is not None and cost >= 1:
            warnings.append(f"{name} costs {100 * cost:.0f} % of retraining: retrain instead.")
        if objective is not None and nothing is not None and objective <= nothing:
            warnings.append(f"{name} scores no better than doing nothing.")
    return warnings
