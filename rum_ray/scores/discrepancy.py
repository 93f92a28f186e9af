"""The maximum mean discrepancy (MMD) between forget and retain set in embedding space.

MMD^2 = mean_{R,R} k + mean_{S,S} k - 2 mean_{R,S} k,  k(a, b) = exp(-gamma |a - b|^2)

over all pairs, including each embedding with itself. This is the biased estimate of Gretton et al.,
"A kernel two-sample test", JMLR 2012. **Higher is further apart, and easier to forget**: MMD falls
where the entanglement score rises (Zhao et al., NeurIPS 2024, appendix; there gamma = 1).

For streams, the kernel is estimated with random Fourier features (Rahimi and Recht, "Random
features for large-scale kernel machines", NeurIPS 2007): k is the mean of cos(w (a - b)) over
frequencies w ~ N(0, 2 gamma). Then sums of cosines and sines over each set suffice.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.scores.entanglement import validate_embeddings
from rum_ray.seeding import Seed

Floats = NDArray[np.float64]
BLOCK = 1000
SAMPLE = 1000
"""Maximum number of embeddings in the median of distances."""


def mmd(retain: ArrayLike, forget: ArrayLike, gamma: float | Literal["median"] = 1.0) -> float:
    """Return the root of the biased estimate of MMD^2, in [0, sqrt(2)]; higher is further apart.

    The kernel is summed in blocks: memory is constant in the size of the sets, and time is
    quadratic. With gamma = 1 and embeddings that are far apart from each other, no value is below
    sqrt(1 / N_R + 1 / N_F); the median bandwidth has no such floor.

    Args:
        retain: [N_R, D] embeddings of the retain set.
        forget: [N_F, D] embeddings of the forget set.
        gamma: inverse bandwidth of the kernel; "median" is `median_gamma` of both sets together.

    Raises:
        ValueError: a set is empty or not finite, the sets differ in D, or gamma is not positive.

    Example:
        >>> import rum_ray as rr
        >>> rr.mmd(retain=[[0.0], [1.0]], forget=[[0.0], [1.0]])
        0.0
        >>> round(rr.mmd(retain=[[0.0], [0.1]], forget=[[5.0], [5.1]]), 2)
        1.41
    """
    r, s = (validate_embeddings(points, "MMD") for points in (retain, forget))
    if r.shape[1] != s.shape[1] or not len(r) or not len(s):
        raise ValueError(
            "MMD needs two sets [N, D] that are not empty and have the same D; "
            f"got shapes {r.shape} and {s.shape}"
        )
    if gamma != "median" and (isinstance(gamma, str) or not gamma > 0):
        raise ValueError(f"gamma must be positive or 'median', got {gamma!r}")
    both = np.concatenate([r, s])
    scale = median_gamma(both) if gamma == "median" else gamma
    # Distances are invariant to a shift of both sets, and centred values lose fewer digits.
    r, s = r - both.mean(axis=0), s - both.mean(axis=0)
    squared = _mean_kernel(r, r, scale) + _mean_kernel(s, s, scale) - 2 * _mean_kernel(r, s, scale)
    return float(np.sqrt(max(0.0, squared)))


def median_gamma(points: ArrayLike, seed: Seed | None = None) -> float:
    """Return 1 / (2 m^2), with m the median pairwise distance (Gretton et al., section 8).

    Args:
        points: [N, D] embeddings of both sets; a random sample of 1,000 if there are more.
        seed: seed of that sample; `Seed(0)` by default.

    Returns:
        A positive float; 1.0 if the median distance is 0.
    """
    sample = np.asarray(points, dtype=np.float64)
    if len(sample) > SAMPLE:
        sample = sample[((seed or Seed(0)) / "median").choice(len(sample), SAMPLE)]
    sample = sample - sample.mean(axis=0)
    squares = _squared_distances(sample, sample)[np.triu_indices(len(sample), 1)]
    median = float(np.median(squares)) if len(squares) else 0.0
    return 1 / (2 * median) if median > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Waves:
    """A set of embeddings as sums of Fourier features, in constant memory; sums add like `Moments`.

    Attributes:
        count: number of embeddings.
        sums: [2, F] sums of cos(w x) and of sin(w x), for F frequencies w.
    """

    count: int
    sums: Floats

    @classmethod
    def of(cls, embeddings: ArrayLike, frequencies: Floats) -> "Waves":
        """Return the sums over embeddings [N, D] at frequencies [F, D]."""
        points = np.asarray(embeddings, dtype=np.float64)
        angles = points @ frequencies.T
        return cls(len(points), np.stack([np.cos(angles).sum(axis=0), np.sin(angles).sum(axis=0)]))

    def __add__(self, other: "Waves") -> "Waves":
        return Waves(self.count + other.count, self.sums + other.sums)


def frequencies(count: int, width: int, gamma: float, seed: Seed) -> Floats:
    """Return frequencies [count, width] of the kernel, drawn from `seed`."""
    normal = (seed / "frequencies").normal(count * width).reshape(count, width)
    drawn: Floats = np.sqrt(2 * gamma) * normal
    return drawn


def streamed_mmd(retain: Waves, forget: Waves) -> tuple[float, float]:
    """Return an estimate of MMD and the half-width of its 95 % interval over drawn frequencies.

    Each frequency gives an unbiased estimate of MMD^2. The error is therefore that of a mean of F
    numbers.

    Raises:
        ValueError: a set is empty.
    """
    if not retain.count or not forget.count:
        raise ValueError(
            "MMD needs two sets that are not empty; "
            f"got {retain.count} and {forget.count} embeddings"
        )
    gaps = retain.sums / retain.count - forget.sums / forget.count
    squares = (gaps**2).sum(axis=0)
    value = float(np.sqrt(squares.mean()))
    if value == 0:
        return 0.0, 0.0
    error = float(squares.std(ddof=1)) / np.sqrt(len(squares))
    return value, float(1.96 * error / (2 * value))


def _mean_kernel(a: Floats, b: Floats, gamma: float) -> float:
    """Return the mean of the kernel over all pairs, computed in blocks."""
    total = 0.0
    for i in range(0, len(a), BLOCK):
        for j in range(0, len(b), BLOCK):
            squares = _squared_distances(a[i : i + BLOCK], b[j : j + BLOCK])
            total += float(np.exp(-gamma * squares).sum())
    return total / (len(a) * len(b))


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """Return |a_i - b_j|^2 as [N_a, N_b]."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * (a @ b.T)
    clipped: Floats = np.maximum(squares, 0.0)
    return clipped
