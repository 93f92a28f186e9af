"""A content-addressed store of artifacts, which also serves as cache.

The name of an artifact is the digest of the values that determine it. It is one safetensors file
with its own checksum. A `.json` of the same name holds the provenance (time, host), which is
outside key and checksum. Writes are atomic and never overwrite: a reader finds a complete artifact
or none, whichever process was killed, and the second of two writers is told. Small artifacts of a
large pool are merged into packs (`rum_ray.store.packs`).
"""

from rum_ray.store.artifact import FORMAT, Artifact, Key
from rum_ray.store.packs import PACK_RECORDS
from rum_ray.store.store import CACHE, Store

__all__ = ["CACHE", "FORMAT", "PACK_RECORDS", "Artifact", "Key", "Store"]
