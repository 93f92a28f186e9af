"""The catalogue: every item is valid experiments, with and without the files that it reads."""

import itertools
import json
from pathlib import Path

import pytest

from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.jobs import Context
from rum_ray.paper.blank import blank, without_files
from rum_ray.paper.catalogue import FOLDER, PRESETS, catalogue, studies
from rum_ray.store import Store
from rum_ray.study.calibration import Calibration, Speed
from rum_ray.study.forecast import counted, forecast
from rum_ray.study.study import Study
from rum_ray.study.validation import check

ROOT = Path(__file__).resolve().parents[2]
ITEMS = tuple(catalogue().items)
SETTINGS = [("cifar10", "small"), *((data, "paper") for data in catalogue().settings)]
EVERY = [
    (name, data, preset)
    for name, (data, preset) in itertools.product(ITEMS, SETTINGS)
    if not catalogue().items[name].data or data in catalogue().items[name].data
]
OWN = [(n, d, p) for n, d, p in EVERY if not catalogue().items[n].of]
"""Those with studies of their own."""
FAST = ("recipe.model=small_cnn", "score.recipe=null", "score.models=8", "data.size=9000")
FAST += ("compare=[finetune]", "search={spaces: [single, rum], trials: 6}", "evaluate.also=[]")
"""Changes that spare a test the time of large networks and of rehearsed searches."""
NETWORKS = {"cifar10": "resnet18", "cifar100": "resnet50", "tiny_imagenet": "resnet18"}


@pytest.mark.parametrize(("name", "data", "preset"), EVERY)
def test_every_item_is_valid_with_names_of_its_own(name, data, preset):
    found = [study.experiment() for study in studies(name, data, preset)]
    assert len({each.name for each in found}) == len({each.digest for each in found}) == len(found)
    for each in found:
        assert each.data.name == data
        assert all(part in each.name for part in (data, preset))
        assert each.repeats == (5 if preset == "small" else 1)


@pytest.mark.parametrize(("name", "data"), [(n, d) for n, d, p in OWN if p == "paper"])
def test_every_item_of_the_papers_size_is_forecast_without_its_files(name, data, tmp_path):
    (part, *_) = studies(name, data, "paper")
    changes = (*FAST, f"data.root={tmp_path / 'nowhere'}")
    changes += (f"forget.size={540 if name == 'mmd' else 180}",)
    experiment = part.experiment((*changes, *without_files(part.experiment(changes))))
    lines = counted(Study(experiment, Context(experiment.load_data(), Store(tmp_path))), "run")
    assert lines[0].stage == "train"
    assert all(line.missing == line.total for line in lines)
    assert sum(line.trainings for line in lines) > 9


@pytest.mark.parametrize("data", [*catalogue().settings])
def test_the_dry_run_of_the_papers_own_size_works(data, tmp_path):
    """That of every item: python experiments/dry_runs.py"""
    (part,) = studies("table1", data, "paper")
    changes = (f"data.root={tmp_path / 'nowhere'}",)
    experiment = part.experiment((*changes, *without_files(part.experiment(changes))))
    study = Study(experiment, Context(experiment.load_data(), Store(tmp_path)))
    speed = Speed(0.001, 0.001, 0.0003, 10**8, 10**6, 10**5, 512)
    recipes = {study.recipe, *(scorer.recipe for scorer in study.scoring.scorers)}
    rates = Calibration("cpu", dict.fromkeys(recipes, speed))
    lines = forecast(study, "run", lambda _: rates)
    assert all(line.jobs and line.work.wall(1) > 0 for line in lines)
    (search,) = (line for line in lines if line.stage == "search")
    # Two spaces, and three rows for each of four unlearners.
    assert search.missing == 2 + 3 * 4
    # Each row tries eight plans, and a search more.
    assert len(search.work.seconds) > 8 * search.missing


