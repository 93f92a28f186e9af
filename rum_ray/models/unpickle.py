"""The child process that reads a file of `torch.save`: untrusted input, under limits.

It runs `torch.load(weights_only=True)`, finds the `state_dict` and writes two files that need no
pickle: the tensors, and the values around them as JSON. Its parent reads only these two.
"""

import argparse
import contextlib
import json
import pathlib
import pickle
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from rum_ray.models.structure import encode, is_state

NAMES = ("state_dict", "model_state_dict", "model_state", "model", "net")
"""Keys under which people save a `state_dict`, in the order of the search."""
TENSORS, AROUND = "tensors.safetensors", "around.json"
UNSAFE, WRONG = 8, 3
"""Exit codes: the file may not be read, or has no weights. The last line on stderr says why."""
MOST_VALUES = 100_000
_MEMORY = 1 << 30
_SECONDS = 300


class RefusedError(Exception):
    """The file cannot be read; `code` is the exit code of the process."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def main() -> None:
    """Read the file that the first argument names; write to the folder of the second one."""
    path, folder = sys.argv[1:]
    try:
        limit(Path(path).stat().st_size)
        convert(load(path), Path(folder))
    except RefusedError as refused:
        sys.stderr.write(f"\n{refused}")
        sys.exit(refused.code)
    except MemoryError:
        sys.stderr.write("\nneeds more memory than a file of this size may use")
        sys.exit(UNSAFE)


def limit(size: int) -> None:
    """Limit memory, processor time and output of this process, for a file of `size` bytes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * size + _MEMORY,) * 2)
    with contextlib.suppress(OSError, ValueError):  # systems without /proc
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        used = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 4 * size + _MEMORY,) * 2)


_CODE = ("GLOBAL", "unrecognized function")
"""What torch says of a pickle that asks for more than plain values; a name follows."""


def load(path: str) -> Any:
    """Return the value in a file of `torch.save`.

    Numbers of NumPy, paths and `argparse.Namespace` are allowed besides tensors and plain values.
    """
    kinds = [np.dtype(kind) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")]
    scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    paths = [pathlib.Path, pathlib.PosixPath, pathlib.PurePosixPath]
    allowed: list[Any] = [
        argparse.Namespace,
        np.dtype,
        *{type(kind) for kind in kinds},
        *scalars,
        *paths,
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(rf"(?:{'|'.join(_CODE)}) ?(\S+)", str(error))
        if found is None:
            raise RefusedError(WRONG, "is damaged, or no file of torch.save") from error
        raise RefusedError(
            UNSAFE,
            f"holds Python objects ({found[1]}), and reading them could run code. Save the weights "
            "alone: torch.save(model.state_dict(), path)",
        ) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            reason = (
                "is a TorchScript archive. Save the weights: torch.save(model.state_dict(), path)"
            )
            raise RefusedError(WRONG, reason) from error
        if "alloc" in str(error):
            raise MemoryError from error
        raise RefusedError(WRONG, f"is damaged ({_first(error)})") from error
    except MemoryError:
        raise
    except Exception as error:
        # On damaged bytes, the unpickler raises many types of errors.
        raise RefusedError(
            WRONG, f"is damaged ({type(error).__name__}: {_first(error)})"
        ) from error


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def convert(value: Any, folder: Path) -> None:
    """Write the tensors of the `state_dict` in `value`, and the values around it."""
    place = locate(value)
    state = value
    for key in place:
        state = state[key]
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantized" if tensor.is_quantized else str(tensor.layout)
            kind = "on the device 'meta', without values" if tensor.is_meta else kind
            raise RefusedError(WRONG, f"has a tensor '{name}' that is {kind}. Save it as float32")
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    left: list[str] = []
    try:
        tree = encode(value, place, left, iter(range(MOST_VALUES)))
    except StopIteration as error:
        reason = f"has more than {MOST_VALUES:,} values besides the weights"
        raise RefusedError(UNSAFE, reason) from error
    around = {"place": place, "tree": tree}
    around |= {"names": list(state), "left": left}
    (folder / AROUND).write_text(json.dumps(around), "utf-8")
    save_file(tensors, folder / TENSORS)


def locate(value: Any) -> list[str]:
    """Return the keys that lead to the `state_dict`; none if the value is one."""
    if is_state(value):
        return []
    if not isinstance(value, Mapping):
        raise RefusedError(WRONG, f"holds a {type(value).__name__}, and no state_dict")
    for name in NAMES:
        if isinstance(value.get(name), Mapping) and value[name]:
            return [name, *locate(value[name])]
    states = [key for key, item in value.items() if is_state(item) and isinstance(key, str)]
    if len(states) == 1:
        return states
    keys = ", ".join(f"'{key}'" for key in [*value][:8]) or "nothing"
    several = f" Several are possible: {', '.join(states[:8])}." if states else ""
    raise RefusedError(
        WRONG,
        f"has no state_dict under one of the keys {', '.join(NAMES)}; it has {keys}.{several} "
        "Save torch.save({'state_dict': model.state_dict()}, path)",
    )


if __name__ == "__main__":
    main()
