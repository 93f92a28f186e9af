import os.path

import pytest

from rum_ray.errors import ConfigError
from rum_ray.plugins import find

TABLE = {"salun": 1, "scrub": 2}


def test_a_name_in_the_table():
    assert find("scrub", TABLE, "unlearner") == 2


def test_a_name_in_a_module():
    assert find("os.path:join", TABLE, "unlearner") is os.path.join


def test_a_syntax_error_in_a_module_is_an_error_with_its_name(tmp_path, monkeypatch):
    (tmp_path / "mistaken.py").write_text("def x(:")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"'mistaken:x' .*invalid syntax"):
        find("mistaken:x", TABLE, "unlearner")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("salum", r"^unknown unlearner 'salum'.* salun, scrub\..*'salun'\?$"),
        ("", r"^unknown unlearner ''.* salun, scrub\.$"),
        ("nowhere:x", "^unlearner 'nowhere:x' .*No module named 'nowhere'"),
        ("os.path:nothing", r"^unlearner 'os\.path:nothing' .*no attribute 'nothing'"),
        ("os.path:", r"^unlearner 'os\.path:' "),
        (":join", "^unlearner ':join' "),
        (".path:join", r"^unlearner '\.path:join' "),
    ],
)
def test_an_unknown_name_is_an_error_with_the_name(name, message):
    with pytest.raises(ConfigError, match=message):
        find(name, TABLE, "unlearner")
