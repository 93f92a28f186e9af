import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rum_ray.config.strict_yaml import MAX_BYTES, parse_value, read
from rum_ray.errors import ConfigError, UnsafeError

BOMB = "a: &a [x, x]\n" + "".join(f"k{i}: &k{i} [*a, *a]\n" for i in range(9))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ConfigError, r"x\.yaml .*got nothing"),
        (b"# only a comment\n", ConfigError, r"x\.yaml .*got nothing"),
        (b"- a\n- b\n", ConfigError, r"x\.yaml .*got \['a', 'b'\]"),
        (b"text", ConfigError, r"x\.yaml .*got 'text'"),
        (b"name: a\nlr: \xff1\n", ConfigError, r"x\.yaml .*byte 12"),
        (b"a: 1\nb: [1, 2\nc: 3\n", ConfigError, r"x\.yaml .*line 3, column 2"),
        (b"a: b: c\n", ConfigError, r"x\.yaml .*line 1, column 5"),
        (b"a:\n\tb: 1\n", ConfigError, r"x\.yaml .*line 2, column 1.* tab"),
        (b"a: \x00\n", ConfigError, r"x\.yaml .*#x0000"),
        (b"a: 'open\n", ConfigError, r"x\.yaml .*line 2, column 1"),
        (b"a: 1\n---\nb: 2\n", ConfigError, r"x\.yaml .*line 2, column 1"),
        (b"a: 2026-13-45\n", ConfigError, r"x\.yaml .*month"),
        (b"a: " + b"9" * 5000, ConfigError, r"x\.yaml .*limit"),
        (b"a: " + b"[" * 100_000, ConfigError, r"x\.yaml .*nested"),
        (b"? [a]\n: 1\n", ConfigError, r"x\.yaml .*unhashable key in line 1"),
        (b"a: 1\nb: 2\na: 3\n", ConfigError, r"key 'a' in line 3"),
        (b"a:\n  b: 1\n  b: 1\n", ConfigError, r"key 'b' in line 3"),
        (b"a: 012\n", ConfigError, r"'012' in line 1: .*\b10\b"),
        (b"a:\n- 12:30:45\n", ConfigError, r"'12:30:45' in line 2: .*\b45045\b"),
        (b"a: 0x1F\n", ConfigError, r"'0x1F' in line 1: .*\b31\b"),
        (b"a: !!python/name:os.system\n", UnsafeError, r"tag in line 1"),
        (b"a: 1\nb: !!str 2\n", UnsafeError, r"tag in line 2"),
        (b"a: !local {x: 1}\n", UnsafeError, r"tag in line 1"),
        (b"a: 1\nb: &c [1]\nd: *c\n", UnsafeError, r"alias in line 3"),
        (b"a: 1\n<<: {b: 2}\n", UnsafeError, r"merge key '<<' in line 2"),
        (b"a:\n  - <<: [{b: 2}]\n", UnsafeError, r"merge key '<<' in line 2"),
        (BOMB.encode(), UnsafeError, r"alias in line 2"),
        (b"a: 1\n#" + b"x" * MAX_BYTES, ConfigError, r"x\.yaml .*1 MiB"),
    ],
)
def test_invalid_or_unsafe_yaml_is_refused(tmp_path, content, error, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == (8 if error is UnsafeError else 2)


def test_an_unreadable_file_is_an_error_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml .*No such file"):
        read(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="folder"):
        read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"x\.yaml .*Not a directory"):
        read(tmp_path / "file" / "x.yaml")
    with pytest.raises(ConfigError, match=r"/dev/zero .*a device"):
        read("/dev/zero")


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
