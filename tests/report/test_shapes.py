"""A report of every shape of study is written, complete, and consistent in itself."""

import json
import re

import pytest

from rum_ray.report.blocks import Block, Details, Pair, Table
from rum_ray.report.files import write
from rum_ray.report.render import html, markdown
from rum_ray.results.report import Report

from .conftest import built
from .shapes import SHAPES, gallery

FILES = ["report.html", "report.json", "report.md", "scores.parquet", "trials.parquet"]
ALWAYS = {"top", "result", "scores", "search", "reliability", "making"}


def flat(blocks: tuple[Block, ...]) -> list[Block]:
    """All blocks, with those inside others."""
    found: list[Block] = []
    for block in blocks:
        inside: tuple[Block, ...] = ()
        if isinstance(block, Details):
            inside = block.blocks
        elif isinstance(block, Pair):
            inside = (block.left, block.right)
        found += [block, *flat(inside)]
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_page_without_a_raw_value(shape):
    page = re.sub(r"<style>.*?</style>|<pre.*?</pre>", "", html.render(built(shape)), flags=re.S)
    text = markdown.render(built(shape)).split("```yaml")[0]
    for word in ("nan", "inf", "None"):
        assert not re.search(rf"\b{word}\b", page), word
        assert not re.search(rf"\b{word}\b", text), word
    tree = SHAPES[shape]().summary.to_json()
    json.dumps(tree, allow_nan=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_are_rectangular_and_their_names_unique(shape):
    tables = [b for s in built(shape) for b in flat(s.blocks) if isinstance(b, Table)]
    for table in tables:
        assert {len(row.cells) for row in table.rows} <= {len(table.columns)}, table.name
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("shape", "others"),
    [
        ("busy", {"attacks", "ladder", "references"}),
        ("no search", {"attacks"}),
        ("nothing", set()),
        ("one seed", {"attacks", "ladder"}),
    ],
)
def test_sections_are_those_the_study_has(shape, others):
    assert {section.id for section in built(shape)} == ALWAYS | others


def test_without_methods_there_is_no_table_of_methods():
    (result,) = (section for section in built("nothing") if section.id == "result")
    assert not [block for block in flat(result.blocks) if isinstance(block, Table)]


def test_a_report_that_is_read_gives_the_same_bytes(grey_folder, tmp_path):
    write(tmp_path, Report.read(grey_folder), gallery())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (grey_folder / name).read_bytes(), name
