"""Validation of row indices from untrusted input."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.errors import DataError, RumRayError


def checked_rows(
    rows: ArrayLike,
    total: int | None = None,
    what: str = "rows",
    error: type[RumRayError] = DataError,
) -> NDArray[np.int64]:
    """Return row indices as int64 [N].

    Negative indices are refused; NumPy would count them from the end.

    Args:
        rows: [N] row indices.
        total: number of rows; None for no upper limit.
        what: subject of the error message.
        error: class of the error.

    Raises:
        error: the rows are not integers, or not in 0 .. total - 1.
    """
    array = np.asarray(rows)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise error(f"{what} must be integers [N]; got {array.dtype} of shape {array.shape}.")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, -1)
    if low < 0 or (total is not None and high >= total):
        allowed = "0 or more" if total is None else f"in 0 .. {total - 1}"
        raise error(f"{what} must be {allowed}; got {low} .. {high}.")
    return array.astype(np.int64, copy=False)
