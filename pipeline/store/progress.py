"""How far a source that is asked by time has been asked: everything up to then was had and taken in."""

from __future__ import annotations

from datetime import datetime

from pipeline.store.content import sha256
from pipeline.store.packed import pack, unpack
from pipeline.store.place import Place


class Progress:
    """An instant that only a run without a fault moves. It holds for one description of what is asked for."""

    def __init__(self, place: Place, asked_for: str) -> None:
        self._place, self._name = place, f"asked/{sha256(asked_for.encode())}.json"

    def read(self) -> datetime | None:
        """Return the instant, or None when there is none that can be believed."""
        facts = unpack(self._place.find(self._name))
        return datetime.fromisoformat(facts["until"]) if facts else None

    def reach(self, until: datetime) -> None:
        """Keep a later instant.

        Raises:
            StoreError: the place cannot be written.
        """
        before = self.read()
        if before is None or until > before:
            self._place.write(self._name, pack({"until": until.isoformat()}))
