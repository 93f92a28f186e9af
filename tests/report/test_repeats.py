"""The report over repeats: its sections, its words, and the way to the single reports."""

import re
from dataclasses import replace

import pytest

from rum_ray.report.blocks import Section, Table
from rum_ray.report.gallery import Gallery
from rum_ray.report.render import html, markdown
from rum_ray.report.sections import sections
from rum_ray.results.repeats import combine
from rum_ray.results.report import Report
from rum_ray.results.schema import ExperimentSummary, Summary

from .shapes import demo

IDENTITY = ExperimentSummary("many", "0" * 64, "name: many")


def many(repeats: list[Summary]) -> Report:
    whole = demo()
    return Report(combine(IDENTITY, repeats), whole.scores, whole.trials)


@pytest.fixture(scope="module")
def shown() -> tuple[Section, ...]:
    """The demo three times, once with a weaker plan."""
    summary = demo().summary
    rows = tuple(
        replace(row, metrics={n: replace(m, mean=m.mean and m.mean - 0.01)
                              for n, m in row.metrics.items()})
        if row.method == "rum" else row
        for row in summary.rows
    )  # fmt: skip
    return sections(many([summary, summary, replace(summary, rows=rows)]), Gallery())


def test_the_page_speaks_of_repeats(shown):
    names = [section.id for section in shown]
    assert names[:2] == ["top", "result"]
    assert "repeats" in names
    assert not {"scores", "search", "ladder", "forecast"} & {*names}
    text = markdown.render(shown).split("```yaml")[0]
    for word in ("3 repeats", "over 3 forget sets", "In 3 of 3 repeats"):
        assert word in text
    for word in ("for this forget set", "on every seed", "nan", "None"):
        assert word not in text


def test_the_table_leads_to_each_report(shown):
    (section,) = (each for each in shown if each.id == "repeats")
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert [row.cells[0].text for row in table.rows] == ["repeat1", "repeat2", "repeat3"]
    links = re.findall(r'<a href="(repeat\d/report\.html)">', html.render(shown))
    assert links == [f"repeat{number}/report.html" for number in (1, 2, 3)]
