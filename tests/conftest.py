"""Shared fixtures: an easy data set with planted label noise, a tiny model, a runtime."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from rum_ray.data import DataBundle, LabeledData, LabelNoise
from rum_ray.models import Classifier
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime
from rum_ray.training.runtime import set_threads
from rum_ray.unlearning import UnlearningTask

pytest.register_assert_rewrite("rum_ray.testing")
settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    set_threads(1)


@pytest.fixture(scope="session")
def bundle() -> DataBundle:
    """8 x 8 images in four classes, 160 / 40 / 60; one in ten training labels is wrong."""
    root = Seed(0) / "bundle"
    patterns = (root / "patterns").uniform(4 * 64).reshape(4, 1, 8, 8)

    def part(name: str, first: int, size: int) -> LabeledData:
        y = np.arange(size) % 4
        noise = (root / name).uniform(size * 64).reshape(size, 1, 8, 8) - 0.5
        x = torch.from_numpy(patterns[y] + noise).float()
        return LabeledData(x, y, ids=first + np.arange(size), num_classes=4)

    noise, train = LabelNoise(0.1, root), part("train", 100, 160)
    return DataBundle(
        name="planted",
        train=train.relabeled(noise(train.y, 4, "train")),
        valid=part("valid", 0, 40),
        test=part("test", 40, 60),
        class_names=("a", "b", "c", "d"),
        label_noise=noise,
        true_labels=train.y,
    )


def _tiny(seed: int) -> nn.Module:
    """A network of 1,108 weights without normalisation or dropout."""
    with Seed(seed).torch():
        features = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        return Classifier(features, nn.Linear(16, 4)).eval()


@pytest.fixture
def model() -> nn.Module:
    return _tiny(1)


@pytest.fixture
def task(bundle) -> UnlearningTask:
    """40 examples to forget and 90 to keep; the original is not `model`."""
    rows = np.arange(160)
    sets, shift = [bundle.train.take(each) for each in (rows[:40], rows[50:140])], np.zeros(130)
    return UnlearningTask(*sets, _tiny(0), shift=shift)


@pytest.fixture
def runtime() -> LocalRuntime:
    return LocalRuntime(Seed(0))
