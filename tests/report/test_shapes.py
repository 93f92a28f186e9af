"""A report of every shape of study is written, complete, and consistent in itself."""

import json
import re

import pytest

from rum_ray.report.blocks import Block, Details, Pair, Table
from rum_ray.report.files import write
from rum_ray.report.gallery import Gallery
from rum_ray.report.sections import sections
from rum_ray.results.report import Report
from rum_ray.results.schema import Summary

from .shapes import SHAPES

FILES = ["report.html", "report.json", "report.md", "scores.parquet", "trials.parquet"]
SECTIONS = ["top", "result", "attacks", "scores", "search"]
ENDS = ["reliability", "making"]


def flat(blocks: tuple[Block, ...]) -> list[Block]:
    found: list[Block] = []
    for block in blocks:
        inside = {Details: ("blocks",), Pair: ("left", "right")}.get(type(block), ())
        parts = [getattr(block, name) for name in inside]
        nested = parts[0] if isinstance(block, Details) else tuple(parts)
        found += [block, *flat(nested)]
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_report(shape, tmp_path):
    report = SHAPES[shape]()
    write(tmp_path, report, Gallery())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    page = (tmp_path / "report.html").read_text("utf-8")
    text = (tmp_path / "report.md").read_text("utf-8")
    for word in ("nan", "inf", "None"):
        assert not re.search(rf"\b{word}\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
        assert not re.search(rf"\b{word}\b", text.split("```yaml")[0]), word
    json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"no scores", "few scores"}))
def test_a_report_that_is_read_gives_the_same_page(shape, tmp_path):
    report = SHAPES[shape]()
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, report, Gallery())
    write(second, Report.read(first), Gallery())
    for name in ("report.html", "report.md", "report.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_are_rectangular_and_their_names_unique(shape):
    found = sections(SHAPES[shape](), Gallery())
    tables = [b for s in found for b in flat(s.blocks) if isinstance(b, Table)]
    for table in tables:
        assert {len(row.cells) for row in table.rows} <= {len(table.columns)}, table.name
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("shape", "middle"),
    [
        ("busy", ["ladder", "references"]),
        ("demo", ["ladder"]),
        ("no search", []),
        ("one seed", ["ladder"]),
    ],
)
def test_sections_are_those_the_study_has(shape, middle):
    found = [section.id for section in sections(SHAPES[shape](), Gallery())]
    assert found == [*SECTIONS, *middle, *ENDS]


def test_without_methods_there_is_no_table_of_attacks():
    found = {section.id: section for section in sections(SHAPES["nothing"](), Gallery())}
    assert "attacks" not in found
    assert not [b for b in flat(found["result"].blocks) if isinstance(b, Table)]


def test_the_demo_is_what_its_schema_writes(tmp_path):
    report = SHAPES["demo"]()
    tree = json.loads(json.dumps(report.summary.to_json()))
    assert Summary.from_json(tree) == report.summary
