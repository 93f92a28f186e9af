"""Difficulty of any example from the labels around it: no model needs to have left it out."""

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 20
BLOCK = 512


def label_disagreement(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_labels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the share of the 20 nearest examples with another label [Q]; higher is harder.

    The examples are other ones than the queries, so a query's own label has no part in its
    difficulty, whether a model was trained on the query or not.

    Args:
        features: [N, D] embeddings of the examples.
        labels: [N].
        queries: [Q, D] embeddings.
        query_labels: [Q].

    Example:
        >>> import numpy as np
        >>> x, y = np.arange(40, dtype=np.float32)[:, None], np.repeat([0, 1], 20)
        >>> label_disagreement(x, y, x[:1], np.array([0])), label_disagreement(x, y, x[:1], y[-1:])
        (array([0.]), array([1.]))
    """
    count = min(NEIGHBOURS, len(features))
    squares = np.square(features).sum(axis=1)
    found = np.empty(len(queries))
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        away = squares - 2 * queries[part] @ features.T
        near = np.argpartition(away, count - 1, axis=1)[:, :count]
        found[part] = (labels[near] != query_labels[part, None]).mean(axis=1)
    return found
