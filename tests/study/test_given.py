"""Models that others trained, in the format of EasyDUB: originals and references from files."""

import dataclasses
from pathlib import Path

import easydub
import numpy as np
import pytest
import torch

from rum_ray import config
from rum_ray.api import make_report
from rum_ray.errors import ConfigError, DataError
from rum_ray.jobs import Context
from rum_ray.jobs.pretrained import import_weights
from rum_ray.report.files import write
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.forecast import counted
from rum_ray.study.given import RETRAINED, check_files, original_files, reference_files
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import LoggedProgress
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.training.prediction import predict


class Told(LoggedProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


COUNT = 3
"""Originals, and references of the forget set."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return easydub.write(tmp_path_factory.mktemp("EasyDUB-dataset"), COUNT)


def opened(root: Path, store: Path, *changes: str) -> Study:
    experiment = config.parse(easydub.tree(root), changes)
    return Study(experiment, Context(experiment.load_data(), Store(store)))


def logits(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Of a network as EasyDUB evaluates it: with its normalisation outside the model."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (easydub.MEAN, easydub.STD))
    with torch.inference_mode():
        return network.eval()((x / 255 - mean) / std)


def test_models_are_those_of_the_files(root, tmp_path, monkeypatch):
    monkeypatch.setattr("rum_ray.data.batches.PREDICTION_BATCH", 100)
    study = opened(root, tmp_path)
    told = Told()
    Pipeline(study, LocalExecutor(), told, Clock()).run("run")
    assert sum("layers have numbers" in line for line in told.lines) == 2
    assert sum("first given reference" in line for line in told.lines) == 1
    train = study.context.bundle.train
    assert study.forget.tolist() == easydub.FORGET[2]
    assert not original_files(study)
    assert not reference_files(study)
    groups = {
        "pretrain": (study.originals, (1,)),
        "oracle/forget_2": (study.retrained, (1,)),
        "oracle/forget_2 ": (study.retrained_again, (2,)),
    }
    for kind, (models, numbers) in groups.items():
        for model, number in zip(models, numbers, strict=True):
            network = easydub.load(root, kind.strip(), number)
            expected = logits(network, train.x).softmax(dim=1)
            found = predict(model.load(study.context), train)
            np.testing.assert_allclose(found, expected, atol=1e-5)
    made = make_report(study, Clock())
    write(tmp_path / "out", made)
    report = made.summary
    assert [row.method for row in report.rows][:3] == ["retrained", "retrained_again", "original"]
    assert "retrained_reordered" not in {row.method for row in report.rows}
    assert report.costs.references == report.costs.originals == 0
    assert any(line.startswith("The references were given") for line in report.warnings)
    assert not any("share one given original" in line for line in report.warnings)
    assert "noise floor" in (tmp_path / "out/report.md").read_text("utf-8")


def test_given_models_cost_nothing(root, tmp_path):
    lines = {line.stage: line for line in counted(opened(root, tmp_path), "run")}
    assert (lines["retrain"].missing, lines["retrain"].trainings) == (2, 0)
    trained = counted(opened(root, tmp_path, "evaluate.retrained="), "run")
    assert {line.stage: line for line in trained}["retrain"].trainings == 3


def damaged(root: Path, tmp_path: Path) -> Path:
    """A copy in which files may be changed."""
    return easydub.write(tmp_path / "copy", COUNT, like=root)


def test_missing_files_are_named(root, tmp_path):
    copy = damaged(root, tmp_path)
    study = opened(copy, tmp_path / "store")
    easydub.path(copy, "pretrain", 1).unlink()
    with pytest.raises(DataError, match=r"^recipe\.weights: 1 of 1 .*pretrain/.*id_1_epoch_23"):
        check_files(study)
    with pytest.raises(DataError, match=r"^recipe\.weights: .*pretrain/.*id_1_epoch_23"):
        assert study.originals
    easydub.path(copy, "oracle/forget_2", 2).unlink()
    study = opened(copy, tmp_path / "store", "recipe.weights=")
    with pytest.raises(DataError, match=r"^evaluate\.retrained: 1 of 2 .*forget_2/.*id_2_epoch_23"):
        check_files(study)
    (copy / "forget_sets/cifar10/forget_set_2.npy").unlink()
    with pytest.raises(DataError, match=r"forget_set_2\.npy cannot be read"):
        opened(copy, tmp_path / "store")


def test_models_of_other_classes_are_refused(root, tmp_path):
    place = easydub.path(damaged(root, tmp_path), "oracle/forget_2", 2)
    torch.save(easydub.resnet9(12).state_dict(), place)
    study = opened(root, tmp_path / "store")
    files = {str(place): [study.retrained_again[0]]}
    with pytest.raises(DataError, match=r"^evaluate\.retrained: .*id_2_.* 12 classes, .* data 10"):
        import_weights(files, study.context, RETRAINED)


def test_another_network_is_refused(root, tmp_path):
    copy = damaged(root, tmp_path)
    torch.save(easydub.resnet9()[:6].state_dict(), easydub.path(copy, "pretrain", 1))
    with pytest.raises(DataError, match=r"^recipe\.weights: .*resnet9"):
        check_files(opened(copy, tmp_path / "store"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 200], r"1 of 2 ids are not in the training set of 100 examples: entry 2"),
        ([-1], r"1 of 1 ids are not in the training set"),
        ([3, 3], r"listed twice"),
    ],
)
def test_rows_out_of_range_are_refused(root, tmp_path, rows, message):
    copy = damaged(root, tmp_path)
    np.save(copy / "forget_sets/cifar10/forget_set_2.npy", np.array(rows))
    with pytest.raises(DataError, match=message):
        assert opened(copy, tmp_path / "store").forget.size


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("evaluate.retrained=oracle.pt", "evaluate.retrained"),
        ("forget={size: 30, pick: random}", "evaluate.retrained"),
        ("search={budget: 2}", "search"),
    ],
)
def test_experiments_that_files_do_not_fit_are_refused(root, change, place):
    with pytest.raises(ConfigError, match=rf"^{place}: "):
        config.parse(easydub.tree(root), (change,))


def test_keys_hold_the_content_of_each_file(root, tmp_path):
    study = opened(root, tmp_path)
    found = {model.weights for model in (*study.originals, *study.retrained)}
    assert len(found) == 2
    copy = damaged(root, tmp_path)
    again = opened(copy, tmp_path)
    assert [o.weights for o in again.originals] == [o.weights for o in study.originals]
    trained = dataclasses.replace(study.retrained[0], weights=None)
    assert trained.key(study.context).digest != study.retrained[0].key(study.context).digest
    assert trained.seed == Seed(1) / "run"
