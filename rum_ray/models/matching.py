"""The names in a file of weights against those of a network: alignment, types, and what differs."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

WRAPPERS = frozenset({"module", "_orig_mod", "model"})
"""Parts of names from DataParallel and DDP, `torch.compile`, and modules around a network."""
FLOATS = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
INTEGERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Last parts of names that a file or a network may have alone."""
_SHOWN = 3
_HEAD = 4
"""Largest number of weights and biases of a head that a file may lack, or have more."""
_HINTS = {
    "weight_mask": "The file is that of a pruned network; call prune.remove before saving",
    "zero_point": "The file is that of a quantised network; save the one in float32",
    "lora_": "The file has LoRA adapters; merge them into the weights before saving",
    "AuxLogits": "The file has auxiliary heads, which the network lacks",
}


def align(
    names: Iterable[str], expected: Iterable[str], head: int | None = None
) -> dict[str, str] | None:
    """Return the name in the file of each name of a network; None if they do not match.

    Parts of `WRAPPERS` count on neither side. Besides, one more part that all names of the file
    begin with may be absent in the network. Layers that have numbers alone, as in an
    `nn.Sequential`, match in their order.

    Args:
        names: names in the file.
        expected: names of the network.
        head: if it is not None, the last weights of the network may be absent in the file, and
            the file may have others in their place.
    """
    names, expected = list(names), list(expected)
    if {*names} == {*expected}:
        return {name: name for name in expected}
    known = _canonical(expected)
    own = _canonical(names)
    first = {name.split(".")[0] for name in own or ()}
    shorter = {name.partition(".")[2]: key for name, key in (own or {}).items()}
    for found in (own, shorter if len(first) == 1 else None):
        if found is None or known is None:
            continue
        differing = {name for name in known.keys() ^ found.keys() if not name.endswith(_COUNTERS)}
        if head is not None and len(differing - known.keys()) <= _HEAD:
            # Names of the file alone are those of its own head.
            differing &= set(list(known)[:-_HEAD])
        if not differing:
            return {key: found[name] for name, key in known.items() if name in found}
    return None if own is None or head is not None else _by_place(own, expected)


def _by_place(own: Mapping[str, str], expected: Iterable[str]) -> dict[str, str] | None:
    """Return names in a file of numbered layers by the names of a network, layer by layer.

    The file is that of an `nn.Sequential`, so the numbers of its layers are their order. The layers
    of the network are in the order of its `state_dict`. Shapes are compared later.

    Args:
        own: names in the file, by the names without wrappers.
        expected: names of the network.
    """
    theirs, ours = (_layers(names) for names in (own, expected))
    if len(theirs) != len(ours) or not is_numbered(own):
        return None
    pairs = [*zip(sorted(theirs, key=_numbered), ours, strict=True)]
    if any(({*theirs[a]} ^ {*ours[b]}) - {*_COUNTERS} for a, b in pairs):
        return None
    return {f"{b}.{part}": own[f"{a}.{part}"] for a, b in pairs for part in theirs[a]}


def is_numbered(names: Iterable[str]) -> bool:
    """Return True if every name begins with a number, as in an `nn.Sequential`."""
    return all(name.partition(".")[0].isdecimal() for name in names)


def _layers(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the tensors of each layer, such as "weight", by its name."""
    found: dict[str, list[str]] = {}
    for name in names:
        layer, _, part = name.rpartition(".")
        found.setdefault(layer, []).append(part)
    return found


def _numbered(layer: str) -> list[tuple[int, str]]:
    """Return the sorting key of a layer: its numbers count as numbers."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in layer.split(".")]


def _canonical(names: Iterable[str]) -> dict[str, str] | None:
    """Return the names by themselves without wrappers; None if two become the same."""
    found: dict[str, str] = {}
    for name in names:
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if short in found:
            return None
        found[short] = name
    return found


def wrappers(names: Mapping[str, str]) -> str:
    """Return the prefix, or the parts, that names in a file have more than those of a network."""
    changed = [(ours, theirs) for ours, theirs in names.items() if ours != theirs]
    if not changed:
        return ""
    ours, theirs = changed[0]
    if theirs.endswith(f".{ours}"):
        return theirs.removesuffix(ours)
    more = [part for part in theirs.split(".") if part not in ours.split(".")]
    return "".join(f"{part}." for part in more)


def fitted(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], head: int | None
) -> dict[str, Tensor]:
    """Return tensors in the shapes and types of a network; raise ValueError if they do not fit.

    Args:
        state: tensors of a file by names of the network.
        expected: tensors of the network.
        head: if it is not None, tensors whose first axis is this long in the network, and another
            in the file, are left out.
    """
    if head is not None:
        state = {n: v for n, v in state.items() if not _is_other_head(v, expected[n], head)}
    wrong = [name for name, value in state.items() if value.shape != expected[name].shape]
    if wrong:
        raise ValueError(_shapes(wrong, state, expected))
    result = {}
    for name, value in state.items():
        kind = expected[name].dtype
        allowed = FLOATS if kind.is_floating_point else INTEGERS
        if value.dtype not in allowed:
            given = str(value.dtype).removeprefix("torch.")
            needed = "floats" if kind.is_floating_point else "integers"
            raise ValueError(
                f"'{name}' has the type {given}, but the network has {needed}. Weights may be "
                "float32, float64, float16 or bfloat16; save them before quantisation."
            )
        result[name] = value.to(kind)
        if not bool(result[name].isfinite().all()):
            count = int((~result[name].isfinite()).sum())
            raise ValueError(
                f"'{name}' has {count} of {value.numel()} values that are not finite (NaN or "
                "infinite). The training that saved it diverged; use an earlier checkpoint."
            )
    return result


