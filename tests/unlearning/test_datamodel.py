"""The datamodel against least squares by hand, and the unlearner that matches it."""

import dataclasses

import numpy as np
import pytest
import torch

from rum_ray.errors import PlanError, ScoreError
from rum_ray.unlearning import DatamodelMatching
from rum_ray.unlearning.datamodel import (
    LIMIT,
    RIDGES,
    label_logit,
    predicted_shifts,
    recorded_outputs,
)


def pool(models, examples, rows, noise):
    """Masks; outputs linear in the rows and in the example's own mask; the slopes of both."""
    rng = np.random.default_rng(0)
    included = rng.random((models, examples)) < 0.6
    own, slopes = rng.normal(size=examples), rng.normal(size=(len(rows), examples))
    slopes[range(len(rows)), rows] = 0
    outputs = rng.normal(size=examples) + included * own + included[:, rows] @ slopes
    return included, outputs + noise * rng.normal(size=outputs.shape), own, slopes


def test_a_linear_world_is_predicted_exactly():
    rows = np.array([1, 4, 7])
    included, outputs, own, slopes = pool(60, 12, rows, noise=0)
    found = predicted_shifts(included, outputs, [rows[:2], rows[2:]])
    expected = np.stack([-slopes[:2].sum(axis=0), -slopes[2]])
    expected[0, [1, 4]] -= own[[1, 4]]
    expected[1, 7] -= own[7]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    mask = np.ones((2, 12))
    mask[1, rows] = 0
    whole, without = mask * own + mask[:, rows] @ slopes
    np.testing.assert_allclose(found.sum(axis=0), without - whole, atol=1e-3)


def by_hand(z, y, rows, j, ridge):
    """Coefficients of column j: the constant, its own, then the rows; only these are penalized."""
    slopes = z[:, rows] * (0 if np.isinf(ridge) else 1)
    x = np.column_stack([np.ones(len(z)), z[:, j], slopes])
    penalty = np.diag([0, 0, *[1.0 if np.isinf(ridge) else ridge] * len(rows)])
    return np.linalg.solve(x.T @ x + penalty, x.T @ y[:, j])


def predicted(beta, z, rows, j, m):
    return beta[0] + beta[1] * z[m, j] + z[m, rows] @ beta[2:]


@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
def test_it_is_ridge_regression_with_the_least_leave_one_out_error(noise):
    rows = np.array([0, 2])
    included, outputs, _, _ = pool(14, 5, rows, noise)
    z = included.astype(float)

    def left_out(ridge):
        errors = []
        for j in rows:
            for m in range(len(z)):
                others = np.arange(len(z)) != m
                beta = by_hand(z[others], outputs[others], rows, j, ridge)
                errors.append(outputs[m, j] - predicted(beta, z, rows, j, m))
        return np.mean(np.square(errors))

    best = min(RIDGES, key=left_out)
    expected = np.zeros(5)
    for j in range(5):
        beta = by_hand(z, outputs, rows, j, best)
        expected[j] = -beta[2:].sum() - (beta[1] if j in rows else 0)
    found = predicted_shifts(included, outputs, [rows])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_shifts_of_groups_add_up():
    rows = np.array([0, 3, 5, 6])
    included, outputs, _, _ = pool(30, 9, rows, noise=1)
    parts = predicted_shifts(included, outputs, [rows[:1], rows[1:]])
    np.testing.assert_allclose(
        parts.sum(axis=0), predicted_shifts(included, outputs, [rows])[0], atol=1e-3
    )


def test_an_example_outside_that_no_model_lacks_shifts_by_the_others_alone():
    included, outputs, _, _ = pool(20, 4, np.array([0]), noise=1)
    included[:, 3] = True
    assert np.isfinite(predicted_shifts(included, outputs, [np.array([0])])).all()


@pytest.mark.parametrize("always", [True, False])
def test_an_example_to_forget_needs_models_with_and_without_it(always):
    included, outputs, _, _ = pool(20, 4, np.array([0]), noise=1)
    included[:, 0] = always
    with pytest.raises(ScoreError, match=r"^1 of 2 examples"):
        predicted_shifts(included, outputs, [np.array([0, 1])])


def test_outputs_of_records_are_limited_logits():
    found = recorded_outputs(np.array([0.0, 0.25, 0.5, 1.0], np.float16))
    np.testing.assert_allclose(found, [-LIMIT, -np.log(3), 0, LIMIT])


def test_the_logit_of_a_label_is_that_of_its_probability():
    logits, labels = torch.randn(9, 5).double(), torch.arange(9) % 5
    p = logits.softmax(1)[range(9), labels]
    torch.testing.assert_close(label_logit(logits, labels).double(), (p / (1 - p)).log())


def test_the_outputs_move_by_the_shift(model, task, runtime):
    shift = np.concatenate([np.full(40, -2.0), np.zeros(90)]).astype(np.float32)
    unlearner = DatamodelMatching(
        lr=0.02, epochs=200, batch_size=130, weight_decay=0.0, retain_share=1.0
    )
    after = unlearner(model, dataclasses.replace(task, shift=shift), runtime)
    for data, change in ((task.forget, -2.0), (task.retain, 0.0)):
        with torch.no_grad():
            moved = label_logit(after(data.x), data.y) - label_logit(model(data.x), data.y)
        assert float((moved - change).abs().mean()) < 0.5


def test_a_task_without_shifts_is_an_error(model, task, runtime):
    with pytest.raises(PlanError, match=r"^datamodel_matching: .*score\.confidences"):
        DatamodelMatching()(model, dataclasses.replace(task, shift=None), runtime)
