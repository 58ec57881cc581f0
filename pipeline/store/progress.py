"""How far a feed has been fetched, which time ranges are missing, and whether its first load is complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.store import checksummed_json
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore

TimeRange = tuple[datetime | None, datetime | None]
"""First and last valid time to fetch; None leaves an end open."""


@dataclass(frozen=True, slots=True)
class FetchState:
    """How far a feed has been fetched."""

    until: datetime | None = None
    """Everything before this was fetched, except for the missed ranges."""
    missed: tuple[TimeRange, ...] = ()
    """Ranges that could not be fetched or used, to be fetched again."""
    loaded: bool = False
    """Whether a whole run has succeeded; until then everything fetched is history."""


class Progress:
    """The fetch state of a feed, for one description of what is fetched: another description starts anew."""

    def __init__(self, store: ObjectStore, description: str) -> None:
        self._store, self._name = store, f"asked/{sha256(description.encode())}.json"

    def read(self) -> FetchState:
        """Return the fetch state; the initial one if there is none or its file is damaged."""
        facts = checksummed_json.loads(self._store.get(self._name))
        if facts is None:
            return FetchState()
        missed = tuple((_parse(first), _parse(last)) for first, last in facts["missed"])
        return FetchState(_parse(facts["until"]), missed, facts["loaded"])

    def add_range(self, fetched: TimeRange, *, complete: bool, until: datetime) -> None:
        """Store that a range was fetched, whether all of it was usable, and that `until` has been reached.

        Raises:
            StoreError: the store cannot be written.
        """
        state = self.read()
        missed = [other for other in state.missed if other != fetched] + ([] if complete else [fetched])
        self._write(FetchState(max(until, state.until or until), tuple(missed), state.loaded))

    def finish_first_load(self) -> None:
        """Store that the first load is complete.

        Raises:
            StoreError: the store cannot be written.
        """
        state = self.read()
        if not state.loaded:
            self._write(FetchState(state.until, state.missed, loaded=True))

    def _write(self, state: FetchState) -> None:
        facts: dict[str, Any] = {
            "until": _format(state.until),
            "missed": [[_format(first), _format(last)] for first, last in state.missed],
            "loaded": state.loaded,
        }
        self._store.put(self._name, checksummed_json.dumps(facts))


def _parse(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _format(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
