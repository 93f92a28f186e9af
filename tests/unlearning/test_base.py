import copy
import dataclasses

import pytest
import torch
from torch import nn

from rum_ray.data import LabeledData
from rum_ray.errors import DivergedError, PlanError
from rum_ray.models import Classifier
from rum_ray.testing import same_bits, sensitive_model
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, FineTune, GradientUnlearner, UnlearningTask
from rum_ray.unlearning.base import EpochData

GRADIENT = [kind for kind in UNLEARNERS.values() if issubclass(kind, GradientUnlearner)]
DEFAULTS = {"lr": 0.01, "epochs": 5, "batch_size": 64, "momentum": 0.9, "weight_decay": 5e-4}
OWN_DEFAULTS = {
    "l1_sparse": {"alpha": 1e-4},
    "neggrad+": {"alpha": 0.95},
    "scrub": {"alpha": 0.5, "gamma": 1.0, "temperature": 4.0, "max_epochs": 3},
    "salun": {"keep": 0.5, "mask": "saliency"},
    "bad_teacher": {"temperature": 1.0, "retain_share": 0.3},
    "msg": {"redraw": 0.3, "scale": 0.1},
    "retrain": {"recipe": None},
    "influence": {"alpha": 1.0, "mode": "official", "damping": 1.0, "iterations": 10},
    "datamodel_matching": {"lr": 0.001},
    "ssd": {"alpha": 10.0, "dampening": 1.0, "exponent": 1.0, "batch_size": 64},
}


@pytest.mark.parametrize("name", UNLEARNERS)
def test_fields_keep_their_defaults(name):
    kind = UNLEARNERS[name]
    fields = {f.name: f.default for f in dataclasses.fields(kind)}
    shared = DEFAULTS if issubclass(kind, GradientUnlearner) else {}
    assert (shared | OWN_DEFAULTS.get(name, {})).items() <= fields.items()


@pytest.mark.parametrize("kind", GRADIENT)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lr", 0.0, "lr must be positive, got 0.0"),
        ("lr", float("nan"), "lr must be positive, got nan"),
        ("epochs", 0, "epochs must be positive, got 0"),
        ("batch_size", -1, "batch_size must be positive, got -1"),
        ("momentum", -0.1, "momentum must not be negative, got -0.1"),
        ("weight_decay", -1.0, "weight_decay must not be negative, got -1.0"),
    ],
)
def test_bad_fields(kind, field, value, message):
    with pytest.raises(ValueError, match=message):
        kind(**{field: value})


@pytest.mark.parametrize("kind", GRADIENT)
def test_negative_weights_are_refused(kind):
    for field in {"alpha", "gamma", "keep", "max_epochs"} & {
        f.name for f in dataclasses.fields(kind)
    }:
        with pytest.raises(ValueError, match=f"{field} must .*, got -1"):
            kind(**{field: -1})


@pytest.mark.parametrize("part", ["forget", "retain"])
def test_an_empty_set_is_an_error(model, task, runtime, part):
    empty = dataclasses.replace(task, **{part: task.forget.take([])})
    with pytest.raises(PlanError, match=f"^finetune: .*{part} set"):
        FineTune()(model, empty, runtime)


def test_a_loss_that_is_not_finite_diverged(model, task, runtime):
    with pytest.raises(DivergedError, match=r"^finetune .* loss of inf in epoch 1\. .* 1e\+38"):
        FineTune(lr=1e38, batch_size=130, epochs=2)(model, task, runtime)


def test_weights_that_are_not_finite_diverged(model, task, runtime):
    with pytest.raises(DivergedError, match=r"^finetune .* \(features\.1\.weight\).* lr"):
        FineTune(lr=float("inf"), batch_size=130, epochs=1)(model, task, runtime)


def test_the_model_may_be_frozen_and_in_train_mode(model, task, runtime):
    expected = FineTune(lr=0.1)(model, task, runtime)
    result = FineTune(lr=0.1)(model.train().requires_grad_(False), task, runtime)
    assert same_bits(result, expected)
    assert model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_batch_normalisation_is_in_train_mode(task, runtime):
    features = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 8), nn.ReLU())
    model = Classifier(features, nn.Linear(8, 4)).eval()
    result = FineTune(lr=0.01, epochs=1, batch_size=90)(model, task, runtime)
    seen = task.retain.x.flatten(1)
    torch.testing.assert_close(result.features[1].running_mean, 0.1 * seen.mean(0))
    torch.testing.assert_close(result.features[1].running_var, 0.9 + 0.1 * seen.var(0))


