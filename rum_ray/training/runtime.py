"""Where code runs: a seed, a device, and a way to survive a crash."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from rum_ray.errors import DivergedError
from rum_ray.seeding import Seed


class Stateful(Protocol):
    """Something whose state can be kept and put back."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Put the state back."""
        ...


class Runtime(Protocol):
    """What every algorithm is given."""

    @property
    def seed(self) -> Seed:
        """The root of its random draws."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the epochs that are left, keeping the state between them if need be."""
        ...

    def __truediv__(self, part: str | int) -> "Runtime":
        """Return the runtime of a part of the work, with draws and state of its own."""
        ...


@dataclass(frozen=True)
class LocalRuntime:
    """One process that keeps no state: a crash starts the work again.

    Making one sets the number of threads of PyTorch in this process, since that number changes
    the bits of a result.

    Attributes:
        seed: the root of all draws.
        device: a name that PyTorch knows, such as "cpu" or "cuda:0".
        threads: threads of PyTorch.
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

    def __truediv__(self, part: str | int) -> "LocalRuntime":
        return replace(self, seed=self.seed / part)


def set_threads(threads: int) -> None:
    """Use that many threads, and only deterministic operations, in this process."""
    torch.set_num_threads(threads)
    # The same switch as use_deterministic_algorithms, which imports PyTorch's compiler for seconds.
    torch.set_deterministic_debug_mode("error")
    # That switch also fills memory with NaN before its first use, which costs 1 to 3 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # On a GPU: float32 means float32, and sums of matrix products come in one order.
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def check_finite(model: nn.Module, who: str, remedy: str = "Lower lr.") -> None:
    """Raise if a weight is not finite.

    Args:
        model: what has the weights.
        who: what made them.
        remedy: what to do.

    Raises:
        DivergedError: a parameter is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise DivergedError(f"{who} ended with weights that are not finite ({name}). {remedy}")
