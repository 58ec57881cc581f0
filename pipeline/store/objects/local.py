"""A folder on a local disk as an object store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs

from pipeline.atomic import fsync, write_file, write_temporary
from pipeline.errors import StoreError
from pipeline.store.objects.base import ObjectInfo, ObjectStore

_WRITERS = 8


class LocalStore(ObjectStore):
    """A folder on a local disk. It is created when the first file is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def uri(self) -> str:
        """The path."""
        return str(self.path)

    def __truediv__(self, name: str) -> LocalStore:
        """Return the store of a subfolder."""
        return LocalStore(self.path / name)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist."""
        with self._wrap_errors(name, "read"):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def stat(self, name: str) -> ObjectInfo | None:
        """Return the metadata of a file, or None if it does not exist."""
        with self._wrap_errors(name, "read"):
            try:
                return _info(name, (self.path / name).stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list_files(self, folder: str = "", *, after: str = "") -> list[ObjectInfo]:
        """Return all files below a folder, hidden ones included, sorted by name; with `after`, only later names."""
        with self._wrap_errors(folder, "list"):
            return sorted(self._walk(folder, after), key=lambda file: file.name)

    def list_folders(self) -> list[str]:
        """Return the names of the direct subfolders, sorted."""
        with self._wrap_errors("", "list"):
            try:
                return sorted(item.name for item in os.scandir(self.path) if item.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                return []

    def put(self, name: str, content: bytes) -> None:
        """Write a file atomically, replacing an existing one."""
        with self._wrap_errors(name, "write"):
            self._make_folder(self.path / name)
            write_file(self.path / name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file atomically unless it exists, by hard-linking a flushed temporary file to its name."""
        path = self.path / name
        with self._wrap_errors(name, "write"):
            self._make_folder(path)
            temporary = write_temporary(path, content)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            fsync(path.parent)
        return True

    def put_new_files(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files under unused names. All of them are durable when the call returns, and may not be before."""
        with ThreadPoolExecutor(_WRITERS) as pool:  # many flushes at once take a disk little longer than a few
            folders = set(pool.map(self._put_new_file, files))
        with self._wrap_errors("", "write"):
            for folder in folders:
                fsync(folder)

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        with self._wrap_errors(name, "delete"):
            (self.path / name).unlink(missing_ok=True)

    def fsync(self, name: str) -> None:
        """Flush a file that another library wrote, and its name, to disk."""
        path = self.path / name
        with self._wrap_errors(name, "write"):
            for written in (path, path.parent, self.path, self.path.parent):
                fsync(written)

    def arrow(self) -> pafs.FileSystem:
        """Return an Arrow file system rooted at this folder.

        The Python file system of deltalake aborts the interpreter at exit once threads have read through it.
        """
        return pafs.SubTreeFileSystem(str(self.path), pafs.LocalFileSystem())

    def _put_new_file(self, file: tuple[str, bytes]) -> Path:
        name, content = file
        path = self.path / name
        with self._wrap_errors(name, "write"):
            self._make_folder(path)
            with path.open("xb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
        return path.parent

    def _walk(self, folder: str, after: str) -> Iterator[ObjectInfo]:
        try:
            found = list(os.scandir(self.path / folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for item in found:
            name = f"{folder}/{item.name}" if folder else item.name
            if item.is_dir(follow_symlinks=False):
                yield from self._walk(name, after)
                continue
            if name <= after:
                continue
            try:
                yield _info(name, item.stat())
            except FileNotFoundError:  # another process deleted it
                continue

    def _make_folder(self, path: Path) -> None:
        """Create the folder of a file, and flush the name of every new folder."""
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            fsync(folder.parent)

    @contextmanager
    def _wrap_errors(self, name: str, operation: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = f"{self.path}/{name}" if name else f"{self.path}"
            raise StoreError(f"{path}: cannot {operation}, {error.strerror or error}") from error


def _info(name: str, stat: os.stat_result) -> ObjectInfo:
    tag = f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"
    return ObjectInfo(name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC), tag)
