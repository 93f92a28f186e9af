"""The wording of claims, of their verdicts, and of the bill: one form for every output."""

from collections.abc import Sequence

from rum_ray.report.ranking import is_same, is_worse, subject, verdict
from rum_ray.report.text import (
    finite,
    format_count,
    format_interval,
    format_number,
    join_words,
    label,
    labelled,
    metric_title,
    searched_title,
)
from rum_ray.results.claims import unequal
from rum_ray.results.schema import Bill, Claim, Row, Summary

SCOPE = "for this forget set"
SINGLE = "the best single unlearner"


def scope(claim: Claim) -> str:
    """Return the reach of a claim as the end of a clause; empty for one over many forget sets."""
    return f" {SCOPE}" if claim.repeats == 1 else f" over {claim.repeats} forget sets"


def measured(claim: Claim) -> str:
    """Return the lead with its interval and its metric."""
    lead = f"{format_number(claim.mean, sign=True)} {format_interval(claim.low, claim.high)}"
    return f"{lead} in {metric_title(claim.metric)}"


def power(claim: Claim) -> str:
    """Return the difference that would have been found, as a clause; empty if it is unknown."""
    found = finite(claim.detectable)
    if found is None:
        return ""
    return f"; {format_number(found)} would have been found with a probability of 80 %"


def sentence(claim: Claim) -> str:
    """Return the verdict on a claim as a sentence, with what is shown against it."""
    a, b = claim.a, claim.b
    if is_same(claim):
        return f"{a} and {b} are equal on every {'seed' if claim.repeats == 1 else 'repeat'}."
    if is_worse(claim):
        return f"{a} is worse than {b}{scope(claim)}: {measured(claim)}."
    told = f"{a} better than {b}: {verdict(claim)}{scope(claim)} ({measured(claim)}"
    if claim.against:
        return f"{told}), and worse in {titles(claim.against)}."
    return f"{told}{power(claim) if verdict(claim) == 'not shown' else ''})."


def titles(metrics: Sequence[str]) -> str:
    """Return the names of metrics, joined as in a sentence."""
    return join_words([metric_title(name) for name in metrics])


def others(claim: Claim) -> str:
    """Return the co-primary metrics beside the one that decides that show something."""
    leads = [lead for lead in claim.by if lead.metric != claim.metric]
    found = []
    for words, wanted in (("for", "shown"), ("against", "worse")):
        names = [lead.metric for lead in leads if lead.verdict == wanted]
        if names:
            found.append(f"{words}: {titles(names)}")
    return "; ".join(found)


def headline_claim(summary: Summary) -> Claim | None:
    """Return the claim of the headline, with the labels of its rows: over the best single one."""
    found = labelled(summary.comparisons, summary.rows)
    return found[0] if found else None


def shares_best_single(row: Row | None) -> bool:
    """Return True if a row is also that of the best single unlearner."""
    return row is not None and "best_single" in [name.method for name in row.also]


def headline(summary: Summary) -> str:
    """Return the verdict on RUM's plan against the best single unlearner; empty if not tested."""
    if shares_best_single(subject(summary.rows)):
        return "The plan of the search is that of the best single unlearner."
    claim = headline_claim(summary)
    return "" if claim is None else sentence(claim)


def variants(summary: Summary) -> str:
    """Return the verdict on RUM^F against vanilla for each unlearner; empty without such rows."""
    claims = labelled(summary.variants, summary.rows)
    told = [f"{each.a.removesuffix(' RUM^F')} {verdict(each)}" for each in claims]
    left_out = [label(row).removesuffix(" RUM^F") for row in unequal(summary.rows)]
    found = f"RUM^F better than vanilla{scope(claims[0])}: {join_words(told)}." if told else ""
    if left_out:
        found += f" RUM^F and vanilla are not compared for {join_words(left_out)}: one is untuned."
    return found.strip()


def expected(summary: Summary) -> str:
    """Return the value that the search expects of its plan; empty without a search."""
    row = subject(summary.rows)
    found = [s for s in summary.searches if s.reference == summary.searches[0].reference]
    if row is None or (row.method, row.source) != ("rum", "search") or not found:
        return ""
    value = finite(found[-1].best.validated)
    if value is None:
        return ""
    return (
        f"The expected value of the plan is {format_number(value)} in {searched_title(found[-1])}: "
        "the mean on seeds that were not searched, on validation data."
    )


def bill(found: Bill | None) -> str:
    """Return the whole cost of the plan, and the number of requests that pay for it."""
    if found is None:
        return ""
    parts = [
        f"{name} {_trainings(getattr(found, name))}"
        for name in ("scores", "search", "references", "plan")
    ]
    total = f"The whole bill: {' + '.join(parts)} = {_trainings(found.total)} trainings."
    each = f"each request costs {_trainings(found.per_request)} of a retraining"
    if found.break_even is None:
        return f"{total} It is never cheaper than retraining: {each}, all of it counted."
    first = format_count(found.break_even)
    return f"{total} It is cheaper than retraining from request {first} on: {each}."


def _trainings(value: float) -> str:
    return format_number(value, 1 if value >= 10 else 2)
