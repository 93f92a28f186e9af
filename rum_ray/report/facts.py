"""The plain tables of a report, as text: the same for HTML and Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.report.ranking import same, verdict
from rum_ray.report.text import (
    DASH,
    KNOWLEDGE,
    OBJECTIVE,
    Json,
    count,
    duration,
    interval,
    number,
    p_value,
    percent,
    share,
    space,
    span,
    unlearner,
    values,
)


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        columns: the header.
        rows: the cells; the first of each names its row.
        words: columns that hold words, and are set left; all others hold numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})


def subsets(report: Json) -> Table:
    """Return the subsets of the forget set."""
    columns = (
        "subset",
        "examples",
        "mean score",
        "from",
        "to",
        "wrong labels",
        "entanglement score",
        "MMD (median)",
        "probe AUC",
    )
    cells = tuple(
        (
            subset["name"],
            count(subset["size"]),
            *(number(subset.get(key)) for key in ("score", "score_low", "score_high")),
            count(subset.get("flipped")),
            interval(subset.get("entanglement_score"), 2),
            interval(subset.get("mmd_median")),
            interval(subset.get("two_sample_auc"), 2),
        )
        for subset in report["subsets"]
    )
    return Table(columns, cells)


def proxies(report: Json) -> Table:
    """Return how well each proxy ranks like the score, and would have split the forget set."""
    known = report["scores"].get("proxies") or {}
    cells = tuple(
        (
            name.replace("_", " "),
            interval({**entry, "mean": entry.get("spearman")}),
            span(entry.get("low"), entry.get("high")),
            share(entry.get("same_subset")),
            count(len(entry.get("values") or [])),
        )
        for name, entry in known.items()
    )
    return Table(("proxy", "Spearman", "over examples", "same subset", "runs"), cells)


def plan(steps: Sequence[Json], settings: bool = False) -> str:
    """Return a plan on one line, with the values of its unlearners if wanted."""
    parts = []
    for step in steps:
        fields = values(step) if settings else []
        inside = f" ({', '.join(fields)})" if fields else ""
        parts.append(f"{step['subset']}: {unlearner(step['unlearner']['name'])}{inside}")
    return " → ".join(parts) or DASH


def searches(report: Json) -> Table:
    """Return what each search was given and what it found."""
    columns = (
        "space",
        "trials",
        "drawn again",
        "infeasible",
        "diverged",
        "J of its pick",
        "on fresh seeds",
        "cost",
    )
    counted = ("trials", "drawn_again", "infeasible", "diverged")
    cells = []
    for search in report["searches"]:
        best = search.get("best") or {}
        cells.append(
            (
                space(str(search["space"])) + _reference(report, search),
                *(count(search.get(key)) for key in counted),
                number(best.get("objective")),
                number(best.get("validated")),
                percent(best.get("cost")),
                duration(search.get("seconds")),
                plan(best.get("plan") or []),
            )
        )
    return Table((*columns, "time", "its pick"), tuple(cells), frozenset({0, 9}))


def _reference(report: Json, search: Json) -> str:
    """Return by which reference a search was made, if it is not the main one's, and its own set."""
    main, own = (each["reference"] for each in (report["searches"][0], search))
    practised = " on its matched set" if own == "surrogate" else ""
    return practised if own == main else f", by the {own}{practised}"


def front(search: Json) -> Table:
    """Return the plans of a search that no cheaper one matches, by rising cost."""
    picked = search["best"]["plan"]
    cells = tuple(
        (
            count(point["trial"]) + (", picked" if point["plan"] == picked else ""),
            percent(point["cost"]),
            number(point["objective"]),
            plan(point["plan"]),
        )
        for point in search["front"]
    )
    return Table(("trial", "cost", OBJECTIVE, "plan"), cells, frozenset({0, 3}))


def references(report: Json) -> Table:
    """Return what a plan is worth by what its search knew, and what knowing that takes."""
    columns = (
        "reference",
        "what it knows",
        "trials",
        "trainings",
        OBJECTIVE,
        "regret",
        "95 % interval",
        "p",
    )
    cells = []
    for entry in report["references"]:
        name, regret = entry["reference"], entry.get("regret") or {}
        cells.append(
            (
                f"{name}, main" if entry.get("main") else name,
                KNOWLEDGE[name],
                count(entry["trials"]),
                count(entry["trainings"]),
                interval(entry["objective"]),
                *_difference(regret),
                "the same plan" if same(regret) else p_value(regret.get("p")),
            )
        )
    return Table(columns, tuple(cells), frozenset({0, 1}))


def claims(comparisons: Sequence[Json]) -> Table:
    """Return each claim with its interval, and whether it is shown."""
    columns = ("claim", "difference", "95 % interval", "p", "p, Holm", "verdict")
    cells = tuple(
        (
            f"{claim['a']} better than {claim['b']}",
            *_difference(claim),
            *(DASH if same(claim) else p_value(claim.get(key)) for key in ("p", "p_holm")),
            verdict(claim),
        )
        for claim in comparisons
    )
    return Table(columns, cells, frozenset({0, 5}))


def _difference(claim: Json) -> tuple[str, str]:
    """Return a difference and its interval; of what is the same there is none."""
    if same(claim):
        return DASH, DASH
    return number(claim.get("mean"), sign=True), span(claim.get("low"), claim.get("high"))


def selected(report: Json) -> Table:
    """Return what was selected on what."""
    cells = tuple(
        tuple(str(e[k]) for k in ("what", "split", "seeds")) for e in report["selected_on"]
    )
    return Table(("what", "on", "seeds"), cells, frozenset({0, 1, 2}))


def stages(report: Json) -> Table:
    """Return what each stage took."""
    total = sum(stage.get("seconds") or 0.0 for stage in report["stages"])
    cells = tuple(
        (
            stage["name"],
            duration(stage.get("seconds")),
            percent((stage.get("seconds") or 0.0) / total if total else None),
            *(count(stage.get(key)) for key in ("trainings", "made", "reused")),
        )
        for stage in report["stages"]
    )
    return Table(("stage", "time", "share", "trainings", "made", "reused"), cells)


def costs(report: Json) -> Table:
    """Return what each part cost."""
    found = [(key, value) for key, value in report["costs"].items() if key != "unit"]
    total = sum(value or 0.0 for _, value in found)
    cells = [(name, number(value, 1)) for name, value in (*found, ("together", total))]
    return Table(("part", str(report["costs"].get("unit", "cost"))), tuple(cells))


def environment(report: Json) -> Table:
    """Return versions, hardware and the digest."""
    known = {**report["environment"], "digest": report["experiment"].get("digest")}
    cells = tuple((k, str(v)) for k, v in known.items() if v is not None and k != "dashboard")
    return Table(("what", "value"), cells, frozenset({0, 1}))