def test_the_student_trains_and_the_teacher_is_frozen(model, task, runtime):
    seen = []

    class Watched(FineTune):
        def losses(self, model, teacher, data, epoch):
            seen.append((model.training, teacher.training))
            assert not any(p.requires_grad for p in teacher.parameters())
            assert same_bits(teacher, start)
            assert (epoch > 0) != same_bits(model, start)
            return super().losses(model, teacher, data, epoch)

    start = copy.deepcopy(model)
    Watched(lr=0.1, epochs=3)(model.train(), task, runtime)
    assert seen == [(True, False)] * 3


def test_dropout_is_drawn_again_in_each_epoch(task, runtime):
    model, masks = sensitive_model(0), []
    model.features[4].register_forward_hook(lambda module, _, output: masks.append(output == 0))
    one = task.retain.take([0] * 90)  # so that the order of the examples does not matter
    still = FineTune(lr=1e-30, weight_decay=0.0, epochs=2, batch_size=90)
    still(model, UnlearningTask(task.forget, one, model), runtime)
    assert len(masks) == 2
    assert not torch.equal(*masks)


def test_the_order_of_batches_is_drawn_by_epoch_and_set(task, runtime):
    def rows(streams, name):
        return torch.cat([x for x, _ in getattr(streams, name)]).flatten(1)

    first, again, later = (EpochData(task, runtime, epoch, 16) for epoch in (0, 0, 1))
    for name, data in (("forget", task.forget), ("retain", task.retain)):
        batches = list(getattr(first, name))
        assert [len(x) for x, _ in batches[:-1]] == [16] * (len(batches) - 1)
        assert torch.equal(rows(first, name), rows(again, name))
        assert not torch.equal(rows(first, name), rows(later, name))
        assert torch.equal(rows(first, name).sort(0).values, data.x.flatten(1).sort(0).values)


def test_mixed_batches_hold_both_sets_with_the_new_labels(task, runtime):
    labels = torch.full((40,), 3)
    mixed = list(EpochData(task, runtime, 0, 32).mixed(labels))
    assert [len(x) for x, _ in mixed] == [32] * 4 + [2]
    x, y = (torch.cat(parts) for parts in zip(*mixed, strict=True))
    for data, expected in ((task.forget, labels), (task.retain, task.retain.y)):
        places = [int((x == one).flatten(1).all(1).nonzero()) for one in data.x]
        assert torch.equal(y[places], expected)
    forget = [bool((task.forget.x == one).flatten(1).all(1).any()) for one in x]
    assert 0 < sum(forget[:32]) < 32  # the sets are mixed, not one after the other


def test_bytes_and_floats_give_the_same_result(runtime):
    pixels = torch.arange(40 * 64).view(40, 1, 8, 8) % 251
    y = torch.arange(40) % 4
    model = Recipe("mlp").build(LabeledData(pixels.float(), y), runtime.seed)

    def unlearned(x):
        data = LabeledData(x, y)
        task = UnlearningTask(data.take(range(10)), data.take(range(10, 40)), model)
        return UNLEARNERS["salun"](lr=0.1)(model, task, runtime)

    assert same_bits(unlearned(pixels.to(torch.uint8)), unlearned(pixels / 255))


@pytest.mark.parametrize("kind", GRADIENT)
def test_unlearning_follows_the_recipe_of_the_original(kind, task, runtime):
    plain, model = Recipe("small_cnn", batch_size=64), sensitive_model(0)
    task = dataclasses.replace(task, original=model)
    unlearner = kind(epochs=1, lr=1e-3)
    ways = (
        None,
        plain,
        *(
            dataclasses.replace(plain, **change)
            for change in ({"augment": True}, {"precision": "bfloat16"})
        ),
    )
    alone, same, augmented, mixed = (
        unlearner(model, dataclasses.replace(task, recipe=way), runtime) for way in ways
    )
    assert same_bits(alone, same)
    assert not same_bits(alone, augmented)
    assert not same_bits(alone, mixed)
    assert all(p.dtype == torch.float32 for p in mixed.parameters())
