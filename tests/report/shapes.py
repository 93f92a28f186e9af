"""Reports of studies in every shape, derived from a real one.

`demo/` is the report of the embedded experiment, with fewer metrics and rounded numbers. Every
other shape is the demo with parts replaced; mypy checks that they are summaries.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from rum_ray.evaluation.statistics import Mean, compare
from rum_ray.report.gallery import Gallery, Group, Picture
from rum_ray.report.text import label
from rum_ray.results.report import Report
from rum_ray.results.schema import (
    Bill,
    Claim,
    Difference,
    Entanglement,
    FinalistSummary,
    FrontPoint,
    Ladder,
    Metric,
    Pick,
    PlanStep,
    ReferenceSummary,
    Regret,
    Row,
    Rung,
    SearchSummary,
    Summary,
)

DEMO = Path(__file__).parent / "demo"
UNKNOWN = Metric.missing("nothing was measured")


def demo() -> Report:
    """10 seeds, 20 rows, three searches of 24 trials, the ladder V0, V1, V4; one reference."""
    return Report.read(DEMO)


def simple() -> Report:
    """The demo without the ladder."""
    report = demo()
    return changed(report, ladder=None)


def gallery(*, color: bool = False, classes: tuple[str, ...] = tuple("0123456789")) -> Gallery:
    """40 pictures of real digits, half of the first 20 with wrong labels."""
    images, pictures = load_digits().images, list[Picture]()
    groups: tuple[tuple[Group, int], ...] = (("most", 20), ("medium", 10), ("low", 10))
    for group, count in groups:
        for place in range(count):
            pixels = (images[len(pictures)][None] * 15.9).astype(np.uint8)
            if color:
                pixels = np.concatenate([pixels, pixels // 2, 255 - pixels])
            truth = classes[(place + (group == "most" and place % 2)) % 10]
            label_ = classes[place % 10]
            pictures.append(Picture(97 + place, pixels, label_, truth, 1 - place / 20, group))
    return Gallery(tuple(pictures))


def changed(report: Report, **parts: object) -> Report:
    """A report with parts of its summary replaced."""
    return replace(report, summary=replace(report.summary, **parts))  # type: ignore[arg-type]


def with_rows(report: Report, change: Callable[[Row], Row]) -> Report:
    """A report with every row changed."""
    return changed(report, rows=tuple(map(change, report.summary.rows)))


def with_metrics(row: Row, metrics: Mapping[str, Metric]) -> Row:
    """A row with metrics added or replaced."""
    return replace(row, metrics={**row.metrics, **metrics})


def by_label(report: Report) -> dict[str, Row]:
    """The rows by their labels."""
    return {label(row): row for row in report.summary.rows}


def metric(values: np.ndarray) -> Metric:
    """The metric of values, one per seed."""
    found = Mean.of(values)
    return Metric(found.mean, found.ci95, found.values)


def shifted(row: Row, shift: float, rng: np.random.Generator, **parts: object) -> Row:
    """A row whose objective is lower by about `shift`."""
    names = (("tow", 0.75), ("mia_gap", -0.25), ("objective", 1.0))
    noise = {name: rng.normal(0, 0.01, len(row.seeds)) for name, _ in names}
    moved = {
        name: metric(np.array(row.metrics[name].values) - shift * part + noise[name])
        for name, part in names
    }
    return replace(with_metrics(row, moved), **parts)  # type: ignore[arg-type]


def claim(a: Row, b: Row, names: tuple[str, str], p: float = 0.004) -> Claim:
    """The claim that one row is better than another."""
    found = compare(*(np.array(row.metrics["objective"].values, dtype=float) for row in (a, b)))
    return Claim(
        *names,
        metric="objective",
        mean=found.mean,
        low=found.low,
        high=found.high,
        p=p,
        p_holm=p,
        shown=found.low > 0 and p < 0.05,
    )


RUNGS = (
    ("V0", "best_single", 0.09),
    ("V1", "refined", 0.06),
    ("V2", "ordered", 0.058),
    ("V3", "untuned", 0.055),
    ("V4", "rum", 0.0),
    ("shuffle", "shuffled", 0.085),
)


def busy() -> Report:
    """A study with all five spaces, the ladder and its control, and three references."""
    report, rng = demo(), np.random.default_rng(11)
    rum = by_label(report)["RUM (search)"]
    rungs_of = {method for _, method, _ in RUNGS} - {"rum"}
    rows = {s: shifted(rum, shift, rng, method=m) for s, m, shift in RUNGS} | {"V4": rum}
    others = {
        name: shifted(rum, shift, rng, source=name)
        for name, shift in (("surrogate", 0.009), ("pool", 0.04))
    }
    kept = [row for row in report.summary.rows if row.method not in rungs_of]
    kept.append(_second_floor(by_label(report)["retrained again"], rng))
    all_rows = (*kept, *(row for space, row in rows.items() if space != "V4"), *others.values())
    frames, searches = [], []
    for place, (name, reference) in enumerate(
        [*((space, "oracle") for space in ("V0", "V1", "V2", "V3", "V4")), *SIDE]
    ):
        frame = report.trials[report.trials["search"] == ("V0" if place == 0 else "V4")].copy()
        frame["search"] = name if reference == "oracle" else f"{name} {reference}"
        frame["objective"] += 0.01 * place + rng.normal(0, 0.02, len(frame))
        frames.append(frame)
        searches.append(_search(report.summary.searches[-1], frame, name, reference))
    pairs = [("V1", "V0"), ("V2", "V1"), ("V3", "V2"), ("V4", "V3"), ("V1", "shuffle")]
    claims = [claim(rows[a], rows[b], (a, b)) for a, b in (*pairs, ("V4", "V0"))]
    first = replace(report.summary.comparisons[0], mean=0.02, low=-0.01, high=0.05, shown=False)
    first = told(first, "not shown", detectable=0.043)
    *before, last = searches[:5]
    searches[:5] = [*before, replace(last, finalists=_finalists(last), budget=22.0, whole=22.4)]
    return replace(
        changed(
            report,
            rows=all_rows,
            searches=tuple(searches),
            ladder=Ladder(tuple(_rung(s, rows[s]) for s in rows), tuple(claims)),
            references=tuple(_references(rum, others)),
            comparisons=(first, *report.summary.comparisons[1:]),
            decides="objective_auc",
            variants=_variants(kept),
            bill=Bill(90.0, 56.0, 5.0, 0.41, 151.41, 151.0, 0.41, 256),
        ),
        trials=pd.concat(frames, ignore_index=True),
    )


def told(claim_: Claim, verdict: str, **parts: object) -> Claim:
    """A claim with a verdict, and leads in other metrics that are against it or for it."""
    lead = Difference("objective_auc", claim_.mean, claim_.low, claim_.high, 0.01, 0.02, verdict)
    leads = [replace(lead, verdict="worse" if verdict == "worse" else "shown")]
    leads += [replace(lead, metric=name, mean=-0.03, verdict="worse") for name in AGAINST]
    leads.append(replace(lead, metric="js_forget", verdict="not shown"))
    parts = {"by": tuple(leads), "against": AGAINST, **parts}
    return replace(claim_, metric="objective_auc", verdict=verdict, **parts)  # type: ignore[arg-type]


AGAINST = ("tow_examples", "u_lira_gap")
ONLY = "shown by ToW - gap only"


def _variants(rows: list[Row]) -> tuple[Claim, ...]:
    """Claims that RUM^F is better than vanilla, of which another metric contradicts the first."""
    pairs = [
        (row, other)
        for row in rows
        for other in rows
        if (row.method, other.method, row.unlearner) == ("rum_f", "vanilla", other.unlearner)
    ]
    found = [claim(a, b, (f"rum_f {a.unlearner}", f"vanilla {a.unlearner}")) for a, b in pairs]
    return (told(found[0], ONLY), *found[1:])


def _second_floor(row: Row, rng: np.random.Generator) -> Row:
    """The row of models retrained in another order."""
    gaps = {name: metric(rng.uniform(0, 0.01, len(row.seeds))) for name in GAPS}
    found = shifted(row, -0.01, rng, method="retrained_reordered", worst=0.91, collapsed=0)
    return with_metrics(found, gaps)


GAPS = ("accuracy_gap_retain", "accuracy_gap_test")


def _finalists(search: SearchSummary) -> tuple[FinalistSummary, ...]:
    """The pick, and a plan that was dropped."""
    best = search.best
    values = (best.cost, best.objective, best.validated, 0.8, 0.9, 0.02, 0.05, 0.97)
    first = FinalistSummary(best.plan, *values, None)
    return first, replace(first, plan=search.front[0].plan, dropped="fails on a fresh seed")


SIDE = (("V4", "surrogate"), ("V4", "pool"))


def _rung(space: str, row: Row) -> Rung:
    parts = (row.metrics[name] for name in ("objective", "tow", "cost"))
    return Rung(space, row.method, 24, *parts)


def _references(rum: Row, others: Mapping[str, Row]) -> list[ReferenceSummary]:
    found = [ReferenceSummary("oracle", True, 24, 5, rum.metrics["objective"], None)]
    for name, row in others.items():
        loss = claim(rum, row, ("", ""))
        regret = Regret(loss.mean, loss.low, loss.high, 0.08 if name == "surrogate" else 0.002)
        trainings = 5 if name == "surrogate" else 0
        objective = row.metrics["objective"]
        found.append(ReferenceSummary(name, False, 24, trainings, objective, regret))
    return found


def _search(search: SearchSummary, frame: pd.DataFrame, space: str, ref: str) -> SearchSummary:
    """A search whose pick, front and expected best are those of its trials."""
    known = frame[frame["status"] == "complete"]
    best = known[known["objective"] == known["objective"].max()].iloc[0]
    points: list[FrontPoint] = []
    for row in known.sort_values(["cost", "objective"]).to_dict("records"):
        if not points or row["objective"] > points[-1].objective:
            points.append(
                FrontPoint(row["objective"], row["cost"], steps(row["plan"]), row["trial"])
            )
    values = np.sort(frame["objective"].fillna(-1.0))
    below = np.arange(len(values) + 1) / len(values)
    expected = [float(np.diff(below**n) @ values) for n in range(1, len(values) + 1)]
    objective = float(best["objective"])
    pick = Pick(steps(best["plan"]), objective, objective - 0.013, float(best["cost"]))
    return replace(
        search,
        name=space,
        space=space,
        reference=ref,
        best=pick,
        front=tuple(points),
        expected_best=tuple(expected),
    )


def steps(plan: str) -> tuple[PlanStep, ...]:
    """The steps of a plan of trials.parquet."""
    return tuple(PlanStep(**step) for step in json.loads(plan))


def no_search() -> Report:
    """A study whose plan is from the file: no trials, no claims, no ladder."""
    report = demo()
    rows = tuple(row for row in report.summary.rows if row.source != "search")
    report = changed(report, rows=rows, searches=(), comparisons=(), ladder=None)
    return replace(report, trials=report.trials.iloc[:0])


def one_seed() -> Report:
    """A study of one seed: no intervals, no claims."""

    def first(found: Metric) -> Metric:
        return replace(found, ci95=None, values=found.values[:1])

    def cut(row: Row) -> Row:
        metrics = {name: first(found) for name, found in row.metrics.items()}
        return replace(row, seeds=row.seeds[:1], metrics=metrics)

    report = with_rows(demo(), cut)
    assert report.summary.ladder is not None
    rungs = tuple(
        replace(r, objective=first(r.objective), tow=first(r.tow), cost=first(r.cost))
        for r in report.summary.ladder.rungs
    )
    return changed(report, comparisons=(), ladder=Ladder(rungs, ()))


def one_subset() -> Report:
    """A forget set without refinement."""
    report = demo()
    subset = replace(report.summary.subsets[0], name="all", size=120)
    return changed(report, subsets=(subset,), entanglement=Entanglement())


def no_proxies() -> Report:
    """Scores without proxies, in report and table."""
    report = demo()
    scores = report.scores.drop(columns=["confidence", "cumulative_loss"])
    report = changed(report, scores=replace(report.summary.scores, proxies={}))
    return replace(report, scores=scores)


def file_scores() -> Report:
    """Scores from a file: no pool, no errors, no wrong labels known."""
    report = demo()
    scores = replace(
        report.summary.scores,
        name="my_score",
        models=None,
        fraction=None,
        split_half=None,
        changed_share=None,
        standard_error=None,
        auc_flipped=None,
        proxies={},
    )
    frame = report.scores.assign(my_score=report.scores["memorization"], memorization=np.nan)
    frame = frame.drop(columns=["confidence", "cumulative_loss", "true_label"])
    return replace(changed(report, scores=scores), scores=frame)


def no_scores() -> Report:
    """Subsets without scores: every score is NaN."""
    report = demo()
    nan = math.nan
    subsets = tuple(
        replace(subset, score=nan, score_low=nan, score_high=nan)
        for subset in report.summary.subsets
    )
    columns = ["memorization", "standard_error", "confidence", "cumulative_loss"]
    scores = report.scores.assign(**dict.fromkeys(columns, np.nan))
    return replace(changed(report, subsets=subsets), scores=scores)


def few_scores() -> Report:
    """One example with a score and a proxy."""
    report = no_scores()
    scores = report.scores.copy()
    scores.loc[3, ["memorization", "confidence"]] = 0.5
    return replace(report, scores=scores)


def diverged() -> Report:
    """A study in which everything diverged: no objective, no trial, no entanglement."""

    def fail(row: Row) -> Row:
        return replace(row, metrics=dict.fromkeys(row.metrics, UNKNOWN))

    report = with_rows(demo(), fail)
    subsets = tuple(
        replace(s, entanglement_score=UNKNOWN, mmd_median=UNKNOWN, two_sample_auc=UNKNOWN)
        for s in report.summary.subsets
    )
    assert report.summary.ladder is not None
    rungs = tuple(
        replace(rung, objective=UNKNOWN, tow=UNKNOWN, cost=UNKNOWN)
        for rung in report.summary.ladder.rungs
    )
    searches = tuple(
        replace(search, front=(), expected_best=(None,) * 24, complete=0, diverged=24)
        for search in report.summary.searches
    )
    trials = report.trials.assign(status="diverged", objective=np.nan, cost=np.nan)
    report = changed(report, subsets=subsets, ladder=Ladder(rungs, ()), searches=searches)
    return replace(changed(report, comparisons=()), trials=trials)


def not_finite() -> Report:
    """Numbers that are not finite, of Python and of NumPy."""

    def fail(row: Row) -> Row:
        nan = Metric(math.nan, math.nan, (math.nan,) * len(row.seeds))
        return row if row.method in ("retrained", "rum") else with_metrics(row, {"objective": nan})

    report = with_rows(demo(), fail)
    scores = replace(report.summary.scores, split_half=np.float64(0.5), auc_flipped=math.nan)
    infinite = Metric(math.inf, None, (math.inf, 2.0))
    first = replace(report.summary.subsets[0], entanglement_score=infinite)
    return changed(report, scores=scores, subsets=(first, *report.summary.subsets[1:]))


def nothing_measured() -> Report:
    """A study without rows, subsets and stages."""
    report = changed(no_search(), rows=(), subsets=(), stages=(), selected_on=(), warnings=())
    return replace(report, scores=pd.DataFrame({"id": [0]}), trials=pd.DataFrame())


SHAPES: Mapping[str, Callable[[], Report]] = {
    "busy": busy,
    "diverged": diverged,
    "few scores": few_scores,
    "file scores": file_scores,
    "no proxies": no_proxies,
    "no scores": no_scores,
    "no search": no_search,
    "not finite": not_finite,
    "nothing": nothing_measured,
    "one seed": one_seed,
    "one subset": one_subset,
}

NASTY = (
    "<script>alert(1)</script>",
    '"><img onerror=x>',
    "a|b`c",
    "\x1b[31mred",
    "'--><svg/onload=x>",
)


def nasty() -> Report:
    """The demo without a ladder, in which every name is an attack."""
    report = simple()
    script, image = NASTY[:2]
    summary: Summary = report.summary
    config = f"name: {script}\n# ```\n<b>bold</b>\n"

    def rename(row: Row) -> Row:
        name = f"{image}:$x^2$" if row.unlearner == "finetune" else row.unlearner
        plan = tuple(replace(step, subset=script) for step in row.plan)
        return replace(row, unlearner=name, plan=plan if row.method == "rum" else row.plan)

    report = changed(
        report,
        experiment=replace(summary.experiment, name=script, config=config),
        data=replace(summary.data, name=image, classes=NASTY * 2),
        environment=replace(summary.environment, hardware=script),
        warnings=NASTY,
        subsets=tuple(replace(subset, name=script) for subset in summary.subsets),
        searches=(replace(summary.searches[0], name=script, space=NASTY[4]), *summary.searches[1:]),
        comparisons=(replace(summary.comparisons[0], a=NASTY[3]), *summary.comparisons[1:]),
        rows=tuple(map(rename, summary.rows)),
    )
    return replace(report, trials=report.trials.replace({"search": {"V1": script}}))
