import math

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from rum_ray.errors import DataError
from rum_ray.evaluation import ATTACKS, Attack, auc_attack, svm_attack, threshold_attack
from rum_ray.evaluation.mia import _feature, auc, label_logit
from rum_ray.seeding import Seed


def predictions(name: str, count: int, certainty: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, 4] that favour the label; more so for a higher certainty."""
    logits = 3 * (Seed(0) / name).uniform(count * 4).reshape(count, 4)
    labels = (Seed(0) / name / "labels").integers(count, 4)
    logits[np.arange(count), labels] += certainty
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), labels


MEMBERS, OTHERS = predictions("members", 60, 4.0), predictions("others", 50, 1.0)
TARGETS = predictions("targets", 30, 2.0)


def modified_entropy(p: np.ndarray, y: int) -> float:
    """The modified entropy of Song and Mittal, term by term."""
    total = -(1 - p[y]) * math.log(p[y])
    for other in range(len(p)):
        if other != y:
            total -= p[other] * math.log(1 - p[other])
    return total


def feature(name: str, p: np.ndarray, y: np.ndarray) -> np.ndarray:
    if name == "probabilities":
        return p
    rows = {
        "confidence": [p[i, y[i]] for i in range(len(y))],
        "correctness": [float(np.argmax(p[i]) == y[i]) for i in range(len(y))],
        "entropy": [entropy(p[i]) for i in range(len(y))],
        "modified_entropy": [modified_entropy(p[i], y[i]) for i in range(len(y))],
    }[name]
    return np.array(rows).reshape(-1, 1)


@pytest.mark.parametrize(
    "name", ["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]
)
def test_svm_attack_is_the_paper_s(name):
    members, others, targets = (feature(name, *s) for s in (MEMBERS, OTHERS, TARGETS))
    # The first n of each, with n the smaller number of the two.
    x, y = np.vstack([members[:50], others]), [1] * 50 + [0] * 50
    member = SVC(C=3, kernel="rbf", gamma="auto").fit(x, y).predict(targets)
    taken_for_nonmembers = (member == 0).mean()
    assert svm_attack(MEMBERS, OTHERS, TARGETS, name) == taken_for_nonmembers
    assert 0 < taken_for_nonmembers < 1
    if name == "confidence":
        assert svm_attack(MEMBERS, OTHERS, TARGETS) == taken_for_nonmembers


def test_modified_entropy_is_low_only_for_certainty_of_the_label():
    p, y = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), np.zeros(3, dtype=int)
    right, wrong, even = _feature((p, y), "modified_entropy")[:, 0]
    assert right == 0
    assert even == pytest.approx(math.log(2))
    # Entropy cannot tell the first two apart.
    assert np.isfinite(wrong)
    assert wrong > 100
    assert np.array_equal(_feature((p, y), "entropy")[:2, 0], [0, 0])


def best_threshold(inside: list[float], outside: list[float]) -> float:
    """The lowest of the best thresholds, by trying all."""
    best, chosen = -1.0, math.inf
    for candidate in sorted({*inside, *outside, math.inf}):
        right = sum(v >= candidate for v in inside) / len(inside)
        right += sum(v < candidate for v in outside) / len(outside)
        if right > best + 1e-12:
            best, chosen = right, candidate
    return chosen


@pytest.mark.parametrize("coarse", [False, True])
def test_threshold_attack_by_brute_force(coarse):
    sets = [MEMBERS, OTHERS, TARGETS]
    if coarse:  # with many ties
        sets = [(np.round(3 * p + 0.1), y) for p, y in sets]
        sets = [(p / p.sum(axis=1, keepdims=True), y) for p, y in sets]
    inside, outside, asked = (list(label_logit(*s)) for s in sets)
    share = threshold_attack(*sets)
    assert share == np.mean([value < best_threshold(inside, outside) for value in asked])
    assert 0 < share < 1


def test_svm_attack_takes_the_first_of_the_larger_set():
    many = predictions("more", 200, 1.0)
    first = many[0][:60], many[1][:60]
    assert svm_attack(MEMBERS, many, TARGETS) == svm_attack(MEMBERS, first, TARGETS)


def test_svm_attack_on_an_overfit_model():
    # T13: learned examples are classified as members, the others as non-members.
    fresh, seen = predictions("fresh", 100, 0.0), predictions("seen", 100, 6.0)
    assert svm_attack(seen, predictions("unseen", 100, 0.0), fresh) > 0.9
    assert svm_attack(seen, fresh, predictions("also seen", 100, 6.0)) < 0.1


def test_the_order_of_examples_changes_no_attack():
    def shuffled(name, pair):
        order = (Seed(1) / name).permutation(len(pair[1]))
        return pair[0][order], pair[1][order]

    members = MEMBERS[0][:50], MEMBERS[1][:50]
    mixed = [shuffled(*p) for p in (("m", members), ("o", OTHERS), ("t", TARGETS))]
    assert svm_attack(*mixed) == svm_attack(members, OTHERS, TARGETS)
    assert auc_attack(mixed[2], mixed[1]) == auc_attack(TARGETS, OTHERS)


def test_auc_attack_is_over_all_pairs():
    positive = [logit(p[y]) for p, y in zip(*TARGETS, strict=True)]
    negative = [logit(p[y]) for p, y in zip(*OTHERS, strict=True)]
    pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
    assert auc_attack(TARGETS, OTHERS) == pytest.approx(np.mean(pairs), abs=1e-12)
    truth = [1] * 30 + [0] * 50
    assert auc_attack(TARGETS, OTHERS) == pytest.approx(roc_auc_score(truth, positive + negative))


def test_auc_with_ties_is_over_all_pairs():
    positive, negative = Seed(0).integers(40, 5) * 1.0, Seed(1).integers(30, 5) * 1.0
    pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
    assert auc(positive, negative) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auc_attack_at_its_ends():
    assert auc_attack(OTHERS, OTHERS) == 0.5
    sure = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    wrong = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])
    assert auc_attack(sure, wrong) == 1
    assert auc_attack(wrong, sure) == 0
    assert auc_attack(TARGETS, OTHERS) == pytest.approx(1 - auc_attack(OTHERS, TARGETS))


def test_label_logit_is_the_logit_of_the_label():
    p, y = TARGETS
    np.testing.assert_allclose(label_logit(p, y), logit(p[np.arange(30), y]), atol=1e-12)
    # If p_y rounds to 1, the other probabilities still separate examples.
    close = np.array([[1.0, 1e-20], [1.0, 1e-30], [1.0, 0.0], [0.0, 1.0]])
    values = label_logit(close, np.zeros(4, dtype=int))
    assert np.isfinite(values).all()
    assert values[0] == pytest.approx(-np.log(1e-20))
    assert values[0] < values[1] < values[2]
    assert values[3] < -700


NONE = MEMBERS[0][:0], MEMBERS[1][:0]


@pytest.mark.parametrize(
    ("attack", "name_"), [(svm_attack, "SVM"), (threshold_attack, "threshold")]
)
@pytest.mark.parametrize("place", range(3))
def test_an_attack_needs_all_three_sets(place, attack, name_):
    sets = [MEMBERS, OTHERS, TARGETS]
    sets[place] = NONE
    name = ("members", "non-members", "targets")[place]
    least = 1 if name == "targets" else 2
    with pytest.raises(DataError, match=rf"^the {name_} attack .* {least} {name}; got 0\."):
        attack(*sets)
    if least == 2:  # A threshold from a single example has no meaning.
        sets[place] = MEMBERS[0][:1], MEMBERS[1][:1]
        with pytest.raises(DataError, match=rf"^the {name_} attack .* 2 {name}; got 1\."):
            attack(*sets)


def test_auc_attack_needs_both_sets():
    for pair, name in (((NONE, OTHERS), "targets"), ((TARGETS, NONE), "non-members")):
        with pytest.raises(DataError, match=rf"^the AUC attack .* 1 {name}; got 0\."):
            auc_attack(*pair)


def spoiled(value: float) -> np.ndarray:
    """The probabilities of the targets, with one value replaced."""
    p = TARGETS[0].copy()
    p[3, 1] = value
    return p


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            (spoiled(np.nan), TARGETS[1]),
            r"probabilities in \[0, 1\]; .* targets .* nan",
        ),
        ((spoiled(np.inf), TARGETS[1]), r"\[0, 1\]; .* targets .* 0\.\d+ \.\. inf"),
        ((spoiled(-3.0), TARGETS[1]), r"\[0, 1\]; .* targets .* -3 \.\. "),
        (
            (TARGETS[0], TARGETS[1] - 1),
            r"labels of targets in 0 \.\. 3.* -1 \.\. 2\.",
        ),
        (
            (TARGETS[0], TARGETS[1] + 1),
            r"labels of targets in 0 \.\. 3.* 1 \.\. 4\.",
        ),
        ((TARGETS[0], TARGETS[1][1:]), r"targets .* shapes \(30, 4\) and \(29,\)"),
        ((TARGETS[0][:, 0], TARGETS[1]), r"targets .* shapes \(30,\) and \(30,\)"),
        ((TARGETS[0], TARGETS[1] / 2), r"targets .* integer labels .* float64"),
        ((np.pad(TARGETS[0], ((0, 0), (0, 1))), TARGETS[1]), r"classes .* \[4, 5\]"),
    ],
)
@pytest.mark.parametrize("name", ["svm", "auc", "threshold"])
def test_invalid_predictions_are_errors(name, targets, message):
    sets = (targets, OTHERS) if name == "auc" else (MEMBERS, OTHERS, targets)
    with pytest.raises(DataError, match=message):
        ATTACKS[name](*sets)


def test_an_unknown_feature_is_an_error():
    message = "feature .* confidence, .* modified_entropy or probabilities, got 'loss'"
    with pytest.raises(ValueError, match=message):
        svm_attack(MEMBERS, OTHERS, TARGETS, "loss")


def test_the_table():
    features = ["correctness", "entropy", "modified_entropy", "probabilities"]
    assert {"svm", "auc", "threshold", "pool_lira", "pool_rmia", "u_lira"} <= ATTACKS.keys()
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert len(attack.title) > 2
    for name in features:
        found = ATTACKS[f"svm_{name}"](MEMBERS, OTHERS, TARGETS)
        assert found == svm_attack(MEMBERS, OTHERS, TARGETS, name)
    assert ATTACKS["auc"](TARGETS, OTHERS) == auc_attack(TARGETS, OTHERS)


@pytest.mark.parametrize(("name", "needs"), [("two words", "members"), ("mine", "nothing")])
def test_an_attack_that_cannot_be_named_or_fed_is_refused(name, needs):
    with pytest.raises(ValueError, match=f"'{name if needs == 'members' else needs}'"):
        Attack(name, "mine", needs, auc_attack)


def test_an_attack_on_no_seed_is_refused():
    with pytest.raises(ValueError, match="seeds must be positive, got 0"):
        Attack("mine", "mine", "seeds", auc_attack, seeds=0)
