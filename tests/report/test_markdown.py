"""The report as Markdown: tables are tables, and hostile names stay text."""

import re


def cells(markdown: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as lists of rows of cells."""
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("| ")]
    split = re.compile(r"(?<!\\)\|")
    return [[split.split(line)[1:-1] for line in block] for block in blocks]


def test_tables_are_tables(grey_folder):
    tables = cells((grey_folder / "report.md").read_text())
    assert len(tables) == 13
    for table in tables:
        assert len({len(row) for row in table}) == 1
        assert all(re.fullmatch(" (:--|--:) ", cell) for cell in table[1])
    results = tables[1]
    assert results[4][0].strip() == "SalUn shuffle, best"
    assert len(results) == 2 + 20


def test_names_stay_text(nasty_folder):
    text = (nasty_folder / "report.md").read_text()
    assert "<script" not in text.split("```")[0]
    assert "\x1b" not in text
    assert all(len({len(row) for row in table}) == 1 for table in cells(text))
    assert "````yaml\nname: <script>alert(1)</script>\n# ```\n<b>bold</b>\n````" in text


def test_a_page_is_small(grey_folder):
    assert (grey_folder / "report.html").stat().st_size < 1_000_000
