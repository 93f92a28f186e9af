"""The page of several studies: one table, and figures where the studies are levels."""

from dataclasses import replace

import pytest

from rum_ray.report.blocks import Figure, Section, Table
from rum_ray.report.files import write_compared
from rum_ray.report.render import html, markdown
from rum_ray.report.sections.compared import sections, short_names
from rum_ray.report.text import DASH
from rum_ray.results.schema import ExperimentSummary, Metric, Summary

from .shapes import demo
from .test_browser import look


def study(name: str, shift: float = 0.0, **forget: object) -> Summary:
    """The demo under another name and forget set, with every value moved."""

    def moved(metric: Metric) -> Metric:
        values = tuple(v and v + shift * (1 + place) for place, v in enumerate(metric.values))
        return replace(metric, mean=metric.mean and metric.mean + shift, values=values)

    summary = demo().summary
    rows = tuple(
        replace(row, metrics={name: moved(metric) for name, metric in row.metrics.items()})
        for row in summary.rows
    )
    identity = ExperimentSummary(name, "0" * 64, "")
    chosen = replace(summary.forget, **forget)
    return replace(summary, experiment=identity, rows=rows, forget=chosen)


def levels(by: str = "score", name: str = "memorization") -> list[Summary]:
    picks = {"low": 0.0, "medium": -0.01, "high": -0.02}
    return [study(f"{name}-{pick}", shift, pick=pick, by=by) for pick, shift in picks.items()]


@pytest.fixture(scope="module")
def both() -> list[Summary]:
    return [*levels("entanglement", "es"), *levels()]


def blocks(shown: tuple[Section, ...], kind: type) -> list:
    return [block for section in shown for block in section.blocks if isinstance(block, kind)]


def test_levels_are_drawn_for_each_metric_in_panels(both):
    figures = blocks(sections(both), Figure)
    # The demo has no example-level ToW.
    assert [figure.name for figure in figures] == ["levels-tow", "levels-tow_mia"]
    for figure in figures:
        for word in ("entanglement", "memorization", "low", "medium", "high", "noise floor"):
            assert f">{word}<" in figure.svg
    assert "by entanglement and" in figures[0].title


def test_levels_are_named_wherever_they_are_among_the_studies():
    shown = sections([study("plain"), *levels()[::-1]])
    (figure, *_) = blocks(shown, Figure)
    count = len([row for row in demo().summary.rows if row.method == "vanilla"])
    assert f"{count} of {count} unlearners by memorization" in figure.title


@pytest.mark.parametrize(
    "studies",
    [
        [study("a"), study("b", 0.01)],
        [study("a", pick="low"), study("b", pick="random")],
        [study("a", pick="low"), study("b", pick="high", by="entanglement")],
    ],
    ids=["no levels", "one level", "one level of each kind"],
)
def test_other_studies_have_a_table_alone(studies):
    shown = sections(studies)
    assert not blocks(shown, Figure)
    assert [section.id for section in shown] == ["top", "methods"]


def test_the_table_has_each_method_in_each_study(both):
    (table,) = blocks(sections(both), Table)
    groups: dict[int, list[str]] = {}
    for row in table.rows:
        groups.setdefault(row.group, []).append(row.cells[1].text)
    assert {tuple(names) for names in groups.values()} == {tuple(s.experiment.name for s in both)}
    first, second = table.rows[0], table.rows[1]
    assert first.cells[-1].text == DASH
    assert "[" in second.cells[-1].text
    assert second.cells[-1].tag == "shown"
    assert "are shown" in table.title


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["es-small-low", "es-small-high"], ["low", "high"]),
        (["es-small-low", "memorization-small-low"], ["es", "memorization"]),
        (["demo", "other"], ["demo", "other"]),
        (["demo", "demo-again"], ["demo", "demo-again"]),
    ],
)
def test_names_are_told_without_what_all_of_them_share(names, expected):
    assert [*short_names([study(name) for name in names]).values()] == expected


def test_other_seeds_are_told_without_a_lead():
    other = study("b")
    other = replace(other, rows=tuple(replace(r, seeds=tuple(range(90, 100))) for r in other.rows))
    (table,) = blocks(sections([study("a"), other]), Table)
    assert "seeds in common" in table.title
    assert {row.cells[-1].text for row in table.rows} == {DASH}


def test_names_cannot_control_the_page():
    nasty = study("<script>\x1b[31m", pick="low")
    text = html.render(sections([nasty, study("b", pick="high")]))
    assert "<script" not in text
    assert "\x1b" not in text


def test_the_page_is_written_with_its_markdown(both, tmp_path):
    page = write_compared(tmp_path / "new", both)
    assert page.read_text("utf-8") == html.render(sections(both))
    text = (tmp_path / "new" / "compared.md").read_text("utf-8")
    assert text == markdown.render(sections(both))
    for word in ("nan", "None"):
        assert word not in text


@pytest.mark.parametrize("width", [1300, 500])
def test_nothing_is_cut_or_overlaps(both, browse, tmp_path, width):
    found = look(write_compared(tmp_path, both), browse, tmp_path, width=width)
    assert found["figures"] == 2
    assert found["beyond"] <= 0, "the page is wider than the window"
    assert not found["overlaps"]
    assert not found["cut"]
