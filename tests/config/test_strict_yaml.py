import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rum_ray.config.strict_yaml import MAX_BYTES, parse_value, read
from rum_ray.errors import ConfigError, UnsafeError

BOMB = "a: &a [x, x]\n" + "".join(f"k{i}: &k{i} [*a, *a]\n" for i in range(9))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ConfigError, r"x\.yaml must be a mapping of keys, got nothing\.$"),
        (b"# only a comment\n", ConfigError, r"must be a mapping of keys, got nothing\.$"),
        (b"- a\n- b\n", ConfigError, r"must be a mapping of keys, got \['a', 'b'\]\.$"),
        (b"text", ConfigError, r"must be a mapping of keys, got 'text'\.$"),
        (b"name: a\nlr: \xff1\n", ConfigError, r"x\.yaml is not UTF-8 at byte 12\.$"),
        (b"a: 1\nb: [1, 2\nc: 3\n", ConfigError, r"is not valid YAML: .* in line 3, column 2\.$"),
        (b"a: b: c\n", ConfigError, r"mapping values are not allowed here in line 1, column 5\.$"),
        (b"a:\n\tb: 1\n", ConfigError, r"in line 2, column 1\. The line starts with a tab; use sp"),
        (b"a: \x00\n", ConfigError, r"is not valid YAML: unacceptable character #x0000"),
        (b"a: 'open\n", ConfigError, r"is not valid YAML: .* in line 2, column 1\.$"),
        (b"a: 1\n---\nb: 2\n", ConfigError, r"but found another document in line 2, column 1\.$"),
        (b"a: 2026-13-45\n", ConfigError, r"is not valid YAML: month must be in 1\.\.12"),
        (b"a: " + b"9" * 5000, ConfigError, r"is not valid YAML: Exceeds the limit"),
        (b"a: " + b"[" * 100_000, ConfigError, r"x\.yaml is nested too deeply\.$"),
        (b"? [a]\n: 1\n", ConfigError, r"is not valid YAML: found unhashable key in line 1"),
        (b"a: 1\nb: 2\na: 3\n", ConfigError, r"key 'a' is there twice, again in line 3\.$"),
        (b"a:\n  b: 1\n  b: 1\n", ConfigError, r"key 'b' is there twice, again in line 3\.$"),
        (b"a: 012\n", ConfigError, r"ambiguous number '012' in line 1: YAML reads it as 10\. "),
        (
            b"a:\n- 12:30:45\n",
            ConfigError,
            r"'12:30:45' in line 2: YAML reads it as 45045\.",
        ),
        (b"a: 0x1F\n", ConfigError, r"ambiguous number '0x1F' in line 1: YAML reads it as 31\. "),
        (b"a: !!python/name:os.system\n", UnsafeError, r"YAML tag in line 1 is not allowed"),
        (b"a: 1\nb: !!str 2\n", UnsafeError, r"YAML tag in line 2 is not allowed"),
        (b"a: !local {x: 1}\n", UnsafeError, r"YAML tag in line 1 is not allowed"),
        (b"a: 1\nb: &c [1]\nd: *c\n", UnsafeError, r"YAML alias in line 3 is not allowed"),
        (BOMB.encode(), UnsafeError, r"YAML alias in line 2 is not allowed; write the value out"),
        (b"a: 1\n#" + b"x" * MAX_BYTES, ConfigError, r"x\.yaml is larger than 1 MiB\.$"),
    ],
)
def test_what_is_refused(tmp_path, content, error, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == (8 if error is UnsafeError else 2)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml cannot be read: No such file or directory\.$"):
        read(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory\.$"):
        read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be read: Not a directory\.$"):
        read(tmp_path / "file" / "x.yaml")
    with pytest.raises(ConfigError, match=r"/dev/zero is larger than 1 MiB\.$"):
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
def test_what_is_read(tmp_path, text, value):
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode())
    assert read(path) == value


def test_a_value_names_its_place():
    assert parse_value("[1, 2]", "--set seeds") == [1, 2]
    with pytest.raises(ConfigError, match=r"^--set seeds is not valid YAML: .* in line 1, column"):
        parse_value("[1, 2", "--set seeds")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("ab:- {}[]&*!|>'\"#\t\n012", max_size=40))
def test_any_text_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told = ""
    try:
        assert isinstance(read(path), dict)
    except (ConfigError, UnsafeError) as error:
        told = str(error)
    assert "\n" not in told
