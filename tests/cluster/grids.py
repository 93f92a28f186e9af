"""An unlearner whose values are on a grid, for the workers to import."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rum_ray.training.space import Choice, Domain
from rum_ray.unlearning import FineTune


@dataclass(frozen=True, kw_only=True)
class Coarse(FineTune):
    name: ClassVar[str] = "coarse"
    space: ClassVar[Mapping[str, Domain]] = {"lr": Choice((0.02, 0.1))}
