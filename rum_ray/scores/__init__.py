"""How hard an example is to forget: proxies by their YAML names."""

from collections.abc import Callable, Mapping

from rum_ray.scores.base import Proxy, Scores
from rum_ray.scores.learning_events import BinaryAccuracy, Confidence, Entropy, MaxConfidence

PROXIES: Mapping[str, Callable[..., Proxy]] = {
    "confidence": Confidence,
    "max_confidence": MaxConfidence,
    "entropy": Entropy,
    "binary_accuracy": BinaryAccuracy,
}

__all__ = ["PROXIES", "Proxy", "Scores"]
