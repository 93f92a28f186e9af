"""The report as Markdown: the same sentences and tables, for a terminal or a pull request."""

import re

import pandas as pd

from rum_ray.report import attacks, facts, figure_search, findings, findings_search, ladder, tables
from rum_ray.report.facts import Table
from rum_ray.report.findings_search import PICK, PICKS
from rum_ray.report.ranking import metric, subject
from rum_ray.report.text import OBJECTIVE, Json, number, share

# Intervals keep their brackets, words their underscores; the rest may be markup somewhere.
_SPECIAL = re.compile(r"([\\`*|~$]|\[(?![\d\u2212])|^[#>+-](?= )|(?<!\w)_|_(?!\w))")
PROXIES = (
    "Spearman with the score ± half of the 95 % interval over runs, and its 95 % interval over "
    "examples. Same subset: share of the forget set that the proxy would have put where the score "
    "did."
)
MARKS = {"best": ", best", "tied": ", ≈ best", "": ""}


def render(report: Json, trials: pd.DataFrame) -> str:
    """Return the report. `report` has every key and holds printable text only."""
    sections = (_top, _results, _scores, _search, _ladder, _references, _belief, _making)
    blocks = [block for section in sections for block in section(report, trials)]
    return "\n\n".join(blocks) + "\n"


def _top(report: Json, _: pd.DataFrame) -> list[str]:
    numbers = tuple((figure.name, figure.value, figure.note) for figure in findings.numbers(report))
    partial = (
        ["**Partial: some stages have not finished.**"] if report["status"] == "partial" else []
    )
    return [
        f"# {_text(findings.title(report))}",
        *partial,
        _text(findings.lead(report)),
        _table(Table(("what", "value", ""), numbers, frozenset({0, 2}))),
        _text(findings.conditions(report)),
    ]


def _results(report: Json, _: pd.DataFrame) -> list[str]:
    rows = tables.results(report)
    names = [bar.subset for bar in rows[0].bars] if rows else []
    columns = ("method", OBJECTIVE, "ToW", "MIA gap", "AUC gap", "test accuracy")
    cells = tuple(
        (
            row.name + MARKS[row.mark],
            *(row.objective, row.tow, row.mia_gap, row.auc_gap, row.test),
            *(number(bar.value) for bar in row.bars),
            row.cost,
        )
        for row in rows
    )
    head = (*columns, *(f"forget accuracy, {name}" for name in names), "cost")
    note = "Mean ± half of the 95 % interval over seeds. ≈ best: not told apart from the best."
    return [
        "## The result",
        f"**{_text(findings.table(report))}.**",
        _table(Table(head, cells)),
        f"{note} {tables.cap_note(rows)}".rstrip(),
        *_attacks(report),
    ]


def _attacks(report: Json) -> list[str]:
    table = attacks.table(report)
    if not table.rows:
        return []
    absent = attacks.absent(report)
    blocks = [f"**{_text(attacks.finding(report))}.**", _table(table), _text(attacks.READING)]
    return [*blocks, _text(absent)] if absent else blocks


def _scores(report: Json, _: pd.DataFrame) -> list[str]:
    blocks = ["## What is hard to forget"]
    auc = report["scores"].get("auc_flipped")
    if auc is not None:
        blocks.append(f"AUC of the score for wrong labels: {number(auc)}.")
    for table, absent in (
        (facts.subsets(report), "The forget set has no subsets."),
        (facts.proxies(report), "No proxies were computed."),
    ):
        blocks.append(_table(table) if table.rows else absent)
    if report["scores"].get("proxies"):
        blocks.append(PROXIES)
    return blocks


def _search(report: Json, trials: pd.DataFrame) -> list[str]:
    blocks, row = ["## How the plan was found"], subject(report["rows"])
    if row is not None and row.get("plan"):
        blocks.append(f"**{_text(findings_search.plan(report))}.**")
        blocks.append(
            f"{_text(facts.plan(row['plan'], settings=True))} (cost {share(metric(row, 'cost'))})"
        )
    if not report["searches"]:
        return [*blocks, "No search ran."]
    if not figure_search.complete(trials).empty:
        blocks.append(_text(findings_search.progress(report, trials)) + ".")
        blocks.append(_text(findings_search.cost(trials)) + ".")
    freest = findings_search.freest(report)
    if freest is not None:
        reading = _text(findings_search.reading(freest))
        blocks.append(f"**{_text(findings_search.front(freest))}.**")
        blocks += [_table(facts.front(freest)), reading, f"`{PICK}` {PICKS}"]
    return [*blocks, _table(facts.searches(report)), _text(findings_search.picks(report))]


def _ladder(report: Json, _: pd.DataFrame) -> list[str]:
    if not ladder.climbed(report):
        return []
    blocks = [
        "## The ladder",
        f"**{_text(ladder.finding(report))}.**",
        _table(ladder.rungs(report)),
    ]
    if ladder.claims(report):
        subsets = f"{_text(ladder.subsets(report))}."
        blocks += [subsets, _table(facts.claims(ladder.claims(report)))]
    return blocks


def _references(report: Json, _: pd.DataFrame) -> list[str]:
    if not report["references"]:
        return []
    return [
        "## What the search was allowed to know",
        f"**{_text(findings_search.references(report))}.**",
        _table(facts.references(report)),
        findings_search.REFERENCES,
    ]


def _belief(report: Json, _: pd.DataFrame) -> list[str]:
    blocks = ["## May one believe it?", _list(findings.reliability(report))]
    blocks.append(f"**{_text(findings.claims(report))}.**")
    if report["comparisons"]:
        blocks.append(_table(facts.claims(report["comparisons"])))
    if report["selected_on"]:
        blocks += ["What was selected on what:", _table(facts.selected(report))]
    warnings = report["warnings"]
    return [*blocks, "Warnings:", _list(warnings)] if warnings else [*blocks, "No warnings."]


def _making(report: Json, _: pd.DataFrame) -> list[str]:
    blocks = ["## How it was made"]
    if report["stages"]:
        blocks += [f"{_text(findings_search.stages(report))}.", _table(facts.stages(report))]
    if report["costs"]:
        blocks.append(_table(facts.costs(report)))
    blocks += [_table(facts.environment(report)), "All metrics:", _table(tables.metrics(report))]
    config = report["experiment"].get("config")
    return [*blocks, "Configuration:", _code(config)] if config else blocks


def _text(value: str) -> str:
    """Escape what Markdown or the HTML inside it would take for markup, and keep it on one line."""
    value = " ".join(value.split()).replace("&", "&amp;")
    value = re.sub(r"<(?! )", "&lt;", value)
    return _SPECIAL.sub(r"\\\1", value)


def _table(table: Table) -> str:
    rules = (":--" if i in table.words else "--:" for i in range(len(table.columns)))
    lines = (table.columns, *table.rows)
    head, *body = (f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)
    return "\n".join([head, f"| {' | '.join(rules)} |", *body])


def _list(items: list[str]) -> str:
    return "\n".join(f"- {_text(item)}" for item in items)


def _code(text: str) -> str:
    """Fence a text with more backticks than it has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"
