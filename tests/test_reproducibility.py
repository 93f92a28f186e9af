"""Every promise of docs/reproducibility.md has a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reproducibility.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE)


def test_every_promise_names_a_test():
    rows = [line for line in PAGE.splitlines() if re.match(r"\| [A-Z]", line)]
    assert len(rows) == len(NAMED) == len({*NAMED})


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path, name):
    assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
