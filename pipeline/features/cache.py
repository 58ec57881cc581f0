"""Frames of a whole history, kept on disk by what they were made from: made once, then only mapped.

A cache and nothing more: it may be deleted at any time. What is damaged is thrown away with a line in the log and made
again; what nobody used lately makes room.
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
from pipeline.features.files import FORMAT, read_frames, writing
from pipeline.features.frames import arrange
from pipeline.ingest.feed import OpenFeed
from pipeline.locations import Locations
from pipeline.store.observations import Observations

log = logging.getLogger("nightcast.frames")
KEPT = 3
_ATTEMPTS = 5
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class FrameCache:
    """The cached frames of one feed, a folder a key."""

    folder: Path

    def find(self, key: str, *, grid: tuple[int, int] | None = None) -> Frames | None:
        """Return the frames of a key, or None; damaged ones are thrown away."""
        place = self.folder / key
        if not place.is_dir():
            return None
        try:
            frames = read_frames(place, grid)
            os.utime(place)
        except (StoreError, OSError) as error:
            log.warning("%s; the frames are made again", error)
            _discard(place)
            return None
        return frames

    def put(self, key: str, fill: Callable[[Path], None], *, keep: int = KEPT) -> None:
        """Let `fill` write the frames of a key into a folder that appears whole or not at all; make room for them."""
        with new_folder(self.folder / key) as fresh:
            fill(fresh)
        self.evict(keep=keep, new=key)

    def evict(self, *, keep: int = KEPT, new: str | None = None) -> list[str]:
        """Delete all but the frames used last, and what killed writers left a day before those; return the names.

        `new` counts as used last, whatever the clock says.

        Who has them mapped goes on reading them.
        """
        if not self.folder.is_dir():
            return []
        used = [(_used(entry), entry) for entry in self.folder.iterdir()]
        entries = sorted(((at, entry) for at, entry in used if at is not None and entry.is_dir()), reverse=True)
        whole = [(at, entry) for at, entry in entries if not entry.name.startswith(".")]
        whole.sort(key=lambda one: one[1].name != new)  # stable: the others stay in order
        newest = max((at for at, _ in whole), default=0.0)
        left = [entry for at, entry in entries if entry.name.startswith(".") and at < newest - _DAY_SECONDS]
        gone = [entry for _, entry in whole[keep:]] + left
        for entry in gone:
            _discard(entry)
        return [entry.name for entry in gone]

    def check(self) -> list[str]:
        """Read every folder and return what is wrong, a line each."""
        faults = []
        for place in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            try:
                if not place.name.startswith("."):
                    read_frames(place)
            except StoreError as error:
                faults.append(str(error))
        return faults


def history(feed: OpenFeed, *, known_by: datetime, keep: int = KEPT) -> tuple[Frames, int]:
    """Return all that was known of a feed at an instant, memory-mapped, and the version of the table it is from.

    Memory holds some months of rows while frames are made, and nothing once they are.

    Raises:
        NoDataError: nothing was known then, or of none of the locations.
        StoreError: the observations cannot be read, or the frames not be written.
    """
    observations, locations, cache = feed.observations, feed.locations, FrameCache(feed.layout.frames)
    for _ in range(_ATTEMPTS):
        version, identity = _identity(observations)
        key = _key(identity, feed.spec, locations, known_by)
        frames = cache.find(key, grid=locations.shape)
        if frames is not None:
            return frames, version
        parts = observations.scan(known_by=known_by)  # all from one version, that of its first part
        first = next(parts, None)
        if _identity(observations)[1] != identity:
            continue
        if first is None:
            when = f"{known_by:%Y-%m-%d %H:%M} UTC"
            raise NoDataError(f"{feed.title}: nothing was known by {when}; run `nightcast ingest` first")
        rows = chain([first], parts)
        cache.put(key, partial(_write, rows=rows, feed=feed.spec, locations=locations), keep=keep)
    raise StoreError(f"{cache.folder}: the frames were gone or damaged {_ATTEMPTS} times after they had been made")


def _write(folder: Path, *, rows: Iterable[pa.Table], feed: Feed, locations: Locations) -> None:
    variables, places = tuple(feed.variables), locations.ids
    with writing(folder, channels=len(variables), locations=len(places), step=feed.step) as writer:
        for part in rows:
            frames = arrange(part, locations=places, variables=variables, step=feed.step)
            if frames is not None:
                writer.append(frames, rows=part.num_rows)
        if not writer.rows:
            raise NoDataError(f"{feed.title}: no observations of any location of the product; see feed.locations")


def _identity(observations: Observations) -> tuple[int, str]:
    """Return the newest version of a table and what tells its content from that of any other table or version."""
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
        "step": feed.step.total_seconds(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _used(entry: Path) -> float | None:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another process made room first
        return None


def _discard(place: Path) -> None:
    """Delete a folder that others may be opening: first it loses its name, whole."""
    gone = place.with_name(f".{place.name.lstrip('.')}.{uuid4().hex}")
    try:
        place.rename(gone)
    except FileNotFoundError:  # another process was first
        return
    shutil.rmtree(gone, ignore_errors=True)
