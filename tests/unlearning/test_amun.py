import numpy as np
import pytest
import torch
from reference import unlearning as reference
from torch import nn

from rum_ray.data import LabeledData
from rum_ray.testing import same_bits
from rum_ray.unlearning import AMUN, RandomLabel, UnlearningTask

ONE_BATCH = {"lr": 0.2, "batch_size": 130, "epochs": 2}
SHORT = {"radius": 0.1, "radii": 3, "steps": 5}


@pytest.mark.parametrize("fields", [SHORT, {**SHORT, "radii": 1}, {"radius": 4.0, "steps": 3}])
def test_it_is_its_formula(model, task, runtime, fields):
    unlearner = AMUN(**ONE_BATCH, **fields)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.amun(unlearner, model, task), model)


def found(unlearner: AMUN, model: nn.Module, task: UnlearningTask) -> LabeledData:
    frozen = model.eval().requires_grad_(False)
    return unlearner.adversarial(frozen, task.forget, task.retain, torch.device("cpu"))


def line(margins: list[float]) -> tuple[nn.Module, UnlearningTask]:
    """Two classes by the sign of the first input, and examples of class 1 at these distances."""
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    x = torch.tensor([[margin, 0.25] for margin in margins])
    ends = LabeledData(torch.tensor([[-9.0, 0.0], [9.0, 1.0]]), [0, 1])
    return model, UnlearningTask(LabeledData(x, [1] * len(margins), num_classes=2), ends, model)


def test_of_a_linear_model_the_nearest_point_is_across_the_boundary():
    """Steps are a tenth of the radius, which doubles until it exceeds the distance."""
    model, task = line([0.055, 0.15, 0.35, 0.75])
    near = found(AMUN(radius=0.1, radii=4, steps=20), model, task)
    assert near.y.tolist() == [0, 0, 0, 0]
    assert near.x[:, 1].tolist() == [0.25] * 4
    # The first multiple of 0.01, 0.02, 0.04 and 0.08 above the distance.
    away = task.forget.x[:, 0] - near.x[:, 0]
    assert away.tolist() == pytest.approx([0.06, 0.16, 0.36, 0.80], abs=1e-5)


def test_an_example_that_no_radius_reaches_keeps_its_last_point():
    model, task = line([8.0])
    near = found(AMUN(radius=0.1, radii=3, steps=20), model, task)
    assert near.y.tolist() == [0]
    assert near.x[0].tolist() == pytest.approx([8.0 - 0.4, 0.25])


def test_an_example_that_is_misclassified_already_stays():
    model, task = line([-0.5, 0.05])
    near = found(AMUN(radius=0.1, radii=3, steps=20), model, task)
    assert near.x[0].tolist() == task.forget.x[0].tolist()
    assert near.y.tolist() == [0, 0]


def test_points_stay_in_the_range_of_the_inputs():
    model, task = line([0.3])
    bound = UnlearningTask(task.forget, LabeledData(torch.tensor([[0.1, 0.9]]), [1]), model)
    near = found(AMUN(radius=0.1, radii=6, steps=20), model, bound)
    assert near.x[0].tolist() == pytest.approx([0.1, 0.25])


def test_adversarial_examples_are_near_and_misclassified(model, task):
    near = found(AMUN(radius=0.05, radii=8, steps=20), model, task)
    predicted = model(near.x).argmax(1)
    assert torch.equal(predicted, near.y)
    assert (near.y != task.forget.y).all()
    far = (near.x - task.forget.x).flatten(1).norm(dim=1)
    spread = torch.cdist(task.forget.x.flatten(1), task.retain.x.flatten(1)).min(dim=1).values
    assert (far < spread).float().mean() > 0.9
    assert np.array_equal(near.ids, task.forget.ids)


def test_images_in_bytes_and_in_floats_are_the_same(runtime):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    pixels = torch.arange(40 * 48).mul(37).remainder(256).to(torch.uint8).view(40, 3, 4, 4)
    results = []
    for x in (pixels, pixels.float() / 255):
        data = LabeledData(x, np.arange(40) % 3)
        task = UnlearningTask(data.take(range(10)), data.take(range(10, 40)), model)
        results.append(AMUN(epochs=1, **SHORT)(model, task, runtime))
    assert same_bits(*results)


def test_without_a_radius_to_speak_of_it_trains_on_rival_classes(model, task, runtime):
    """At a tiny radius A is S with the most probable other classes."""
    settings = {"lr": 0.1, "epochs": 1, "batch_size": 130}
    result = AMUN(**settings, radius=1e-9, radii=1, steps=1)(model, task, runtime)

    class Rivals(RandomLabel):
        def labels(self, task, runtime, epoch):
            logits = model(task.forget.x).detach().scatter(1, task.forget.y[:, None], -torch.inf)
            wrong = model(task.forget.x).argmax(1)
            return torch.where(wrong == task.forget.y, logits.argmax(1), wrong)

    expected = Rivals(**settings)(model, task, runtime)
    assert reference.distance(result, expected) < 1e-6


def test_cost():
    assert AMUN(epochs=2).cost(30, 300) == pytest.approx(2 * 330 + 6 * (50 + 1 / 3) * 30)
    assert AMUN(epochs=1, radii=1, steps=1).cost(30, 300) == pytest.approx(330 + 30 * 4 / 3)


@pytest.mark.parametrize("field", ["radius", "radii", "steps"])
def test_bad_fields(field):
    with pytest.raises(ValueError, match=f"{field} must be positive, got 0"):
        AMUN(**{field: 0})
