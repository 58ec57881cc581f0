"""A folder on a local disk as an object store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs

from pipeline.atomic import sync_folder, write_file
from pipeline.errors import StoreError
from pipeline.store.objects.base import Entry, ObjectStore

_WRITERS = 8


class LocalStore(ObjectStore):
    """A folder on a disk of this machine. It is made when the first file is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def uri(self) -> str:
        """The path."""
        return str(self.path)

    def __truediv__(self, name: str) -> LocalStore:
        """Return the place of a folder within."""
        return LocalStore(self.path / name)

    def find(self, name: str) -> bytes | None:
        """Return the content of a file, or None when there is none."""
        with self._told(name, "read"):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def look(self, name: str) -> Entry | None:
        """Return size and tag of a file, or None when there is none."""
        with self._told(name, "read"):
            try:
                return _entry(name, (self.path / name).stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def entries(self, folder: str = "", *, after: str = "") -> list[Entry]:
        """Return the files below a folder, at any depth and hidden ones too, by name; those after a name cost less."""
        with self._told(folder, "list"):
            return sorted(self._walk(folder, after), key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """Return the names of the folders right below, ascending."""
        with self._told("", "list"):
            try:
                return sorted(one.name for one in os.scandir(self.path) if one.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                return []

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, whole; replace what was there."""
        with self._told(name, "write"):
            self._folder(self.path / name)
            write_file(self.path / name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Put a file in place, whole, unless there is one: a flushed file is given its name by a hard link."""
        path = self.path / name
        with self._told(name, "write"):
            self._folder(path)
            descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(fresh).chmod(0o644)
                os.link(fresh, path)
            except FileExistsError:
                return False
            finally:
                Path(fresh).unlink(missing_ok=True)
            sync_folder(path.parent)
        return True

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files under names that nobody knows yet. They are durable together, at the end of the call."""
        with ThreadPoolExecutor(_WRITERS) as pool:  # a disk flushes many files at once for the time of a few
            folders = set(pool.map(self._add_one, files))
        with self._told("", "write"):
            for folder in folders:
                sync_folder(folder)

    def remove(self, name: str) -> None:
        """Remove a file; there may be none."""
        with self._told(name, "remove"):
            (self.path / name).unlink(missing_ok=True)

    def settle(self, name: str) -> None:
        """Force a file, and the name of it, to the disk when another program wrote it."""
        path = self.path / name
        with self._told(name, "write"):
            for touched in (path, path.parent, self.path, self.path.parent):
                sync_folder(touched)

    def arrow(self) -> pafs.FileSystem:
        """Return Arrow's own file system, rooted here.

        deltalake's Python one aborts the interpreter at exit when threads have read by it.
        """
        return pafs.SubTreeFileSystem(str(self.path), pafs.LocalFileSystem())

    def _add_one(self, named: tuple[str, bytes]) -> Path:
        name, content = named
        path = self.path / name
        with self._told(name, "write"):
            self._folder(path)
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        return path.parent

    def _walk(self, folder: str, after: str) -> Iterator[Entry]:
        try:
            found = list(os.scandir(self.path / folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for one in found:
            name = f"{folder}/{one.name}" if folder else one.name
            if one.is_dir(follow_symlinks=False):
                yield from self._walk(name, after)
                continue
            if name <= after:
                continue
            try:
                yield _entry(name, one.stat())
            except FileNotFoundError:  # another process was done with it
                continue

    def _folder(self, path: Path) -> None:
        """Make the folder of a file, and flush the name of every folder that is new."""
        missing = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)

    @contextmanager
    def _told(self, name: str, deed: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self.path}/{name}" if name else f"{self.path}"
            raise StoreError(f"{where}: cannot {deed}, {error.strerror or error}") from error


def _entry(name: str, facts: os.stat_result) -> Entry:
    tag = f"{facts.st_ino}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"
    return Entry(name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), tag)
