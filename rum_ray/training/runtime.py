"""The runtime of an algorithm: its seed, its device and its checkpoints."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rum_ray.errors import ConfigError, DivergedError
from rum_ray.seeding import Seed
from rum_ray.training.initial import InitialWeights, read_initial

MOST_PER_CORE = 4
"""Most threads of a process, and most worker processes, per core of a machine."""


class Stateful(Protocol):
    """An object with a state that can be saved and restored, such as a module or an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Restore the state."""
        ...


class Runtime(Protocol):
    """The interface between an algorithm and the process that runs it."""

    @property
    def seed(self) -> Seed:
        """Root of all random draws."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the computation."""
        ...

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the remaining epochs; a runtime may save checkpoints of the state in between."""
        ...

    def weights(self, initial: InitialWeights) -> Mapping[str, Tensor]:
        """Return initial weights by their names in the file."""
        ...

    def __truediv__(self, part: str | int) -> "Runtime":
        """Return the runtime of a part of the work, with its own draws and checkpoints."""
        ...


@dataclass(frozen=True)
class LocalRuntime:
    """A runtime in this process without checkpoints; after a crash, the work starts over.

    Creating one sets the number of threads of PyTorch in this process, because that number changes
    the bits of a result. It also switches on deterministic algorithms.

    Attributes:
        seed: root of all random draws.
        device: a `torch.device` or its name, such as "cpu" or "cuda:0".
        threads: threads of PyTorch.

    Example:
        >>> from rum_ray.seeding import Seed
        >>> runtime = LocalRuntime(Seed(0), device="cpu")
        >>> str((runtime / "low").seed)
        '0/low'
        >>> list(runtime.epochs(3))
        [0, 1, 2]
    """

    seed: Seed
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - an immutable value
    threads: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", torch.device(self.device))
        set_threads(self.threads)

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield all epochs."""
        del state
        yield from range(total)

    def weights(self, initial: InitialWeights) -> Mapping[str, Tensor]:
        """Read initial weights from their file."""
        return read_initial(initial)

    def __truediv__(self, part: str | int) -> "LocalRuntime":
        return replace(self, seed=self.seed / part)


def most_here() -> int:
    """Return the largest number of threads of a process, or of processes, on this machine."""
    return MOST_PER_CORE * (os.cpu_count() or 1)


def check_threads(threads: int) -> None:
    """Raise ConfigError if this machine has too few cores for a number of threads."""
    if threads > most_here():
        raise ConfigError(
            f"recipe.threads is {threads}, and this machine has {os.cpu_count()} cores. At most "
            f"{MOST_PER_CORE} threads per core are allowed: {most_here()}."
        )


def set_threads(threads: int) -> None:
    """Set the number of threads, and allow only deterministic operations, in this process.

    Raises:
        ConfigError: this machine has too few cores.
    """
    check_threads(threads)
    torch.set_num_threads(threads)
    # Same effect as use_deterministic_algorithms, which spends seconds importing the compiler.
    torch.set_deterministic_debug_mode("error")
    # The deterministic mode also fills new memory with NaN, which costs 1 to 3 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # On a GPU: no TF32, and a fixed order of summation in matrix products.
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def check_finite(model: nn.Module, origin: str, remedy: str = "Lower lr.") -> None:
    """Raise DivergedError if a weight is not finite.

    Args:
        model: the model to check.
        origin: name of the training or unlearner, for the message.
        remedy: last sentence of the message.

    Raises:
        DivergedError: a parameter is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            message = f"{origin} ended with weights that are not finite ({name}). {remedy}"
            raise DivergedError(message)
