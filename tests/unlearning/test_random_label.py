import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import unlearning as reference

from rum_ray.data import LabeledData
from rum_ray.seeding import Seed
from rum_ray.testing import same_bits, sensitive_model
from rum_ray.training import LocalRuntime
from rum_ray.unlearning import FineTune, RandomLabel, SalUn, UnlearningTask
from rum_ray.unlearning.random_label import lowest

ONE_BATCH = {"lr": 0.2, "epochs": 2, "batch_size": 130}


def frozen(unlearner, task, runtime):
    """Mask of frozen weights, by parameter."""
    masks = unlearner.prepare(task.original, task, runtime)
    assert all(bool(((mask == 0) | (mask == 1)).all()) for mask in masks.values())
    parameters = dict(task.original.named_parameters())
    return [masks.get(name, torch.ones_like(p)) == 0 for name, p in parameters.items()]


def test_random_label_is_its_formula_with_the_public_draw(model, task, runtime):
    unlearner = RandomLabel(**ONE_BATCH)
    labels = [unlearner.labels(task, runtime, epoch) for epoch in range(2)]
    result = unlearner(model, task, runtime)
    reference.check(result, reference.random_label(unlearner, model, task, labels), model)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_salun_is_its_formula_and_its_mask(model, task, runtime, keep):
    unlearner = SalUn(**ONE_BATCH, keep=keep)
    labels = [unlearner.labels(task, runtime, epoch) for epoch in range(2)]
    masks = reference.salun_frozen(task.original, [task.forget], keep)
    assert sum(int(mask.sum()) for mask in masks) == 1108 - int(keep * 1108)
    result = unlearner(model, task, runtime)
    literal = reference.random_label(unlearner, model, task, labels, masks)
    reference.check(result, literal, model)
    # Neither momentum nor weight decay touches a frozen weight; every other weight moves.
    for after, before, mask in zip(result.parameters(), model.parameters(), masks, strict=True):
        assert torch.equal(after == before, mask)


def test_salun_with_all_weights_is_random_label(model, task, runtime):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 32}
    expected = RandomLabel(**settings)(model, task, runtime)
    assert same_bits(SalUn(**settings, keep=1.0)(model, task, runtime), expected)


def test_salun_with_no_weights_moves_none(model, task, runtime):
    # Not even weight decay and momentum do; the mask that was released has no effect either.
    for mask in ("saliency", "official"):
        unlearner = SalUn(lr=0.5, keep=0.0, mask=mask)
        assert same_bits(unlearner(model, task, runtime), model)


def test_a_repair_is_fine_tuning_of_all_weights_at_a_tenth_of_the_rate(model, task, runtime):
    plain = SalUn(**ONE_BATCH, keep=0.3)
    repaired = dataclasses.replace(plain, repair=3)
    tuning = FineTune(lr=0.1 * 0.2, epochs=3, batch_size=130)
    result = repaired(model, task, runtime)
    literal = reference.finetune(tuning, plain(model, task, runtime), task)
    reference.check(result, literal, model)
    assert repaired.cost(forget=40, retain=90) == plain.cost(forget=40, retain=90) + 3 * 90
    with pytest.raises(ValueError, match="repair must not be negative"):
        SalUn(repair=-1)


@pytest.mark.parametrize(("size", "batches"), [(40, 1), (15, 3)])
def test_the_released_mask_moves_the_least_salient_weights(task, runtime, size, batches):
    unlearner = SalUn(lr=0.5, keep=0.3, mask="official", batch_size=size)
    order = (runtime.seed / "order").permutation(40)
    parts = [task.forget.take(order[i : i + size]) for i in range(0, 40, size)]
    assert len(parts) == batches
    literal = reference.salun_frozen_as_released(unlearner, task.original, parts, 0.3)
    found = frozen(unlearner, task, runtime)
    assert all(map(torch.equal, found, literal))
    # One batch has no ascent step, so the updated weights are the least salient ones.
    right = frozen(SalUn(keep=0.7, batch_size=size), task, runtime)
    opposite = sum(int((a != b).sum()) for a, b in zip(found, right, strict=True))
    assert (opposite >= 1108 - 2) == (batches == 1)


