"""The last payload that was ingested under each name, which shows whether a delivery is new."""

from __future__ import annotations

from pipeline.store import checksummed_json
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore


class LastPayloads:
    """The digest of the last payload that was ingested under each name."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(self, name: str) -> str | None:
        """Return the digest of the last payload of a name, or None if there is none."""
        facts = checksummed_json.loads(self._store.get(_file_name(name)))
        return str(facts["digest"]) if facts else None

    def put(self, name: str, digest: str) -> None:
        """Store the digest of the last payload of a name.

        Raises:
            StoreError: the store cannot be written.
        """
        if self.get(name) != digest:
            self._store.put(_file_name(name), checksummed_json.dumps({"name": name, "digest": digest}))


def _file_name(name: str) -> str:
    return f"names/{sha256(name.encode())}.json"
