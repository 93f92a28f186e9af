"""Difficulty scores: how hard each example is to forget. `PROXIES` lists the proxies.

Example:
    >>> import rum_ray as rr
    >>> rr.PROXIES["curvature"](h=0.02)
    Curvature(h=0.02)
    >>> [name for name in rr.PROXIES if name.endswith("confidence")]
    ['confidence', 'max_confidence']
"""

from collections.abc import Callable, Mapping

from rum_ray.plugins import find, implementing
from rum_ray.scores.base import Proxy, Scores
from rum_ray.scores.curvature import Curvature
from rum_ray.scores.heldout import Heldout
from rum_ray.scores.learning_events import (
    BinaryAccuracy,
    Confidence,
    CumulativeLoss,
    Entropy,
    MaxConfidence,
)

PROXIES: Mapping[str, Callable[..., Proxy]] = {
    "confidence": Confidence,
    "max_confidence": MaxConfidence,
    "entropy": Entropy,
    "binary_accuracy": BinaryAccuracy,
    "cumulative_loss": CumulativeLoss,
    "heldout": Heldout,
    "curvature": Curvature,
}
"""Proxies by their YAML names."""


def find_proxy(name: str) -> Callable[..., Proxy]:
    """Return the class of a proxy.

    Args:
        name: a key of `PROXIES`, or `package.module:Class`.

    Raises:
        ConfigError: the name is unknown, or the plug-in is refused.
    """
    cls: Callable[..., Proxy] = find(name, PROXIES, "proxy", implementing(Proxy))
    return cls


__all__ = ["PROXIES", "Proxy", "Scores", "find_proxy"]
