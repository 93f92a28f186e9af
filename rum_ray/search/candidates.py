"""What may be chosen: unlearners, with their declared domains or a part of them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rum_ray.errors import ConfigError
from rum_ray.plugins import find
from rum_ray.training.domains import Choice, Domain, Range, bounds, contains, describe, nearest
from rum_ray.unlearning import UNLEARNERS, Retrain, Unlearner


@dataclass(frozen=True)
class Candidate:
    """An unlearner that a search may choose.

    Attributes:
        name: its YAML name.
        narrowed: what is not as the unlearner declares, by hyperparameter: a narrower range, a
            `Choice` of values, or the one value that it has.
    """

    name: str
    narrowed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind is Retrain:
            raise ConfigError("retrain is what a search is judged against; remove it.")
        if not hasattr(self.kind, "space"):
            raise ConfigError(f"{self.name} has no `space` that says what to search.")
        for key, part in self.narrowed.items():
            _check(self.name, key, part, self.kind.space.get(key))
        self.kind(**self.fixed)

    @property
    def kind(self) -> type[Unlearner]:
        """The unlearner's class."""
        kind: type[Unlearner] = find(self.name, UNLEARNERS, "unlearner")
        return kind

    @property
    def fixed(self) -> dict[str, Any]:
        """The hyperparameters that have one value."""
        return {k: v for k, v in self.narrowed.items() if not isinstance(v, Domain)}

    @property
    def domains(self) -> dict[str, Domain]:
        """The hyperparameters that are searched."""
        declared = {k: v for k, v in self.kind.space.items() if k not in self.fixed}
        return {key: self.narrowed.get(key, domain) for key, domain in declared.items()}

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of the domains that are nearest to the unlearner's defaults."""
        default = self.kind(**self.fixed)
        return {key: nearest(domain, getattr(default, key)) for key, domain in self.domains.items()}

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the domains' ends."""
        domains = self.domains
        for values in itertools.product(*map(bounds, domains.values())):
            yield dict(zip(domains, values, strict=True))

    def unlearner(self, values: Mapping[str, Any]) -> Unlearner:
        """Return the unlearner with these values of its domains."""
        return self.kind(**self.fixed, **values)


def _check(name: str, key: str, part: Any, declared: Domain | None) -> None:
    """Raise ConfigError unless a hyperparameter's part lies in its declared domain."""
    what = f"{name}.{key}"
    if declared is None:
        if isinstance(part, Domain):
            raise ConfigError(f"{what} is not searched, so it can have one value only.")
        return
    for value in bounds(part) if isinstance(part, Domain) else (part,):
        if not contains(declared, value):
            raise ConfigError(f"{what} may be {describe(declared)}; got {value}.")
    if isinstance(part, Choice):
        if not part.options or len(set(part.options)) < len(part.options):
            raise ConfigError(f"{what}: list each value once, and at least one.")
    elif isinstance(part, Range):
        if type(part) is not type(declared):
            raise ConfigError(f"{what} takes a {type(declared).__name__} or a Choice; got {part}.")
        if not part.low < part.high:
            raise ConfigError(
                f"{what}: low must be below high, got {part.low} and {part.high}; one that is left "
                f"out is declared: {describe(declared)}. To fix the value, give that one value."
            )
