import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.data.ids import Names
from rum_ray.deletion.ledger import Entry, Ledger
from rum_ray.deletion.request import Listed, open_request
from rum_ray.errors import DataError, PlanError

TRAIN, VALID = range(100, 260), range(40)


def listed(names) -> Listed:
    return Listed(tuple(map(str, names)), "\n".join(map(str, names)).encode(), "list.txt")


def with_forgotten(ids) -> Ledger:
    ledger = Ledger("m0", "00")
    entry = Entry(
        request=1, time="t", manifest="", before="m0", model="m1",
        ids=tuple(ledger.hashes(map(str, ids))), cost=0.1, test_accuracy_before=1.0,
        test_accuracy=1.0,
    )  # fmt: skip
    return ledger.add(entry)


@given(
    st.sets(st.sampled_from(TRAIN), min_size=1, max_size=80),
    st.sets(st.sampled_from(TRAIN), max_size=60),
)
def test_rows_and_past_are_apart(bundle, wanted, before):
    ledger = with_forgotten(before)
    request = open_request(listed(sorted(wanted)), bundle, ledger)
    train = request.bundle.train
    assert {*train.ids[request.rows].tolist()} == wanted - before
    assert {*request.past.ids.tolist()} == before
    assert {*train.ids.tolist()} == {*TRAIN} - before
    assert sorted(map(int, request.already)) == sorted(wanted & before)
    assert request.ids == tuple(ledger.hashes(map(str, train.ids[request.rows])))
    assert np.array_equal(bundle.train.ids[request.kept], train.ids)
    assert sum(request.classes.values()) == len(request.rows)


def test_rows_that_are_gone_and_forgotten_are_known(bundle):
    request = open_request(listed([5000, 101]), bundle, with_forgotten([5000]))
    assert request.already == ("5000",)
    assert len(request.past) == 0
    assert request.bundle.train.ids[request.rows].tolist() == [101]


def test_listed_rows_of_v_are_in_d(bundle):
    moved = bundle.with_trained(["3", "101"])
    request = open_request(listed([3, 101]), moved, Ledger("m0", "00"))
    assert request.bundle.train.ids[request.rows].tolist() == [3, 101]
    assert len(request.bundle.train) == 161
    assert len(request.bundle.valid) == 39
    assert len(request.bundle.true_labels) == 161


def test_all_mistakes_are_in_one_message(bundle):
    names = [101, 101, *range(9000, 9015)]
    with pytest.raises(DataError) as caught:
        open_request(listed(names), bundle, Ledger("m0", "00"))
    message = str(caught.value)
    assert "15 of 17 ids" in message
    assert "entry 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 5 more" in message
    assert "list a row twice: entry 1, 2 of" in message
    # Ids are personal data.
    assert not [each for each in (101, *range(9000, 9015)) if str(each) in message]


def test_everything_is_refused(bundle):
    with pytest.raises(PlanError, match="all 160 rows"):
        open_request(listed(TRAIN), bundle, Ledger("m0", "00"))
    with pytest.raises(PlanError, match="all 100 rows"):
        open_request(listed(range(160, 260)), bundle, with_forgotten(range(100, 160)))
    # Nothing to forget is another case: all of it is forgotten already.
    request = open_request(listed(range(100, 160)), bundle, with_forgotten(range(100, 160)))
    assert len(request.rows) == 0


def test_a_whole_class_is_named(bundle):
    rows = bundle.train.ids[bundle.train.y.numpy() == 2]
    request = open_request(listed(rows), bundle, Ledger("m0", "00"))
    assert request.whole_classes == ("c",)


def test_files_that_look_alike_are_refused(bundle):
    names = np.array([f"a/{n}.png" for n in range(158)] + ["caf\u00e9", "cafe\u0301"], dtype=object)
    train = dataclasses.replace(bundle.train, names=Names(names))
    named = dataclasses.replace(bundle, train=train)
    with pytest.raises(DataError, match="stand for two files"):
        open_request(listed(["caf\u00e9"]), named, Ledger("m0", "00"))
    with pytest.raises(DataError, match="1 ids are row numbers: entry 2 of"):
        open_request(listed(["a/2.png", 101]), named, Ledger("m0", "00"))
    request = open_request(listed(["a/2.png"]), named, Ledger("m0", "00"))
    assert request.rows.tolist() == [2]
