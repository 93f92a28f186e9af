"""Candidates of a search: unlearners, with all or part of their declared domains."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rum_ray.errors import ConfigError
from rum_ray.training.domains import (
    Choice,
    Domain,
    LogUniform,
    Range,
    Rate,
    bounds,
    contains,
    describe,
    nearest,
)
from rum_ray.unlearning import Retrain, Unlearner, find_unlearner


@dataclass(frozen=True)
class Candidate:
    """An unlearner that a search may choose.

    Attributes:
        name: YAML name of the unlearner.
        narrowed: restrictions of the declared domains, by hyperparameter: a narrower range, a
            `Choice` of values, or one fixed value.

    Raises:
        ConfigError: the unlearner cannot be searched, or a restriction is not in its domain.
    """

    name: str
    narrowed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind is Retrain:
            raise ConfigError("retrain is the reference of a search and no candidate; remove it.")
        if not hasattr(self.kind, "space"):
            raise ConfigError(
                f"{self.name} has no attribute `space`. A candidate needs one, with the domains to "
                "search."
            )
        for key, part in self.narrowed.items():
            _check(self.name, key, part, self.kind.space.get(key))
        self.kind(**self.fixed)

    @property
    def kind(self) -> type[Unlearner]:
        """Class of the unlearner."""
        return find_unlearner(self.name)

    @property
    def fixed(self) -> dict[str, Any]:
        """The fixed hyperparameters, with their values."""
        return {k: v for k, v in self.narrowed.items() if not isinstance(v, Domain)}

    @property
    def domains(self) -> dict[str, Domain]:
        """The searched hyperparameters, with their domains."""
        declared = {k: v for k, v in self.kind.space.items() if k not in self.fixed}
        return {key: self.narrowed.get(key, domain) for key, domain in declared.items()}

    @property
    def defaults(self) -> dict[str, Any]:
        """For each searched hyperparameter, the value in its domain nearest to the default."""
        default = self.kind(**self.fixed)
        return {key: nearest(domain, getattr(default, key)) for key, domain in self.domains.items()}

    def at_rate(self, rate: float) -> "Candidate":
        """Return the candidate for a recipe with this learning rate."""
        found = {k: d.scaled(rate) for k, d in self.domains.items() if isinstance(d, Rate)}
        return dataclasses.replace(self, narrowed={**self.narrowed, **found})

    def below(self, key: str, high: float) -> "Candidate":
        """Return the candidate with a lower upper bound of one domain."""
        domain: Any = self.domains[key]
        narrowed = {**self.narrowed, key: dataclasses.replace(domain, high=high)}
        return dataclasses.replace(self, narrowed=narrowed)

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the bounds of the domains."""
        domains = self.domains
        for values in itertools.product(*map(bounds, domains.values())):
            yield dict(zip(domains, values, strict=True))

    def unlearner(self, values: Mapping[str, Any]) -> Unlearner:
        """Return the unlearner with the fixed values and these values."""
        return self.kind(**self.fixed, **values)


def _check(name: str, key: str, part: Any, declared: Domain | None) -> None:
    """Raise ConfigError unless a restriction lies in the declared domain of its hyperparameter."""
    place = f"{name}.{key}"
    if declared is None:
        if isinstance(part, Domain):
            raise ConfigError(f"{place} is no searched hyperparameter; give one value, got {part}.")
        return
    # A narrowed rate is absolute, while the declared range scales with the recipe.
    allowed = LogUniform(5e-324, math.inf) if isinstance(declared, Rate) else declared
    for value in bounds(part) if isinstance(part, Domain) else (part,):
        if not contains(allowed, value):
            known = "any rate above 0" if isinstance(declared, Rate) else describe(allowed)
            raise ConfigError(f"{place} may be {known}; got {value}.")
    if isinstance(part, Choice):
        if not part.options or len(set(part.options)) < len(part.options):
            raise ConfigError(
                f"{place}: give at least one value, and each value once; got {list(part.options)}."
            )
    elif isinstance(part, Range):
        kind = type(allowed)
        if not isinstance(part, kind):
            raise ConfigError(f"{place} takes a {kind.__name__} or a Choice; got {part}.")
        if not part.low < part.high:
            raise ConfigError(
                f"{place}: low must be below high, got {part.low} and {part.high}. A missing bound "
                f"is the declared one: {describe(declared)}. To fix the value, give that one value."
            )
