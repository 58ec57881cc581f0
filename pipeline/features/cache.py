"""A cache of frames of whole histories on disk, keyed by their input: built once, then memory-mapped.

It may be deleted at any time. Damaged entries are logged, deleted and rebuilt; the least recently used are evicted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from pipeline.atomic import new_folder
from pipeline.config import Feed
from pipeline.errors import NoDataError, StoreError
from pipeline.features.arrays import Frames
from pipeline.features.files import FORMAT, frame_writer, read_frames
from pipeline.features.frames import frames_from_rows
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.steps import identify
from pipeline.store.observations import Observations

log = logging.getLogger(__name__)
KEPT = 3
_ATTEMPTS = 5
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class FrameCache:
    """The cached frames of one feed, one folder per key."""

    folder: Path

    def find(self, key: str) -> Frames | None:
        """Return the frames of a key, or None; damaged frames are deleted."""
        entry = self.folder / key
        if not entry.is_dir():
            return None
        try:
            frames = read_frames(entry)
            os.utime(entry)
        except (StoreError, OSError) as error:
            log.warning("%s; rebuilding the frames", error)
            _delete(entry)
            return None
        return frames

    def put(self, key: str, fill: Callable[[Path], None], *, keep: int = KEPT) -> None:
        """Store the frames that `fill` writes into a new folder, atomically, and evict others."""
        with new_folder(self.folder / key) as fresh:
            fill(fresh)
        self.evict(keep=keep, new=key)

    def evict(self, *, keep: int = KEPT, new: str | None = None) -> list[str]:
        """Delete all but the `keep` most recently used entries and return the names of those deleted.

        `new` counts as the most recent. What killed writers left more than a day before the newest entry goes too.
        Processes that have an entry mapped can still read it.
        """
        if not self.folder.is_dir():
            return []
        used = [(_used(entry), entry) for entry in self.folder.iterdir()]
        entries = sorted(((at, entry) for at, entry in used if at is not None and entry.is_dir()), reverse=True)
        whole = [(at, entry) for at, entry in entries if not entry.name.startswith(".")]
        whole.sort(key=lambda one: one[1].name != new)  # stable: the others keep their order
        newest = max((at for at, _ in whole), default=0.0)
        abandoned = [entry for at, entry in entries if entry.name.startswith(".") and at < newest - _DAY_SECONDS]
        evicted = [entry for _, entry in whole[keep:]] + abandoned
        for entry in evicted:
            _delete(entry)
        return [entry.name for entry in evicted]


def load_history(feed: OpenFeed, *, known_by: datetime, keep: int = KEPT) -> tuple[Frames, int]:
    """Return the whole history of a feed as known at an instant, memory-mapped, and the version of its table.

    While frames are built, some months of rows are in memory.

    Raises:
        NoDataError: nothing was known then of any of the locations.
        StoreError: the observations cannot be read, or the frames cannot be written.
    """
    observations, locations, cache = feed.observations, feed.locations, FrameCache(feed.layout.frames)
    for _ in range(_ATTEMPTS):
        version, identity = _identity(observations)
        key = _key(identity, feed.spec, locations, known_by)
        frames = cache.find(key)
        if frames is not None:
            return frames, version
        parts = observations.scan(known_by=known_by)  # all from one version of the table
        first = next(parts, None)
        if _identity(observations)[1] != identity:
            continue
        if first is None:
            when = f"{known_by:%Y-%m-%d %H:%M} UTC"
            raise NoDataError(f"{feed.title}: nothing was known by {when}; run `nightcast ingest` first")
        rows = chain([first], parts)
        cache.put(key, partial(_write, rows=rows, feed=feed.spec, locations=locations), keep=keep)
    raise StoreError(f"{cache.folder}: the frames were missing or damaged {_ATTEMPTS} times after they were built")


def _write(folder: Path, *, rows: Iterable[pa.Table], feed: Feed, locations: Locations) -> None:
    with frame_writer(folder, channels=len(feed.variables), locations=len(locations), step=feed.step) as writer:
        for part in rows:
            frames = frames_from_rows(part, locations=locations.ids, variables=tuple(feed.variables), step=feed.step)
            if frames is not None:
                writer.append(frames, rows=part.num_rows)
        if not writer.rows:
            raise NoDataError(f"{feed.title}: no observations of any location of the product; see feed.locations")


def _identity(observations: Observations) -> tuple[int, str]:
    """Return the newest version of a table and a digest that identifies its content."""
    view = observations.table.versions.newest()
    if view is None:
        return -1, ""
    names = json.dumps([(file.name, file.size) for file in view.scan.files])
    return view.version, hashlib.sha256(names.encode()).hexdigest()


def _key(identity: str, feed: Feed, locations: Locations, known_by: datetime) -> str:
    parts = {
        "format": FORMAT,
        "observations": identity,
        "known_by": known_by.astimezone(UTC).isoformat(),
        "locations": locations.ids,
        "grid": locations.shape,
        "variables": list(feed.variables),
        "step": identify(feed.step),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _used(entry: Path) -> float | None:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another process evicted it
        return None


def _delete(entry: Path) -> None:
    """Delete an entry that another process may be opening: rename it first, so that it disappears at once."""
    renamed = entry.with_name(f".{entry.name.lstrip('.')}.{uuid4().hex}")
    try:
        entry.rename(renamed)
    except FileNotFoundError:  # another process was first
        return
    shutil.rmtree(renamed, ignore_errors=True)
