import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rum_ray.seeding import Seed

GOLDEN = (
    [6806182852985850620, 11397129395101630591, 18066817832281456194],
    [202010409753244124, 4951461708030786548, 1137228424647149128],
)
NAMES = st.lists(st.text(max_size=5) | st.integers(), max_size=4)


def test_golden_words():
    # Constants: the artifacts of all users depend on them.
    assert Seed(0).words(3).tolist() == GOLDEN[0]
    assert (Seed(-7) / "score" / 17).words(3).tolist() == GOLDEN[1]


@given(st.integers(), NAMES)
def test_draws_depend_on_the_path_alone(root, names):
    seed = Seed(root)
    for name in names:
        seed.words(3)  # Draws of an ancestor change nothing.
        _ = seed / "sibling"
        seed = seed / name
    assert seed == Seed(root, tuple(names))
    assert np.array_equal(seed.words(5), Seed(root, tuple(names)).words(5))
    assert np.array_equal(seed.words(9)[:5], seed.words(5))
    assert str(seed) == "/".join(map(str, (root, *names)))


def test_different_paths_have_different_draws():
    seeds = [
        Seed(0),
        Seed(1),
        Seed(-1),
        Seed(0) / 0,
        Seed(0) / "0",
        Seed(0) / "a" / "b",
        Seed(0) / "ab",
        Seed(0) / "b" / "a",
        Seed(0) / "a/b",
        Seed(2**32),
        Seed(2**64),
        *(Seed(0) / i for i in range(1, 200)),
    ]
    assert len({int(seed.words(1)[0]) for seed in seeds}) == len(seeds)


def test_numpy_integers_equal_python_integers():
    for kind in (np.int64, np.uint8):
        assert np.array_equal((Seed(kind(3)) / kind(1)).words(4), (Seed(3) / 1).words(4))


def test_seeds_are_values():
    seed = Seed(0) / "a" / 1
    assert pickle.loads(pickle.dumps(seed)) == seed
    assert hash(Seed(0) / "a" / 1) == hash(seed)
    assert Seed(0) != seed


def test_uniform():
    draws = (Seed(0) / "u").uniform(20_000)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, 10, (0, 1))[0]
    assert counts.tolist() == pytest.approx([2000] * 10, rel=0.08)
    words = (Seed(0) / "u").words(1)
    assert draws[0] == int(words[0]) // 2**11 / 2**53


@given(st.integers(1, 50), st.integers())
def test_integers(high, root):
    draws = Seed(root).integers(200, high)
    assert draws.dtype == np.int64
    assert draws.min() >= 0
    assert draws.max() < high


def test_normal_draws_are_normal():
    draws = Seed(0).normal(20_000)
    assert stats.kstest(draws, "norm").pvalue > 0.01
    assert np.array_equal(draws, Seed(0).normal(20_000))


def test_integers_are_uniform():
    assert np.bincount(Seed(0).integers(7000, 7)).tolist() == pytest.approx([1000] * 7, rel=0.1)


@given(st.integers(0, 60), st.integers())
def test_permutation(count, root):
    order = Seed(root).permutation(count)
    assert np.array_equal(np.sort(order), np.arange(count))
    assert order.dtype == np.int64


@given(st.integers(0, 60), st.data())
def test_choice(count, data):
    size = data.draw(st.integers(0, count))
    rows = Seed(0).choice(count, size)
    assert len(rows) == size
    assert np.array_equal(rows, np.unique(rows))
    assert set(rows) == set(Seed(0).permutation(count)[:size])


def test_permutations_are_uniform():
    firsts = [Seed(0, (i,)).permutation(5)[0] for i in range(2000)]
    assert np.bincount(firsts).tolist() == pytest.approx([400] * 5, rel=0.15)


def test_torch_draws_depend_on_the_path_and_the_global_state_is_restored():
    with torch.random.fork_rng():
        draws = []
        for seed in (1, 2):
            state = torch.manual_seed(seed).get_state()
            with (Seed(0) / "init").torch():
                draws.append(torch.rand(5))
            assert torch.equal(torch.get_rng_state(), state)
    with (Seed(0) / "other").torch():
        other = torch.rand(5)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], other)


def test_the_state_of_torch_is_restored_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shape"), Seed(0).torch():
        torch.rand(3).view(7)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_state_of_numpy_does_not_change():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state under test
    Seed(0).permutation(10)
    with Seed(0).torch():
        Seed(0).uniform(3)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
