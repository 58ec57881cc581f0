"""What the `files` source finds: files by path or pattern, each with what it takes to read it."""

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
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first day of zip: one content, one payload


@dataclass(frozen=True, slots=True)
class Found:
    """A file that matches."""

    name: str
    """What people call it: as the product file spells its folder."""
    where: str
    """All of its path or address."""
    size: int
    read: Callable[[], bytes | None]
    """Returns the content, or None when the file changed since it was listed: it is still being written.

    Raises OSError or StoreError.
    """


def local_files(spec: FilesSource, folder: Path) -> list[Found]:
    """Return the files on disk, sorted by name; hidden and unfinished ones are left out.

    A Zarr folder counts as one file. One that a link brings in from outside the folder where the pattern starts is not
    read: its `read` says so.

    Raises:
        SourceError: there is none.
    """
    whole = resolve(spec.path, folder, extra=spec.extra)
    if _counts(whole, spec):
        return [_look(spec.path, whole, whole)]
    parts = PurePath(spec.path).parts
    plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    found: list[Found] = []
    if plain < len(parts):  # only the part with wildcards is a pattern; a folder may have brackets in its name
        head, tail = PurePath(*parts[:plain]), str(PurePath(*parts[plain:]))
        root = resolve(str(head), folder, extra=spec.extra)
        names = sorted(glob.glob(tail, root_dir=root, recursive=True))  # noqa: PTH207 - leaves hidden files out
        found = [
            _look(str(head / name), root / name, root)
            for name in names
            if finished(name) and _counts(root / name, spec)
        ]
    if not found:
        raise SourceError(f"{whole.absolute()}: no file matches; correct feed.source.path")
    return found


def finished(name: str) -> bool:
    """Return whether a name is not one that programs give to files they are still writing."""
    return not name.endswith(_UNFINISHED)


def bundle(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return files as one zip archive, the same for the same names and contents."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content)
    return whole.getvalue()


def _counts(path: Path, spec: FilesSource) -> bool:
    """Whether a path is a file, or a folder that is a Zarr group."""
    try:
        return path.is_file() or (spec.format == "zarr" and any((path / root).is_file() for root in ZARR_ROOTS))
    except PermissionError:
        return True  # that it cannot be read is told when it is


def _look(name: str, path: Path, within: Path) -> Found:
    try:
        seen = _state(path)
        home = within.resolve()
        for part in seen:
            if not (path / part).resolve().is_relative_to(home):
                raise OSError(errno.EXDEV, f"{part or 'it'} is a link to a file outside {within}")
    except OSError as error:
        return Found(name, str(path), 0, partial(_fail, error))
    size = sum(facts.st_size for facts in seen.values())
    return Found(name, str(path), size, partial(_read, path, {part: _mark(facts) for part, facts in seen.items()}))


def _read(path: Path, seen: dict[str, tuple[int, ...]]) -> bytes | None:
    contents = [(part, (path / part).read_bytes()) for part in seen]
    if {part: _mark(facts) for part, facts in _state(path).items()} != seen:
        return None
    return bundle(contents) if path.is_dir() else contents[0][1]


def _state(path: Path) -> dict[str, os.stat_result]:
    """Return what the disk says of a file, or of every file in a folder by its name there."""
    if not path.is_dir():
        return {"": path.stat()}
    inside = sorted(part for part in path.rglob("*") if part.is_file())
    return {part.relative_to(path).as_posix(): part.stat() for part in inside}


def _mark(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _fail(error: OSError) -> bytes:
    raise error