def test_saliency_is_that_of_the_original_in_eval_mode(task, runtime):
    # Normalisation and dropout would change the gradients, and the running statistics.
    def mask_of(original):
        data = UnlearningTask(task.forget, task.retain, original)
        return frozen(SalUn(keep=0.5), data, runtime)

    original = sensitive_model(0).eval()
    mask = mask_of(original)
    assert all(map(torch.equal, mask, mask_of(original.train())))
    assert original.training
    assert same_bits(original, sensitive_model(0))
    assert not all(map(torch.equal, mask, mask_of(sensitive_model(1))))


def test_saliency_is_of_the_sum_of_batch_means(task, runtime):
    # The last batch counts as much as a full one, as in SalUn's own code.
    order = (runtime.seed / "order").permutation(40)
    batches = [task.forget.take(rows) for rows in (order[:30], order[30:])]
    expected = reference.salun_frozen(task.original, batches, 0.5)
    found = frozen(SalUn(keep=0.5, batch_size=30), task, runtime)
    assert all(map(torch.equal, found, expected))
    whole = reference.salun_frozen(task.original, [task.forget], 0.5)
    assert not all(map(torch.equal, found, whole))


def test_equal_saliency_goes_to_the_earlier_weight(task, runtime):
    zeros = LabeledData(torch.zeros(4, 1, 8, 8), torch.arange(4))
    blank = UnlearningTask(zeros, task.retain, task.original)
    # Without input the first layer has no gradient: its weights, the first 1,024, are all equal.
    first = frozen(SalUn(keep=0.5), blank, runtime)[0].flatten()
    assert int(first.sum()) == 1024 - (554 - 84)
    assert not first[:470].any()


def test_labels_are_drawn_again_over_all_classes_of_the_model(task, runtime):
    one_class = LabeledData(torch.zeros(4000, 1, 8, 8), torch.zeros(4000))
    many = UnlearningTask(one_class, task.retain, task.original)
    draws = [RandomLabel().labels(many, runtime, epoch) for epoch in (0, 1)]
    for labels in draws:
        assert labels.dtype == torch.int64
        counts = torch.bincount(labels, minlength=4)
        assert len(counts) == 4  # the data itself knows one class only
        assert counts.tolist() == pytest.approx([1000] * 4, abs=120)
    assert 0.15 < float((draws[0] == draws[1]).float().mean()) < 0.35
    assert torch.equal(draws[0], SalUn().labels(many, runtime, 0))
    assert not torch.equal(draws[0], RandomLabel().labels(many, LocalRuntime(Seed(1)), 0))


def test_labels_do_not_change_the_original(task, runtime):
    task.original.train()
    before = {name: value.clone() for name, value in task.original.state_dict().items()}
    RandomLabel().labels(task, runtime, 0)
    assert task.original.training
    assert all(torch.equal(before[n], v) for n, v in task.original.state_dict().items())


def test_cost():
    assert RandomLabel(epochs=3).cost(10, 100) == 330
    assert SalUn(epochs=3).cost(10, 100) == 340


def test_keep_must_be_in_0_to_1():
    for keep in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"keep must be in \[0, 1\], got {keep}"):
            SalUn(keep=keep)


def test_an_unknown_mask_is_an_error():
    with pytest.raises(ValueError, match="mask must be saliency or official, got 'released'"):
        SalUn(mask="released")


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0, 1))
def test_the_lowest_values_are_the_first_of_a_stable_sort(values, share):
    numbers, count = torch.tensor(values, dtype=torch.float32), int(share * len(values))
    expected = torch.zeros(len(values), dtype=torch.bool)
    expected[numbers.argsort(stable=True)[:count]] = True
    assert torch.equal(lowest(numbers, count), expected)
    # The highest values: the lowest of their negatives, also in a stable descending sort.
    expected = torch.zeros(len(values), dtype=torch.bool)
    expected[numbers.argsort(descending=True, stable=True)[:count]] = True
    assert torch.equal(lowest(-numbers, count), expected)