@pytest.mark.parametrize(("data", "model"), [*NETWORKS.items(), ("tiny_imagenet", "vgg16")])
def test_every_unlearner_fits_the_papers_networks(data, model, tmp_path):
    part = studies("es", data, "paper")[0]
    changes = ("data.size=2000", f"recipe.model={model}", "forget.size=100")
    changes += (f"data.root={tmp_path / 'nowhere'}", "score={name: confidence}")
    experiment = part.experiment((*changes, *without_files(part.experiment(changes))))
    assert studies("es", data, "paper")[0].experiment().recipe.model == NETWORKS[data]
    assert len(experiment.compare) == 8
    check(Study(experiment, Context(experiment.load_data(), Store(tmp_path))))


def test_the_first_setting_is_that_of_the_paper():
    (found,) = (study.experiment() for study in studies("table1", "cifar10", "paper"))
    recipe = found.recipe
    assert (recipe.model, recipe.epochs, recipe.lr, recipe.batch_size) == ("resnet18", 30, 0.1, 256)
    assert (recipe.weight_decay, recipe.momentum, recipe.augment) == (5e-4, 0.9, False)
    assert (found.forget.size, found.forget.pick, len(found.seeds)) == (3000, "spread", 3)
    assert [unlearner.name for unlearner in found.plan.values()] == ["nothing", "finetune", "salun"]
    assert found.score.models == 400


def test_the_small_table_is_the_claims():
    (found,) = studies("table1")
    assert found.experiment().digest == config.load(ROOT / "experiments/cifar10_claims.yaml").digest


def test_an_item_of_other_items_has_their_studies():
    found = {study.name: study.experiment() for study in studies("figure1")}
    alone = [s.experiment() for name in ("es", "memorization") for s in studies(name)]
    assert [*found.values()] == alone
    assert [*found] == [
        f"{n}-{p}" for n in ("es", "memorization") for p in ("low", "medium", "high")
    ]


def test_the_orders_are_all_orders():
    orders = [study.experiment().order for study in studies("order")]
    assert {*orders} == {*itertools.permutations(("low", "medium", "high"))}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tabel1",), ("item", "'tabel1'", "'table1'")),
        (("table1", "cifar11"), ("--data", "'cifar11'", "'cifar10'")),
        (("table1", "cifar10", "big"), ("--preset", "'big'", "paper")),
        (("table1", "cifar100"), ("--data", "cifar100", "--preset paper")),
        (("proxies", "tiny_imagenet", "paper"), ("--data", "tiny_imagenet", "cifar100")),
    ],
)
def test_what_is_unknown_is_told(arguments, said):
    with pytest.raises(ConfigError) as error:
        studies(*arguments)
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize("data", [*catalogue().settings])
def test_blank_images_have_the_form_of_the_data_set(data):
    found = blank(of=data, valid_fraction=0.1)
    assert (len(found.train), len(found.valid), len(found.test)) == {
        "cifar10": (45_000, 5_000, 10_000),
        "cifar100": (45_000, 5_000, 10_000),
        "tiny_imagenet": (90_000, 10_000, 10_000),
    }[data]
    assert found.train.shape == ((3, 64, 64) if data == "tiny_imagenet" else (3, 32, 32))
    counts = found.train.y.bincount()
    assert counts.min() == counts.max()
    assert found.train.x.untyped_storage().nbytes() == 1


def test_files_that_are_there_are_not_replaced(tmp_path):
    (study,) = studies("table1", "cifar100", "paper")
    there = study.experiment((f"data.root={tmp_path}",))
    assert without_files(there) == ()
    absent = study.experiment((f"data.root={tmp_path / 'nowhere'}",))
    changed = study.experiment(without_files(absent))
    assert changed.data.options["of"] == "cifar100"
    assert changed.score.file is None


def test_the_files_are_in_the_package():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"catalogue", "published", *PRESETS}


@pytest.mark.parametrize(("name", "data", "preset"), EVERY)
def test_the_recorded_costs_are_those_of_the_item(name, data, preset):
    """Run: .venv/bin/python experiments/costs.py"""
    recorded = json.loads((ROOT / "experiments/results/costs.json").read_text("utf-8"))["items"]
    found = recorded[f"{name} {data} {preset}"]
    assert found["studies"] == {s.name: s.experiment().digest for s in studies(name, data, preset)}
    assert found["trainings"] > 0 < found["device_hours"]
    assert found["worker_gib"] > 0.4
