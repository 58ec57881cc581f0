"""Files in an object store, listed and read by the same door as the stores there: ``s3://bucket/key``, or a pattern."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial

from pipeline.config import FilesSource
from pipeline.errors import SourceError, StoreError
from pipeline.ingest.sources.listing import ZARR_ROOTS, Found, bundle, finished
from pipeline.store.objects import Entry, ObjectStore, open_store

_PLAIN = re.compile(r"[^*?\[]*/")


def stored_files(spec: FilesSource) -> list[Found]:
    """Return the objects that match, sorted by key; hidden and unfinished ones are left out.

    Only what lies below the last folder before a wildcard is listed. A Zarr folder counts as one file. Credentials come
    from the environment, as those of the stores do.

    Raises:
        SourceError: there is none, or the service refuses.
    """
    text = spec.path
    plain = _PLAIN.match(text)
    root = plain[0].rstrip("/") if plain else text
    if root.count("/") < 2:
        raise SourceError(f"{text}: no address of an object; write s3://bucket/key, without wildcards in the bucket")
    tail = text[len(root) + 1 :]
    try:
        place = open_store(root)
        found = _matching(place, tail.split("/"), spec) if glob.has_magic(tail) else _exactly(place, tail, spec)
    except StoreError as error:
        raise SourceError(str(error)) from error
    if not found:
        raise SourceError(f"{text}: no object matches; correct feed.source.path")
    return found


def matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a name fit those of a pattern by the rules of ``glob``: hidden ones are asked for."""
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        if not rest:
            return bool(name) and not any(map(_hidden, name))
        return matches(name, rest) or (bool(name) and not _hidden(name[0]) and matches(name[1:], pattern))
    if not name or (_hidden(name[0]) and not _hidden(first)):
        return False
    return fnmatchcase(name[0], first) and matches(name[1:], rest)


def _matching(place: ObjectStore, pattern: Sequence[str], spec: FilesSource) -> list[Found]:
    entries = {entry.name: entry for entry in place.entries()}
    folders = {name.rpartition("/")[0] for name in entries if spec.format == "zarr" and _is_root(name)}
    names = sorted(name for name in entries.keys() | folders if finished(name) and matches(name.split("/"), pattern))
    return [
        _object(place, entries[name]) if name in entries else _folder(place, name, entries.values()) for name in names
    ]


def _exactly(place: ObjectStore, name: str, spec: FilesSource) -> list[Found]:
    entry = place.look(name)
    if entry is not None:
        return [_object(place, entry)]
    inside = place.entries(name) if spec.format == "zarr" else []
    return [_folder(place, name, inside)] if any(_is_root(entry.name) for entry in inside) else []


def _is_root(name: str) -> bool:
    return name.rpartition("/")[2] in ZARR_ROOTS


def _object(place: ObjectStore, entry: Entry) -> Found:
    address = f"{place.uri}/{entry.name}"
    return Found(address, address, entry.size, partial(place.read, entry.name))


def _folder(place: ObjectStore, name: str, entries: Iterable[Entry]) -> Found:
    inside = [entry for entry in entries if entry.name.startswith(f"{name}/")]

    def read() -> bytes:
        return bundle((entry.name.removeprefix(f"{name}/"), place.read(entry.name)) for entry in inside)

    address = f"{place.uri}/{name}"
    return Found(address, address, sum(entry.size for entry in inside), read)


def _hidden(part: str) -> bool:
    return part.startswith(".")
