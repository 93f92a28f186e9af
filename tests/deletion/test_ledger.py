import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.deletion.ledger import LEDGER, Entry, Ledger
from rum_ray.errors import IntegrityError


def entry(number: int, ids: tuple[str, ...] = ("a",)) -> Entry:
    return Entry(
        request=number,
        time=f"2026-01-{number:02d}T00:00:00+00:00",
        manifest=f"{number:064x}",
        before=f"m{number - 1}",
        model=f"m{number}",
        ids=ids,
        cost=0.25,
        test_accuracy_before=0.9,
        test_accuracy=0.875,
    )


def ledger(requests: int = 3) -> Ledger:
    made = Ledger("m0", "5a17")
    for number in range(1, requests + 1):
        made = made.add(entry(number, tuple(made.hashes([f"row{number}", f"more{number}"]))))
    return made


def test_a_ledger_is_its_content():
    for requests in range(4):
        made = ledger(requests)
        assert Ledger.parse(made.content(), "x") == made
        assert made.model == f"m{requests}"
        assert len(made.forgotten) == 2 * requests
    assert made.hashed("row2") in made.forgotten
    assert made.hashed("row4") not in made.forgotten


def test_no_id_is_in_the_content(bundle):
    assert b"row" not in ledger().content()
    one, two = (Ledger.new("m0", bundle.train) for _ in range(2))
    assert one.salt != two.salt
    assert one.hashed("row1") != two.hashed("row1")
    assert (one.mean, one.std) == (bundle.train.mean, bundle.train.std)


@given(st.data())
def test_a_cut_is_refused_or_a_shorter_ledger(data):
    content = ledger().content()
    size = data.draw(st.integers(0, len(content) - 1))
    cut = content[:size]
    if cut in [ledger(n).content() for n in range(3)]:
        # Whole lines: the folders of the requests show the cut (test_publish.py).
        assert len(Ledger.parse(cut, "x").entries) < 3
        return
    with pytest.raises(IntegrityError, match=r"the ledger x was cut or edited: .*another --out"):
        Ledger.parse(cut, "x")


@given(st.data())
def test_every_changed_byte_is_refused(data):
    content = bytearray(ledger().content())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        Ledger.parse(bytes(content), "x")


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_lines_in_another_order_or_left_out_are_refused(order, dropped):
    lines = ledger().content().splitlines(keepends=True)
    kept = [lines[place] for place in order if place not in dropped]
    if kept == lines[: len(kept)] and kept:
        return
    with pytest.raises(IntegrityError):
        Ledger.parse(b"".join(kept), "x")


@pytest.mark.parametrize(
    "change",
    [{"request": 3}, {"before": "m7"}, {"cost": float("nan")}],
)
def test_requests_that_do_not_follow_are_refused(change):
    # With right chain values, as a program with a bug would write them.
    made = ledger(1).add(dataclasses.replace(entry(2), **change))
    with pytest.raises((IntegrityError, ValueError)):
        Ledger.parse(made.content(), "x")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]\n", b"1\n", b"{}\n", b"null\n{}\n", b'"x"\n', b"\xff\n"]
)
def test_no_ledger_is_refused(content):
    with pytest.raises(IntegrityError, match="cut or edited"):
        Ledger.parse(content, "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (
            b"{}\n",
            "line 1 lacks the keys 'chain', 'format', 'held', 'mean', 'original', 'salt', 'st",
        ),
        (b"[]\n", "line 1 is no JSON object"),
        (b"x\n", "line 1 is no JSON ("),
        (ledger(1).content() + b'{"request": 2}\n', "line 3 lacks the keys 'before', 'chain', 'c"),
        (ledger(1).content().replace(b'"cost"', b'"host"'), "line 2 lacks the key 'cost'"),
        (ledger(1).content().replace(b'"ids":', b'"ids":1,"i":'), "a value is of another kind"),
        (ledger(1).content()[:-9], "line 2 is cut off"),
    ],
)
def test_the_message_says_what_is_missing(content, reason):
    with pytest.raises(IntegrityError, match=re.escape(f"was cut or edited: {reason}")):
        Ledger.parse(content, "x")


def test_the_classes_of_the_first_request_are_remembered(bundle):
    made = Ledger.new("m0", bundle.train, classes=("b", "caf\u00e9", "a"))
    assert Ledger.parse(made.content(), "x") == made
    # A ledger of an earlier version knows none, and is valid as it is.
    assert b"classes" not in ledger().content()
    with pytest.raises(IntegrityError, match="line 1 does not match its chain value"):
        Ledger.parse(made.content().replace(b'"b"', b'"c"'), "x")


def test_an_unknown_key_is_refused():
    lines = ledger(1).content().splitlines()
    tree = {**json.loads(lines[1]), "note": "mine"}
    content = lines[0] + b"\n" + json.dumps(tree).encode() + b"\n"
    with pytest.raises(IntegrityError):
        Ledger.parse(content, "x")


def test_reading(tmp_path):
    assert Ledger.read(tmp_path) is None
    (tmp_path / LEDGER).write_bytes(ledger().content())
    assert Ledger.read(tmp_path) == ledger()
