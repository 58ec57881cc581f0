"""How far a source has been asked, what it could not give, and whether its first load is complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.store.checksummed_json import pack, unpack
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore

Window = tuple[datetime | None, datetime | None]
"""First and last valid time of interest; None is open."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a feed stands."""

    until: datetime | None = None
    """Everything before this was asked for, and had but for what was missed."""
    missed: tuple[Window, ...] = ()
    """What could not be had or used, to be asked for again."""
    loaded: bool = False
    """Whether a whole run ended without a fault; until then what comes is history."""


class Progress:
    """Where a feed stands, for one description of what is asked for."""

    def __init__(self, place: ObjectStore, asked_for: str) -> None:
        self._place, self._name = place, f"asked/{sha256(asked_for.encode())}.json"

    def read(self) -> Reached:
        """Return where the feed stands; at the beginning, where that cannot be believed."""
        facts = unpack(self._place.find(self._name))
        if facts is None:
            return Reached()
        missed = tuple((_instant(first), _instant(last)) for first, last in facts["missed"])
        return Reached(_instant(facts["until"]), missed, facts["loaded"])

    def note(self, window: Window, *, sound: bool, until: datetime) -> None:
        """Keep that a window was asked for, whether all of it was had, and that it ends not before `until`.

        Raises:
            StoreError: the place cannot be written.
        """
        now = self.read()
        missed = [one for one in now.missed if one != window] + ([] if sound else [window])
        self._write(Reached(max(until, now.until or until), tuple(missed), now.loaded))

    def finish(self) -> None:
        """Keep that the first load is complete.

        Raises:
            StoreError: the place cannot be written.
        """
        now = self.read()
        if not now.loaded:
            self._write(Reached(now.until, now.missed, loaded=True))

    def _write(self, reached: Reached) -> None:
        facts: dict[str, Any] = {
            "until": _text(reached.until),
            "missed": [[_text(first), _text(last)] for first, last in reached.missed],
            "loaded": reached.loaded,
        }
        self._place.write(self._name, pack(facts))


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
