"""The object store interface: a folder on a local disk or an S3 prefix, with the same guarantees for both.

Files are whole or absent, `create` has exactly one winner, and written data is durable when the call returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from pipeline.errors import StoreError


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Metadata of one file in a store."""

    name: str
    """Path relative to the store, separated by `/`."""
    size: int
    modified: datetime
    tag: str
    """A value that changes whenever the file is written."""


class ObjectStore(ABC):
    """A folder of files. Names are relative, use `/`, and are chosen by this package, never by users or providers.

    Every method raises StoreError, with a one-line message that names the store, when the disk or service fails.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """A path or ``s3://bucket/prefix``, as delta-rs opens it."""

    @property
    def storage_options(self) -> dict[str, str]:
        """Options that delta-rs needs in addition to the URI."""
        return {}

    @abstractmethod
    def __truediv__(self, name: str) -> ObjectStore:
        """Return the store of a subfolder."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist."""

    @abstractmethod
    def stat(self, name: str) -> ObjectInfo | None:
        """Return the metadata of a file, or None if it does not exist."""

    @abstractmethod
    def list_files(self, folder: str = "", *, after: str = "") -> list[ObjectInfo]:
        """Return all files below a folder, hidden ones included, sorted by name; with `after`, only later names."""

    @abstractmethod
    def list_folders(self) -> list[str]:
        """Return the names of the direct subfolders, sorted."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Write a file atomically, replacing an existing one."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a file atomically unless it exists; return whether it was written. One of several writers wins."""

    @abstractmethod
    def put_new_files(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files under unused names. All of them are durable when the call returns, and may not be before."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file if it exists."""

    @abstractmethod
    def fsync(self, name: str) -> None:
        """Flush a file that another library wrote, and its name, to disk."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            StoreError: the file does not exist or cannot be read.
        """
        content = self.get(name)
        if content is None:
            raise StoreError(f"{self.uri}/{name}: no such file")
        return content

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return self.stat(name) is not None

    def check_writable(self) -> None:
        """Write and delete a small file, so that a read-only store is reported before anything is fetched.

        Raises:
            StoreError: the store is not writable.
        """
        probe = f".probe-{uuid4().hex}"
        try:
            self.put(probe, b"")
            self.delete(probe)
        except StoreError as error:
            reason = str(error).removeprefix(f"{self.uri}/{probe}: ")
            raise StoreError(f"{self.uri}: is not writable ({reason})") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"
