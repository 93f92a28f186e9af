"""Random draws by name.

A `Seed` is a root and a path, such as `Seed(0) / "pool" / 17`. The SHA-256 of root and path is the
key of a Philox generator, so a draw depends on its name alone. Another seed, example, worker or
retry changes no other draw. Draws are raw Philox words, whose stream NumPy guarantees to be stable.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Seed:
    """A path of names under a root: the source of all random draws in this package.

    Attributes:
        root: the integer seed in an experiment file.
        path: the names below the root.

    Example:
        >>> seed = Seed(0) / "pool" / 17
        >>> str(seed)
        '0/pool/17'
        >>> seed.permutation(5)
        array([3, 0, 2, 4, 1])
        >>> (Seed(0) / "pool" / 17).permutation(5)
        array([3, 0, 2, 4, 1])
    """

    root: int
    path: tuple[str | int, ...] = ()

    def __truediv__(self, name: str | int) -> "Seed":
        return Seed(self.root, (*self.path, name))

    def __str__(self) -> str:
        return "/".join(map(str, (self.root, *self.path)))

    def _key(self) -> NDArray[np.uint64]:
        """Return the first 128 bits of the SHA-256 of root and path."""
        # A NumPy integer is equal to Python's, but its repr differs.
        names = (n if isinstance(n, str) else int(n) for n in (self.root, *self.path))
        name = repr(tuple(names)).encode()
        return np.frombuffer(hashlib.sha256(name).digest()[:16], dtype=np.uint64)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return `count` independent 64-bit words."""
        words: NDArray[np.uint64] = np.random.Philox(key=self._key()).random_raw(count)
        return words

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Return `count` numbers in [0, 1)."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return `count` standard normal numbers (Box and Muller, 1958)."""
        radii, angles = self.uniform(2 * count).reshape(2, count)
        numbers: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-radii)) * np.cos(2 * np.pi * angles)
        return numbers

    def integers(self, count: int, high: int) -> NDArray[np.int64]:
        """Return `count` integers in [0, high)."""
        return (self.words(count) % np.uint64(high)).astype(np.int64)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """Return a random permutation of 0 .. count - 1."""
        return np.argsort(self.words(count), kind="stable").astype(np.int64)

    def choice(self, count: int, size: int) -> NDArray[np.int64]:
        """Return `size` distinct integers in 0 .. count - 1, sorted."""
        return np.sort(self.permutation(count)[:size])

    @contextlib.contextmanager
    def torch(self) -> Iterator[None]:
        """Seed torch's generators from this path, and restore their state afterwards.

        Initial weights and dropout are drawn inside. The seed has 32 bits, because PyTorch's CPU
        generator uses no more.
        """
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(int(self.words(1)[0] >> np.uint64(32)))
            yield
