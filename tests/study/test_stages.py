"""The table of stages: commands, forecasts and the pipeline agree about it."""

from pathlib import Path

import pytest

from rum_ray import config
from rum_ray.errors import StoreError
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.forecast import forecast
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.stages import COMMANDS, STAGES, check_finished
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock

FILE = {
    "name": "small",
    "data": {"name": "digits"},
    "recipe": {"model": "mlp", "epochs": 1, "lr": 0.05},
    "score": {"name": "memorization", "models": 16, "fraction": 0.5},
    "forget": {"size": 30},
    "plan": {"low": "nothing", "medium": "nothing", "high": {"name": "finetune", "epochs": 1}},
    "evaluate": {"residual": True, "also": ["u_lira", "pool_rmia"]},
    "search": {
        "trials": 2,
        "finalists": 2,
        "fresh": 2,
        "rows": 2,
        "max_cost": 9.0,
        "spaces": ["V0", "V1"],
        "unlearners": ["nothing", {"name": "finetune", "epochs": 1, "batch_size": 256}],
    },
    "compare": ["finetune"],
}
OVERRIDES = {"plain": (), "by distance": ("refine=by_entanglement", "evaluate={}")}


class Spy:
    """Progress that remembers the stages and their sizes."""

    def __init__(self):
        self.stages = {}

    def start(self, stage, total):
        self.stages[stage] = total

    def update(self, state):
        pass

    def finish(self, summary):
        pass

    def say(self, text):
        pass


def study(folder: Path, command: str, *overrides: str) -> Study:
    experiment = config.parse(FILE, ("search.attack=auc", *overrides))
    context = Context(experiment.load_data(), Store(folder))
    return Study(experiment, context, plan_only=command in ("unlearn", "evaluate"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store per set of overrides, which the commands share."""
    return {name: tmp_path_factory.mktemp(name.replace(" ", "_")) for name in OVERRIDES}


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("command", [name for name in COMMANDS if COMMANDS[name]])
def test_a_forecast_names_the_stages_that_the_pipeline_reports(stores, name, command):
    ours = study(stores[name], command, *OVERRIDES[name])
    ahead = {line.stage: line.total for line in forecast(ours, command)}
    spy = Spy()
    Pipeline(ours, LocalExecutor(), spy, Clock()).run(command)
    assert list(spy.stages) == list(ahead)
    # Before results are known a forecast is an upper bound, and exact afterwards.
    assert all(spy.stages[stage] <= ahead[stage] for stage in ahead)
    again = {line.stage: (line.total, line.missing) for line in forecast(ours, command)}
    assert again == {stage: (total, 0) for stage, total in spy.stages.items()}


def test_every_stage_follows_the_stages_that_it_reads():
    for command, names in COMMANDS.items():
        for place, name in enumerate(names):
            later = {*names[place:]}
            assert not later & {*STAGES[name].after}, f"{command}: {name}"


def test_an_unfinished_study_names_the_first_stage_that_lacks_results(tmp_path):
    ours = study(tmp_path, "report")
    with pytest.raises(StoreError, match=r"'train'.* 22 results") as error:
        check_finished(ours)
    assert str(tmp_path) in str(error.value)
