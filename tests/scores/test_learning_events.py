import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from rum_ray.scores import PROXIES
from rum_ray.scores.learning_events import EVENTS, LearningEvents
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

RECIPE = Recipe("mlp", epochs=3, lr=0.1, batch_size=64)


def logits(epoch: int, rows: int = 6, classes: int = 4) -> torch.Tensor:
    draws = (Seed(0) / epoch).uniform(rows * classes).reshape(rows, classes)
    return torch.from_numpy(6 * draws - 3).float()


def test_events_are_means_over_epochs_of_the_literal_definitions():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    events, expected = LearningEvents(6), {name: np.zeros(6) for name in EVENTS}
    for epoch in range(3):
        order = torch.from_numpy((Seed(1) / epoch).permutation(6))
        for rows in order.split(4):
            events(rows, logits(epoch)[rows], labels[rows])
        for i, z in enumerate(logits(epoch).double().numpy()):
            p = softmax(z)
            expected["confidence"][i] += (1 - p[labels[i]]) / 3
            expected["max_confidence"][i] += (1 - p.max()) / 3
            expected["entropy"][i] += entropy(p) / 3
            expected["binary_accuracy"][i] += (p.argmax() != int(labels[i])) / 3
            expected["cumulative_loss"][i] -= np.log(p[labels[i]]) / 3
    for name, scores in events.scores().items():
        np.testing.assert_allclose(scores.values, expected[name], atol=1e-6)
        assert scores.name == name


def test_a_certain_prediction_has_no_entropy():
    events = LearningEvents(1)
    events(torch.tensor([0]), torch.tensor([[500.0, -500.0, 0.0]]), torch.tensor([0]))
    assert {name: float(s.values[0]) for name, s in events.scores().items()} == dict.fromkeys(
        EVENTS, 0
    )


def test_examples_without_a_visit_are_unknown():
    events = LearningEvents(3)
    events(torch.tensor([1]), torch.zeros(1, 2), torch.tensor([0]))
    for scores in events.scores().values():
        assert np.isnan(scores.values).tolist() == [True, False, True]


def test_counting_resumes_from_the_state():
    labels, whole = torch.zeros(6, dtype=torch.int64), LearningEvents(6)
    parts = LearningEvents(6)
    for epoch in range(2):
        whole(torch.arange(6), logits(epoch), labels)
        resumed = LearningEvents(6)
        resumed.load_state_dict(parts.state_dict())
        resumed(torch.arange(6), logits(epoch), labels)
        parts = resumed
    assert torch.equal(parts.sums, whole.sums)
    assert parts.visits.tolist() == [2] * 6


def test_restoring_a_state_discards_the_buffer():
    labels, events = torch.zeros(6, dtype=torch.int64), LearningEvents(6)
    events(torch.arange(6), logits(0), labels)
    before = {name: value.clone() for name, value in events.state_dict().items()}
    events(torch.arange(4), logits(1)[:4], labels[:4])
    assert events.state_dict()["visits"].tolist() == [2] * 4 + [1] * 2
    events(torch.arange(4, 6), logits(1)[4:], labels[4:])
    events.load_state_dict(before)
    events(torch.arange(6), logits(1), labels)
    whole = LearningEvents(6)
    for epoch in range(2):
        whole(torch.arange(6), logits(epoch), labels)
    assert torch.equal(events.sums, whole.sums)
    assert events.visits.tolist() == [2] * 6


def test_an_example_may_occur_twice_before_the_epoch_ends():
    events = LearningEvents(6)
    events(torch.tensor([2, 2]), torch.tensor([[0.0, 0.0], [9.0, 9.0]]), torch.tensor([0, 1]))
    assert events.scores()["confidence"].values[2] == 0.5
    assert events.visits.tolist() == [0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize("name", EVENTS)
def test_a_proxy_is_its_event_of_one_training(bundle, name):
    events = LearningEvents(160)
    RECIPE.fit(bundle.train, LocalRuntime(Seed(0)), events)
    scores = PROXIES[name]()(bundle, RECIPE, LocalRuntime(Seed(0)))
    assert np.array_equal(scores.values, events.scores()[name].values)
    assert scores.name == name
    assert PROXIES[name]() == PROXIES[name]()


def test_ranges(bundle):
    highest = {"entropy": np.log(4), "cumulative_loss": np.inf}
    for name in EVENTS:
        values = PROXIES[name]()(bundle, RECIPE, LocalRuntime(Seed(0))).values
        assert values.min() >= 0
        assert values.max() <= highest.get(name, 1)
        if name == "binary_accuracy":
            assert set(np.round(3 * values, 9)) <= {0, 1, 2, 3}
