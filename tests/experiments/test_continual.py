"""experiments/continual.py in miniature: two requests on the digits, by the command itself."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from rum_ray import config
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.study import Study

ROOT = Path(__file__).resolve().parents[2]
MINI = {
    "name": "mini",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 8, "lr": 0.1, "batch_size": 64},
    "forget": {"size": 32},
}


@pytest.fixture
def continual(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module("continual")


@pytest.fixture
def study(tmp_path) -> Study:
    experiment = config.parse(MINI)
    return Study(experiment, Context(experiment.load_data(), Store(tmp_path / "store")))


def test_requests_share_each_third_of_the_forget_set(continual, study):
    requests = continual.requests_of(study)
    assert [len(rows) for rows in requests] == [8, 6, 6, 6, 6]
    assert len(np.unique(np.concatenate(requests))) == 32
    recorded = study.context.get_or_compute(study.originals[0]).arrays["events/confidence"]
    ends = np.quantile(recorded, [0.1, 0.9])
    for rows in requests:
        assert recorded[rows].min() < ends[0] < ends[1] < recorded[rows].max()


def test_a_plan_that_does_nothing_is_the_original_after_each_request(continual, study, tmp_path):
    requests, store = continual.requests_of(study, steps=2), str(tmp_path / "store")
    plans = {"idle": {"all": {"name": "nothing"}}}
    found = continual.measured(study, plans, requests, store, tmp_path / "out")
    steps = found["steps"]
    assert steps["idle"] == steps["nothing"]
    assert found["at once"]["idle"] == steps["nothing"][-1]
    assert steps["nothing"][0] != steps["nothing"][1]
    for again, nothing in zip(steps["retrained again"], steps["nothing"], strict=True):
        assert again["cost"] == 1
        assert nothing["cost"] == 0
        assert again["tow"] <= 1
    again = continual.measured(study, plans, requests, store, tmp_path / "out")
    assert again == found


def test_a_model_against_itself(continual, study):
    requests = continual.requests_of(study, steps=2)
    model = continual.evaluated(study, requests, study.originals[0].load(study.context))
    found = continual.judged(model, model, 0.5)
    assert (found["tow"], found["tow_examples"], found["cost"]) == (1, 1, 0.5)
    assert found["mia_gap"] == found["auc_gap"] == found["returned"] == found["lost"] == 0


def test_the_plans_of_a_repeat(continual, study):
    first, last = (continual.plans_of(study.recipe, repeat) for repeat in (0, 99))
    assert [*first] == ["auto", "searched", "finetune", "neggrad+"]
    assert [*last] == ["auto", "finetune", "neggrad+"]
    for plan in first.values():
        config.parse({**MINI, "plan": plan})


def test_the_summary_compares_steps_and_plans_over_the_repeats(continual):
    def repeat(number, tows):
        metrics = dict.fromkeys((*continual.VALUES, "lost", "cost"), 0.0)
        steps = {name: [{**metrics, "tow": tow} for tow in each] for name, each in tows.items()}
        once = {"auto": {**metrics, "tow": 0.9}}
        return {"repeat": number, "steps": steps, "at once": once}

    tows = {"nothing": [0.5, 0.5], "auto": [0.8, 0.7]}
    higher = {"nothing": [0.5, 0.5], "auto": [0.8, 0.9]}
    found = continual.summary([repeat(0, tows), repeat(1, higher)])
    assert found["steps"]["auto"]["tow"][1]["values"] == (0.7, 0.9)
    assert found["one by one less at once"]["auto"]["tow"]["mean"] == pytest.approx(-0.1)
    assert found["auto, less another, in the end"]["nothing"]["tow"]["mean"] == pytest.approx(0.3)
    lines = continual.table(found).splitlines()
    assert [line[:24].strip() for line in lines[1:]] == [
        "1     nothing",
        "1     auto",
        "2     nothing",
        "2     auto",
        "all   auto",
    ]
    assert "0.800 ± 1.271" in lines[4]
    alone = continual.summary([repeat(0, tows)])
    assert "one by one less at once" not in alone
    assert "0.700" in continual.table(alone)
