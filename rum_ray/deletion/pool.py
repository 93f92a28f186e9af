"""The numbers of the leave-k-out pool that requests use: one file, written by `rum-ray prepare`.

Rows are found by the salted hashes of their ids, so the file serves requests whose rows are gone,
too. It has no weights.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import StoreError
from rum_ray.evaluation.pool import PoolEvidence
from rum_ray.files import PRIVATE, read_regular, write_bytes
from rum_ray.store import Artifact, Key
from rum_ray.store.artifact import parse

PREPARED = "prepared.safetensors"
MOST_BYTES = 2**36
"""Largest file of a prepared pool that is read."""
_KEY = Key("prepared", {})


@dataclass(frozen=True, eq=False)
class Prepared:
    """The pool on N rows of D and T rows of the test set.

    Attributes:
        ids: [N] salted hashes of the ids.
        scores: [N] memorization; NaN where it is unknown.
        included: [M, N] bool, model m is trained on row n.
        logits: [M, N] logit of the label.
        unseen: [M, T] logit of the label of test rows.
        test: digest of the test set.
        cost: of preparing, in trainings of the original.
        artifacts: kind and digest of the artifacts in the store: those of model m at m, M + m, ...
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float64]
    included: NDArray[np.bool_]
    logits: NDArray[np.float32]
    unseen: NDArray[np.float32]
    test: str
    cost: float
    artifacts: tuple[str, ...] = ()

    @property
    def models(self) -> int:
        """The number of models in the pool."""
        return len(self.included)

    def write(self, out: Path) -> None:
        """Write the file, or replace it.

        Raises:
            StoreError: the file cannot be written.
        """
        hashes = np.frombuffer(bytes.fromhex("".join(self.ids)), np.uint8)
        arrays: dict[str, NDArray[Any]] = {
            "ids": hashes.reshape(len(self.ids), -1),
            "scores": self.scores,
            "included": np.packbits(self.included, axis=1),
            "logits": self.logits,
            "unseen": self.unseen,
        }
        value = {"test": self.test, "cost": self.cost, "artifacts": list(self.artifacts)}
        content = Artifact(arrays, value).content(_KEY)
        write_bytes(out / PREPARED, content, PRIVATE)

    @classmethod
    def read(cls, out: Path) -> "Prepared | None":
        """Return the pool of an output folder; None if nothing was prepared.

        Raises:
            StoreError: the file is damaged or cannot be read.
        """
        path = out / PREPARED
        try:
            artifact = parse(_KEY, read_regular(path, MOST_BYTES), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
        except StoreError as error:
            raise StoreError(
                f"{error} Remove the file, and give 'rum-ray prepare' again; models in the store "
                "are reused."
            ) from error
        arrays = artifact.arrays
        included = np.unpackbits(arrays["included"], axis=1, count=len(arrays["ids"]))
        return cls(
            tuple(each.tobytes().hex() for each in arrays["ids"]),
            arrays["scores"],
            included.view(bool),
            arrays["logits"],
            arrays["unseen"],
            artifact.value["test"],
            artifact.value["cost"],
            tuple(artifact.value["artifacts"]),
        )

    def rows(self, ids: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return the places of these hashes in the file; None if one is not there."""
        place = {each: number for number, each in enumerate(self.ids)}
        if not all(each in place for each in ids):
            return None
        return np.array([place[each] for each in ids], dtype=np.int64)

    def without(self, ids: frozenset[str]) -> "Prepared":
        """Return the pool without the rows of these hashes."""
        kept = np.array([each not in ids for each in self.ids], dtype=bool)
        return dataclasses.replace(
            self,
            ids=tuple(each for each in self.ids if each not in ids),
            scores=self.scores[kept],
            included=self.included[:, kept],
            logits=self.logits[:, kept],
        )

    def against(
        self, places: NDArray[np.int64], logits: NDArray[np.float64], unseen: NDArray[np.float64]
    ) -> tuple[PoolEvidence, PoolEvidence]:
        """Return the evidence on rows of D and on the test rows, for one model's logits.

        Args:
            places: of the rows in this file.
            logits: [F] of the model on these rows.
            unseen: [T] of the model on the test rows.
        """
        included = self.included[:, places]
        # The noise of a score falls with its models, so test rows are judged by as many.
        alike = included[:, np.arange(self.unseen.shape[1]) % included.shape[1]]
        pool = self.logits[:, places].astype(np.float64)
        return (
            PoolEvidence(logits, pool, included),
            PoolEvidence(unseen, self.unseen.astype(np.float64), alike),
        )

    def difficulty(
        self, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return 1 - p of the label under models that never saw the row: of D, and of the test."""
        outside = ~self.included[:, places]
        missed = missed_by(self.logits[:, places])
        inside = (missed * outside).sum(axis=0) / np.maximum(outside.sum(axis=0), 1)
        return inside, missed_by(self.unseen).mean(axis=0)


def missed_by(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return 1 - p of the label from its logit; higher is harder."""
    missed: NDArray[np.float64] = 1 / (1 + np.exp(np.asarray(logits, dtype=np.float64)))
    return missed
