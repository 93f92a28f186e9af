import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rum_ray.config.strict_yaml import parse_value, read
from rum_ray.errors import ConfigError, UnsafeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("\ufeffa: 1\r\nb: -2\r\n", {"a": 1, "b": -2}),
        ("a: 0\nb: 1_000\nc: 1.0e-3", {"a": 0, "b": 1000, "c": 0.001}),
        ("a: '012'\nb: 1e-3", {"a": "012", "b": "1e-3"}),
        ("a: {b: [x, null, true]}", {"a": {"b": ["x", None, True]}}),
        ("ä: <script>", {"ä": "<script>"}),
    ],
)
def test_valid_yaml_is_parsed(tmp_path, text, value):
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode())
    assert read(path) == value


def test_an_error_in_a_value_states_its_place():
    assert parse_value("[1, 2]", "--set seeds") == [1, 2]
    with pytest.raises(ConfigError, match=r"^--set seeds .* line 1, column"):
        parse_value("[1, 2", "--set seeds")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("ab:- {}[]&*!|>'\"#\t\n012", max_size=40))
def test_any_text_is_parsed_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = ""
    try:
        assert isinstance(read(path), dict)
    except (ConfigError, UnsafeError) as error:
        message = str(error)
    assert "\n" not in message
