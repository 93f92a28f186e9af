"""The page of a deletion: words of measurement, a row per number, and safe markup."""

import dataclasses
import re

import pytest

from rum_ray.report import measured
from rum_ray.report.evidence import bill_sentence, page, sections
from rum_ray.results.schema.evidence import (
    AccuracyRow,
    Asked,
    AttackRow,
    DeletionBill,
    Done,
    Drift,
    Estimate,
    Evidence,
    GateRow,
    SingleRows,
    StartingModel,
)
from rum_ray.results.schema.rows import PlanStep

from .test_html import Page


def near(value: float, half: float = 0.04) -> Estimate:
    return Estimate(value, value - half, value + half)


def attack(name: str, after: float) -> AttackRow:
    return AttackRow(
        name=name, forgotten=40, unseen=397, auc_before=near(0.81), auc=near(after),
        tpr_before=near(0.3), tpr=Estimate(None, reason="needs 100 unseen rows"),
    )  # fmt: skip


def accuracy(name: str, size: int) -> AccuracyRow:
    return AccuracyRow(name=name, size=size, before=near(0.9), after=near(0.85), change=near(-0.05))


def made(name: str = "photos") -> Evidence:
    steps = [PlanStep("low", {"name": "nothing"}), PlanStep("high", {"name": "salun", "lr": 0.1})]
    return Evidence(
        name=name,
        request=2,
        public=False,
        asked=Asked(listed=45, already=5, forgotten=40, classes={name: 30, "b": 10}),
        done=Done(
            data=name, rows=1200, test=397, model="mlp", score="1 - p", source="file",
            plan=tuple(steps), sizes={"low": 20, "high": 20},
        ),
        accuracies=(accuracy("test", 397), accuracy("forget", 40), accuracy("low", 20)),
        attacks=(attack("by_class", 0.52), attack("by_difficulty", 0.51)),
        single=SingleRows(
            models=64, least=12, threshold=2.5, false_positive_rate=near(0.01, 0.005),
            before=near(0.4), after=near(0.05), standing_out=2,
        ),
        reference={"tow": 0.93, "auc_gap": 0.02},
        not_measured=("Relearning.",),
        bill=DeletionBill(
            plan=0.2, measuring=0.01, reference=0.0, total=0.21, prepared=22.0, break_even=28,
            spent=0.42,
        ),
        drift=Drift(
            requests=2, forgotten=80, present=80, original=0.92, now=0.9, attack=near(0.53), due=()
        ),
        gates=(GateRow(name="attack_auc", limit=0.55, value=0.48, met=True, measured="its end"),),
    )  # fmt: skip


def test_json_and_back():
    assert Evidence.from_json(made().to_json()) == made()


@pytest.mark.parametrize("name", ["photos", "<script>alert(1)</script>\x1b[31m\u202e"])
def test_markup_is_well_formed_and_inert(name):
    html = page(made(name))
    found = Page(html)
    ids = found.values("id")
    assert len(set(ids)) == len(ids)
    targets = [value[1:] for value in found.values("href") if value.startswith("#")]
    named = " ".join(found.values("aria-labelledby")).split()
    assert {*targets, *named} <= set(ids)
    assert not {tag for tag, _ in found.tags} & {"script", "img", "iframe", "form"}
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_every_part_is_on_the_page():
    text = " ".join(Page(page(made())).text)
    for part in ("45 ids", "0.520", "0.93", "2 forgotten rows stand out", "28th request"):
        assert part in text, part
    assert "rum-ray verify deletions/0002" in text


def test_the_words_are_those_of_measurement():
    for evidence in (made(), dataclasses.replace(made(), attacks=(attack("by_class", 0.7),))):
        text = page(evidence).lower()
        assert not re.search(r"certif|guarantee|proven|erased|gdpr", text)
        assert "not a proof" in text


@pytest.mark.parametrize(
    ("area", "half", "told"),
    [
        (0.51, 0.04, "could not be told"),
        (0.62, 0.04, "can still be told"),
        (0.55, 0.2, "interval is wide"),
        (0.35, 0.04, "less learned than unseen"),
    ],
)
def test_the_verdict_follows_the_strongest_attack(area, half, told):
    row = dataclasses.replace(attack("by_difficulty", 0.5), auc=near(area, half))
    weaker = dataclasses.replace(attack("by_class", 0.3), auc=near(0.34))
    evidence = dataclasses.replace(made(), attacks=(weaker, row))
    assert told in measured.verdict(evidence)


@pytest.mark.parametrize(
    ("bill", "words"),
    [
        ({}, "prepared once 22; cheaper than retraining from the 28th request on"),
        ({"prepared": 0.0, "break_even": 1}, "from the first request on"),
        ({"total": 1.3, "break_even": None}, "retraining is cheaper than such requests"),
        ({"break_even": 2}, "2nd request"),
        ({"break_even": 113}, "113th request"),
    ],
)
def test_the_bill_in_a_sentence(bill, words):
    assert words in bill_sentence(dataclasses.replace(made().bill, **bill))


@pytest.mark.parametrize("near_chance", [True, False])
def test_the_model_before_is_told(near_chance):
    start = StartingModel(
        original=True, train=near(0.12), test=near(0.11), near_chance=near_chance
    )  # fmt: skip
    with_start = dataclasses.replace(made(), start=start)
    assert Evidence.from_json(with_start.to_json()) == with_start
    text = " ".join(Page(page(with_start)).text)
    assert "The original model was measured first. Its accuracy is 0.120" in text
    assert ("near chance. Check recipe.normalize" in text) == near_chance
    # A file of an earlier version does not know it.
    assert "start" not in made().to_json()
    assert "measured first" not in page(made())


def test_sections_without_a_pool_and_a_reference():
    evidence = dataclasses.replace(made(), single=None, reference=None, gates=())
    ids = [section.id for section in sections(evidence)]
    assert "single" not in ids
    assert "reference" not in ids
    assert ids[0] == "top"


def test_retraining_that_is_due_is_told():
    drift = dataclasses.replace(made().drift, due=("the accuracy has fallen",))
    text = page(dataclasses.replace(made(), drift=drift))
    assert "retraining is due" in text
    assert "The accuracy has fallen." in text
