import os.path

import pytest

from rum_ray.errors import ConfigError
from rum_ray.plugins import find

TABLE = {"salun": 1, "scrub": 2}


def test_a_name_of_the_table():
    assert find("scrub", TABLE, "unlearner") == 2


def test_a_name_of_a_module():
    assert find("os.path:join", TABLE, "unlearner") is os.path.join


def test_a_module_with_a_mistake_has_a_message(tmp_path, monkeypatch):
    (tmp_path / "mistaken.py").write_text("def x(:")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"'mistaken:x' cannot be imported: invalid syntax"):
        find("mistaken:x", TABLE, "unlearner")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("salum", r"^unknown unlearner 'salum'\. Known: salun, scrub\. Did you mean 'salun'\?$"),
        ("", r"^unknown unlearner ''\. Known: salun, scrub\.$"),
        (
            "nowhere:x",
            r"^unlearner 'nowhere:x' cannot be imported: No module named 'nowhere'\. Write",
        ),
        ("os.path:nothing", r"cannot be imported: module .* has no attribute 'nothing'\. Write"),
        ("os.path:", r"unlearner 'os\.path:' cannot be imported"),
        (
            ":join",
            r"unlearner ':join' cannot be imported: .*Write package\.module:name of something",
        ),
        (".path:join", r"unlearner '\.path:join' cannot be imported"),
    ],
)
def test_names_that_are_not_there(name, message):
    with pytest.raises(ConfigError, match=message):
        find(name, TABLE, "unlearner")
