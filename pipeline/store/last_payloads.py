"""What was last delivered under each name: the same again is nothing new, and what came before that is."""

from __future__ import annotations

from pipeline.store.checksummed_json import pack, unpack
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore


class LastPayloads:
    """The digest of the last payload of each name that was taken in."""

    def __init__(self, place: ObjectStore) -> None:
        self._place = place

    def last(self, name: str) -> str | None:
        """Return the digest, or None when nothing of that name was taken in."""
        facts = unpack(self._place.find(_path(name)))
        return str(facts["digest"]) if facts else None

    def note(self, name: str, digest: str) -> None:
        """Keep what was delivered under a name.

        Raises:
            StoreError: the place cannot be written.
        """
        if self.last(name) != digest:
            self._place.write(_path(name), pack({"name": name, "digest": digest}))


def _path(name: str) -> str:
    return f"names/{sha256(name.encode())}.json"
