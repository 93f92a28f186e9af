"""The entanglement score (ES): how much forget and retain set overlap in embedding space.

ES(R, S) = (mean_R |phi - mu_R|^2 + mean_S |phi - mu_S|^2)
           / (1/2 (|mu_R - mu|^2 + |mu_S - mu|^2))

with phi the embedding under the original model and mu_R, mu_S, mu the means of retain set, forget
set and both. **Higher is more entangled, and harder to forget** (Zhao et al., NeurIPS 2024, section
4). The paper's code uses the midpoint of the two means as mu; that is the default here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Center = Literal["midpoint", "pooled"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of a set of embeddings, in constant memory.

    Moments add: the sum of the moments of two batches is the moments of their union, whatever the
    batch sizes (Chan, Golub and LeVeque, 1979). One pass over the embeddings suffices, on any
    number of workers, and no embedding is stored.

    Attributes:
        count: number of embeddings.
        mean: [D] centroid.
        scatter: sum of squared distances to the centroid.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: float

    @classmethod
    def of(cls, embeddings: ArrayLike) -> "Moments":
        """Return the moments of embeddings [N, D]; N may be 0."""
        points = np.asarray(embeddings, dtype=np.float64)
        if not len(points):
            return cls(0, np.zeros(points.shape[1]), 0.0)
        mean = points.mean(axis=0)
        return cls(len(points), mean, float(((points - mean) ** 2).sum()))

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        if not count:
            return self
        gap = other.mean - self.mean
        between = float(gap @ gap) * self.count * other.count / count
        return Moments(
            count=count,
            mean=self.mean + gap * (other.count / count),
            scatter=self.scatter + other.scatter + between,
        )


def validate_embeddings(embeddings: ArrayLike, measure: str) -> NDArray[np.float64]:
    """Return embeddings as float64 [N, D].

    Args:
        embeddings: embeddings of one set.
        measure: name of the measure, for the message.

    Raises:
        ValueError: the embeddings are not finite, or not [N, D].
    """
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"{measure} needs two sets [N, D]; got shape {points.shape}")
    if not np.isfinite(points).all():
        count = int((~np.isfinite(points)).any(axis=1).sum())
        raise ValueError(
            f"{measure} needs finite embeddings; {count} of {len(points)} have NaN or infinity"
        )
    return points


def entanglement_score(
    retain: ArrayLike | Moments, forget: ArrayLike | Moments, center: Center = "midpoint"
) -> float:
    """Return the entanglement score, in [0, inf]; higher is more entangled.

    Args:
        retain: [N_R, D] embeddings of the retain set, or their moments.
        forget: [N_F, D] embeddings of the forget set, or their moments.
        center: mu, the "midpoint" of the two means or the "pooled" mean of all embeddings.

    Returns:
        A float; `inf` where the two means coincide.

    Raises:
        ValueError: a set is empty or not finite, the sets differ in D, or the center is unknown.

    Example:
        >>> import rum_ray as rr
        >>> rr.entanglement_score(retain=[[0, 0], [0, 2]], forget=[[4, 0], [4, 2]])
        0.5
        >>> rr.entanglement_score(retain=[[0, 0], [0, 2]], forget=[[0, 1], [0, 1]])
        inf
    """
    r, s = (
        m if isinstance(m, Moments) else Moments.of(validate_embeddings(m, "ES"))
        for m in (retain, forget)
    )
    if not r.count or not s.count:
        raise ValueError(
            f"ES needs two sets that are not empty; got {r.count} and {s.count} embeddings"
        )
    if r.mean.shape != s.mean.shape:
        raise ValueError(
            f"ES needs two sets of the same D; got D = {len(r.mean)} and {len(s.mean)}"
        )
    if center not in ("midpoint", "pooled"):
        raise ValueError(f"center must be 'midpoint' or 'pooled', got '{center}'")
    mu = (r.mean + s.mean) / 2 if center == "midpoint" else (r + s).mean
    apart = 0.5 * float(((r.mean - mu) ** 2).sum() + ((s.mean - mu) ** 2).sum())
    spread = r.scatter / r.count + s.scatter / s.count
    if not (np.isfinite(spread) and np.isfinite(apart)):
        raise ValueError(
            f"ES needs finite moments; got a spread of {spread} and a distance term of {apart}"
        )
    return spread / apart if apart > 0 else float("inf")