def _is_other_head(value: Tensor, expected: Tensor, classes: int) -> bool:
    """Return True if two tensors differ in the number of classes alone."""
    same = value.ndim == expected.ndim > 0 and value.shape[1:] == expected.shape[1:]
    return same and expected.shape[0] == classes != value.shape[0]


def _shapes(wrong: list[str], state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return the sentence on tensors of other shapes, with the likely reason."""
    listed = "; ".join(
        f"'{name}' has the shape {[*state[name].shape]}, the network {[*expected[name].shape]}"
        for name in wrong[:_SHOWN]
    )
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    sizes = {(state[n].shape[:1], expected[n].shape[:1]) for n in wrong}
    same_tail = all(state[n].shape[1:] == expected[n].shape[1:] for n in wrong)
    if len(sizes) == 1 and same_tail and len(wrong) <= 2:
        ((theirs,), (ours,)) = sizes.pop()
        return (
            f"{listed}{more}. The file has {theirs} classes, and the data {ours}. The folders or "
            "labels of the data must be the classes that the model learned."
        )
    first = wrong[0]
    if state[first].ndim == 4 and state[first].shape[1] != expected[first].shape[1]:
        channels = state[first].shape[1], expected[first].shape[1]
        reason = f"The file takes images of {channels[0]} channels, and the data have {channels[1]}"
    else:
        reason = "The file is that of a network of other sizes. Check 'model'"
    return f"{listed}{more}. {reason}."


def mismatch(names: Iterable[str], expected: Iterable[str], network: str) -> str:
    """Return the sentence on a file and a network with other names, with the likely reason."""
    theirs, ours = _canonical(names), _canonical(expected)
    if theirs is None or ours is None:
        return f"two names differ only in the parts {', '.join(sorted(WRAPPERS))}. Rename them."
    missing = [name for name in ours if name not in theirs and not name.endswith(_COUNTERS)]
    unexpected = [n for n in theirs if n not in ours and not n.endswith(_COUNTERS)]
    parts = []
    if missing:
        parts.append(f"it lacks {_listed(missing)} of {network}")
    if unexpected:
        parts.append(f"{network} has no {_listed(unexpected)}")
    reason = next((hint for part, hint in _HINTS.items() if part in " ".join(unexpected)), None)
    last = [name for name in ours if not name.endswith(_COUNTERS)][-len(missing) :]
    if reason is None and missing == last and len(missing) <= 2 and not unexpected:
        reason = "The file has no head; it must have been trained on these classes"
    if reason is None:
        share = 1 - len(missing) / len(ours)
        much = (
            "belongs to another network" if share < 0.5 else "belongs to a variant of the network"
        )
        reason = f"The file {much}. Set 'model' to the one that was trained{_torchvision(theirs)}"
    return f"{'; '.join(parts)}. {reason}."


def _listed(names: list[str]) -> str:
    """Return the first names and the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more


def _torchvision(names: Iterable[str]) -> str:
    """Return the end of a sentence that names the network of torchvision with these names."""
    from rum_ray.models.library import networks_with

    found = networks_with({name for name in names if not name.endswith(_COUNTERS)}, _COUNTERS)
    return f"; the names are those of {' or '.join(found)}" if found else ""
