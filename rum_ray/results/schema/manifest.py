"""manifest.json: the identity of one deletion, as a typed value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from rum_ray.results.schema.evidence import checked
from rum_ray.results.schema.rows import PlanStep
from rum_ray.results.schema.summary import to_json


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """manifest.json: all that identifies one deletion.

    Attributes:
        format: of the file.
        request: number of the request, from 1.
        time: of the publication, ISO 8601 in UTC.
        experiment: the experiment file as plain values, without the list of ids.
        listed: salted hash of the list of ids; empty with `--public`.
        ids: salted hashes of the forgotten ids; empty with `--public`.
        data: digests of the training set, without rows forgotten before, and of the test set.
        before: digest of the model that the request started from.
        model: digest of the published model.
        plan: the steps in order.
        seed: seed of the unlearning.
        versions: versions of the packages, and the kind of device.
        files: SHA-256 of the other files of the folder, by name.
        artifacts: kind and digest of the artifacts in the store that were made for the request.
        chain: chain value of the ledger before this request.
        public: True if hashes of ids are left out.
    """

    format: Literal[1] = 1
    request: int
    time: str
    experiment: Mapping[str, Any]
    listed: str
    ids: tuple[str, ...]
    data: Mapping[str, str]
    before: str
    model: str
    plan: tuple[PlanStep, ...]
    seed: int
    versions: Mapping[str, str]
    files: Mapping[str, str]
    artifacts: tuple[str, ...]
    chain: str
    public: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        tree: dict[str, Any] = to_json(self)
        return tree

    @classmethod
    def from_json(cls, tree: object) -> "Manifest":
        """Return the manifest in the plain values of a manifest.json.

        Raises:
            DataError: a key is missing or has a value of another type.
        """
        manifest: Manifest = checked(_MANIFEST, tree, "manifest.json")
        return manifest


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)
