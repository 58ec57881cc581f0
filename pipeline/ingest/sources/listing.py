"""Local files of the `files` source, found by path or glob pattern."""

from __future__ import annotations

import errno
import glob
import io
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from pipeline.config import FilesSource
from pipeline.errors import SourceError
from pipeline.paths import resolve

ZARR_ROOTS = ("zarr.json", ".zgroup")
_UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", "~")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip: equal content gives equal payloads


@dataclass(frozen=True, slots=True)
class Found:
    """A file that matches."""

    name: str
    """Name in messages, relative to the product file."""
    where: str
    """Full path or address."""
    size: int
    read: Callable[[], bytes | None]
    """Return the content, or None if the file has changed since it was listed: it is still being written.

    Raises OSError or StoreError.
    """


def local_files(spec: FilesSource, folder: Path) -> list[Found]:
    """Return the matching files, sorted by name, without hidden and unfinished ones.

    A Zarr folder counts as one file. A link to a file outside the folder in which the pattern starts is not followed:
    its `read` raises an error.

    Raises:
        SourceError: no file matches.
    """
    whole = resolve(spec.path, folder, extra=spec.extra)
    if _is_file(whole, spec):
        return [_found(spec.path, whole, whole)]
    parts = PurePath(spec.path).parts
    plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    found: list[Found] = []
    if plain < len(parts):  # only the part with wildcards is a pattern; a folder may have brackets in its name
        head, tail = PurePath(*parts[:plain]), str(PurePath(*parts[plain:]))
        root = resolve(str(head), folder, extra=spec.extra)
        names = sorted(glob.glob(tail, root_dir=root, recursive=True))  # noqa: PTH207 - leaves hidden files out
        found = [
            _found(str(head / name), root / name, root)
            for name in names
            if finished(name) and _is_file(root / name, spec)
        ]
    if not found:
        raise SourceError(f"{whole.absolute()}: no file matches; correct feed.source.path")
    return found


def finished(name: str) -> bool:
    """Return whether a name does not mark a file that is still being written."""
    return not name.endswith(_UNFINISHED)


def bundle(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return files as a zip archive; equal names and contents give equal bytes."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content)
    return whole.getvalue()


def _is_file(path: Path, spec: FilesSource) -> bool:
    """Return whether a path is a file, or a folder with a Zarr group."""
    try:
        return path.is_file() or (spec.format == "zarr" and any((path / root).is_file() for root in ZARR_ROOTS))
    except PermissionError:
        return True  # reading it reports the error


def _found(name: str, path: Path, within: Path) -> Found:
    try:
        status = _status(path)
        home = within.resolve()
        for part in status:
            if not (path / part).resolve().is_relative_to(home):
                raise OSError(errno.EXDEV, f"{part or 'it'} is a link to a file outside {within}")
    except OSError as error:
        return Found(name, str(path), 0, partial(_fail, error))
    size = sum(each.st_size for each in status.values())
    return Found(name, str(path), size, partial(_read, path, {part: _mark(each) for part, each in status.items()}))


def _read(path: Path, seen: dict[str, tuple[int, ...]]) -> bytes | None:
    contents = [(part, (path / part).read_bytes()) for part in seen]
    if {part: _mark(each) for part, each in _status(path).items()} != seen:
        return None
    return bundle(contents) if path.is_dir() else contents[0][1]


def _status(path: Path) -> dict[str, os.stat_result]:
    """Return the status of a file, or of every file in a folder by relative path."""
    if not path.is_dir():
        return {"": path.stat()}
    inside = sorted(part for part in path.rglob("*") if part.is_file())
    return {part.relative_to(path).as_posix(): part.stat() for part in inside}


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _fail(error: OSError) -> bytes:
    raise error
