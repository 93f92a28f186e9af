"""Files that are no experiment: the place is the file, or a line of it."""

import os

from refusals import Row, sets, table

from rum_ray.config.strict_yaml import MAX_BYTES
from rum_ray.errors import ConfigError, UnsafeError

RUN = ("run", "x.yaml")
GOOD = "name: a\ndata: digits\nrecipe: {model: mlp, batch_size: 64}\nforget: {size: 30}\n"
BOMB = "a: &a [x, x]\n" + "".join(f"k{i}: &k{i} [*a, *a]\n" for i in range(9))
CONTENTS = [
    ("nothing", b"", "x.yaml", "nothing"),
    ("null", b"null\n", "x.yaml", "nothing"),
    ("only a comment", b"# only a comment\n", "x.yaml", "nothing"),
    ("a list", b"- a\n- b\n", "x.yaml", "['a', 'b']"),
    ("a text", b"text", "x.yaml", "'text'"),
    ("TOML", b'name = "x"\n', "x.yaml"),
    ("a web page", b"<html></html>", "x.yaml"),
    ("Python", b"import os\n", "x.yaml"),
    ("bytes of another encoding", b"name: a\nlr: \xff1\n", "byte 12", "x.yaml"),
    ("Latin-1", "name: café\n".encode("latin-1"), "byte 9", "x.yaml"),
    ("UTF-16", GOOD.encode("utf-16"), "byte 0", "x.yaml"),
    ("every byte", bytes(range(256)), "byte 128", "x.yaml"),
    ("an open list", b"a: 1\nb: [1, 2\nc: 3\n", "line 3, column 2", "x.yaml"),
    ("an open mapping", GOOD.replace("64}", "64").encode(), "line 4, column 7", "x.yaml"),
    ("two colons", b"a: b: c\n", "line 1, column 5", "x.yaml"),
    ("no colon", GOOD.replace("data:", "data").encode(), "line 3, column 1", "x.yaml"),
    ("a key too far right", GOOD.replace("data", "  data").encode(), "line 2, column 7", "x.yaml"),
    ("a tab", b"a:\n\tb: 1\n", "line 2, column 1", "tab"),
    ("a null byte", b"a: \x00\n", "x.yaml", "#x0000"),
    ("an open quote", b"a: 'open\n", "line 2, column 1", "x.yaml"),
    ("two documents", b"a: 1\n---\nb: 2\n", "line 2, column 1", "x.yaml"),
    ("a date that is none", b"a: 2026-13-45\n", "x.yaml", "month"),
    ("a number of 5,000 digits", b"a: " + b"9" * 5000, "x.yaml", "limit"),
    ("100,000 brackets", b"a: " + b"[" * 100_000, "x.yaml", "nested"),
    ("a list as a key", b"? [a]\n: 1\n", "line 1", "x.yaml"),
    ("a key twice", b"a: 1\nb: 2\na: 3\n", "line 3", "'a'"),
    ("an inner key twice", b"a:\n  b: 1\n  b: 1\n", "line 3", "'b'"),
    ("an octal number", b"a: 012\n", "line 1", "'012'", "Write 10"),
    ("a time of day", b"a:\n- 12:30:45\n", "line 2", "'12:30:45'", "45045"),
    ("a hexadecimal number", b"a: 0x1F\n", "line 1", "'0x1F'", "31"),
    ("2 MiB", b"a: 1\n#" + b"x" * 2 * MAX_BYTES, "x.yaml", "1 MiB"),
    ("a key of a number", GOOD.encode() + b"1: 2\n", "1", "unknown"),
    ("a key of nothing", GOOD.encode() + b"~: 2\n", "None", "unknown"),
    ("a look-alike letter in a key", GOOD.replace("recipe", "rec\u0456pe").encode(), "rec\u0456pe",
     "'recipe'?"),
    ("a capital letter in a key", GOOD.replace("recipe", "Recipe").encode(), "Recipe", "'recipe'?"),
    ("a no-break space", GOOD.replace("size: 30", "size:\u00a030").encode(), "forget.size",
     "'size'?"),
    ("curly quotes", GOOD.replace(": a", ": \u201ca\u201d").encode(), "name", "\u201ca\u201d"),
    ("an emoji as the name", GOOD.replace(": a", ": \U0001f600").encode(), "name"),
    ("a date as the name", GOOD.replace(": a", ": 2020-01-01").encode(), "name", "quotes"),
    ("a variable of a shell", GOOD.replace("digits", "${DATA}").encode(), "data", "${DATA}"),
    ("one key of JSON", b'{"name": "x"}', "data", "missing"),
]  # fmt: skip
UNSAFE = [
    ("a tag of Python", b"a: !!python/name:os.system\n", "line 1", "tag"),
    ("a tag of YAML", b"a: 1\nb: !!str 2\n", "line 2", "tag"),
    ("a tag of its own", b"a: !local {x: 1}\n", "line 1", "tag"),
    ("a merge key", b"a:\n  <<: {x: 1}\n", "line 2", "'<<'"),
    ("an alias", b"a: 1\nb: &c [1]\nd: *c\n", "line 3", "alias"),
    ("a merged alias", b"a: &a {x: 1}\nb:\n  <<: *a\n", "line 3", "alias"),
    ("a bomb of aliases", BOMB.encode(), "line 2", "alias"),
]
# Values of --set are YAML, too.
SETTINGS = [
    ("--set with a tag", "recipe.lr=!!float 1", "line 1", "tag"),
    ("--set with an alias", "recipe.lr=*a", "line 1", "alias"),
]
PATHS = [
    ("no such file", "no.yaml", "no.yaml"),
    ("another suffix", "x.yml", "x.yml"),
    ("another case", "X.YAML", "X.YAML"),
    ("no such folder", "no/x.yaml", "no/x.yaml"),
    ("below a file", "file/x.yaml", "file/x.yaml", "Not a directory"),
    ("a folder", ".", "."),
    ("an empty path", "", "experiment"),
    ("standard input", "-", "-"),
    ("an address of the web", "https://example.com/x.yaml", "example.com/x.yaml"),
    ("a dangling link", "dangling.yaml", "dangling.yaml"),
    ("a link to itself", "loop.yaml", "loop.yaml"),
    ("a pipe", "pipe.yaml", "pipe.yaml"),
    ("a device", "/dev/zero", "/dev/zero"),
]
LINKS = {
    "file": "a text",
    "dangling.yaml": lambda path: path.symlink_to("nowhere"),
    "loop.yaml": lambda path: path.symlink_to("loop.yaml"),
    "pipe.yaml": os.mkfifo,
}
ROWS = [
    *(Row(name, ConfigError, place, RUN, tuple(said), {"x.yaml": content})
      for name, content, place, *said in CONTENTS),
    *(Row(name, UnsafeError, place, RUN, tuple(said), {"x.yaml": content})
      for name, content, place, *said in UNSAFE),
    *(Row(name, UnsafeError, place, RUN + sets(text), tuple(said), {"x.yaml": GOOD})
      for name, text, place, *said in SETTINGS),
    *(Row(name, ConfigError, place, ("run", path), tuple(said), LINKS)
      for name, path, place, *said in PATHS),
]  # fmt: skip


@table(*ROWS)
def test_what_is_no_experiment_is_refused_with_its_place(refuse, row):
    refuse(row)
