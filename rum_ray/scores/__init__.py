"""How hard an example is to forget: proxies by their YAML names."""

from collections.abc import Callable, Mapping

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

__all__ = ["PROXIES", "Proxy", "Scores"]
