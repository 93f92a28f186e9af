"""An attack as one value: its name, its title, and the evidence that it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from rum_ray.evaluation.pool import AttackResult

Needs: TypeAlias = Literal[
    "nonmembers", "members", "pool", "shadows", "trained_shadows", "original", "seeds"
]
"""The evidence that an attack takes; `Attack` lists the arguments."""


@dataclass(frozen=True)
class Attack:
    """A membership inference attack: a function, and the evidence that it needs.

    The arguments of the function follow from `needs`. Predictions are a pair of probabilities
    [N, K] and labels [N].

    | needs | arguments | returns |
    | :-- | :-- | :-- |
    | "nonmembers" | predictions: targets, non-members | a number |
    | "members" | predictions: members, non-members, targets | a number |
    | "pool" | `PoolEvidence`: targets, non-members | `AttackResult` |
    | "shadows" | the arguments of `u_lira` | `AttackResult` |
    | "trained_shadows" | the arguments of `ruli` | `AttackResult` |
    | "original" | the arguments of `iam` | a number |
    | "seeds" | the arguments of `forgetting_quality` | a number |

    Targets are the forget set, members a sample of the retain set, non-members the test set. A
    number may lie in any range; the report shows its gap to the retrained models. An attack that
    needs "pool", "shadows" or "trained_shadows" makes a study keep the weights of the leave-k-out
    models. One that needs "seeds" has one number for the models of all reported seeds.

    An experiment file names an attack of the user in `evaluate.also` as `package.module:name`.

    Attributes:
        name: of its metrics in report.json; letters, digits and underscores.
        title: of its column in the report.
        needs: the evidence.
        function: of the evidence.
        seeds: minimum number of reported seeds.

    Raises:
        ValueError: the name, `needs` or `seeds` is not allowed.

    Example:
        >>> import numpy as np
        >>> from rum_ray import Attack
        >>> def certainty(targets, nonmembers):
        ...     return float(targets[0].max(axis=1).mean() - nonmembers[0].max(axis=1).mean())
        >>> attack = Attack("certainty", "certainty", "nonmembers", certainty)
        >>> learned = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
        >>> unseen = np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([0, 1])
        >>> round(attack(learned, unseen), 2)
        0.3
    """

    name: str
    title: str
    needs: Needs
    function: Callable[..., float | AttackResult]
    seeds: int = 1

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name may have letters, digits and _, got '{self.name}'")
        if self.needs not in get_args(Needs):
            raise ValueError(f"needs must be one of {get_args(Needs)}, got '{self.needs}'")
        if self.seeds < 1:
            raise ValueError(f"seeds must be positive, got {self.seeds}")

    def __call__(self, *evidence: Any, **options: Any) -> float | AttackResult:
        """Return the answer of the function."""
        return self.function(*evidence, **options)
