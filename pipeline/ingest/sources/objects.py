"""Files in an object store: ``s3://bucket/key``, or a glob pattern."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial

from pipeline.config import FilesSource
from pipeline.errors import SourceError, StoreError
from pipeline.ingest.sources.listing import ZARR_ROOTS, Found, bundle, finished
from pipeline.store.objects import ObjectInfo, ObjectStore, open_store

_PLAIN = re.compile(r"[^*?\[]*/")


def stored_files(spec: FilesSource) -> list[Found]:
    """Return the matching objects, sorted by key, without hidden and unfinished ones.

    Only objects below the last folder before a wildcard are listed. A Zarr folder counts as one file. Credentials come
    from the environment, as for Nightcast's own stores.

    Raises:
        SourceError: no object matches, or the service refuses.
    """
    text = spec.path
    plain = _PLAIN.match(text)
    root = plain[0].rstrip("/") if plain else text
    if root.count("/") < 2:
        raise SourceError(
            f"{text}: not the address of an object; write s3://bucket/key, without wildcards in the bucket"
        )
    tail = text[len(root) + 1 :]
    try:
        store = open_store(root)
        found = _matching(store, tail.split("/"), spec) if glob.has_magic(tail) else _exactly(store, tail, spec)
    except StoreError as error:
        raise SourceError(str(error)) from error
    if not found:
        raise SourceError(f"{text}: no object matches; correct feed.source.path")
    return found


def matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a name match those of a pattern by the rules of ``glob``.

    Hidden parts match only a pattern that starts with a dot.
    """
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


def _matching(store: ObjectStore, pattern: Sequence[str], spec: FilesSource) -> list[Found]:
    entries = {entry.name: entry for entry in store.list_files()}
    folders = {name.rpartition("/")[0] for name in entries if spec.format == "zarr" and _is_root(name)}
    names = sorted(name for name in entries.keys() | folders if finished(name) and matches(name.split("/"), pattern))
    return [
        _object(store, entries[name]) if name in entries else _folder(store, name, entries.values()) for name in names
    ]


def _exactly(store: ObjectStore, name: str, spec: FilesSource) -> list[Found]:
    entry = store.stat(name)
    if entry is not None:
        return [_object(store, entry)]
    inside = store.list_files(name) if spec.format == "zarr" else []
    return [_folder(store, name, inside)] if any(_is_root(entry.name) for entry in inside) else []


def _is_root(name: str) -> bool:
    return name.rpartition("/")[2] in ZARR_ROOTS


def _object(store: ObjectStore, entry: ObjectInfo) -> Found:
    address = f"{store.uri}/{entry.name}"
    return Found(address, address, entry.size, partial(store.read, entry.name))


def _folder(store: ObjectStore, name: str, entries: Iterable[ObjectInfo]) -> Found:
    inside = [entry for entry in entries if entry.name.startswith(f"{name}/")]

    def read() -> bytes:
        return bundle((entry.name.removeprefix(f"{name}/"), store.read(entry.name)) for entry in inside)

    address = f"{store.uri}/{name}"
    return Found(address, address, sum(entry.size for entry in inside), read)


def _hidden(part: str) -> bool:
    return part.startswith(".")
