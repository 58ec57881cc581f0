"""An object store: a folder on a local disk or below an S3 prefix, with the same few guarantees in both.

Files are whole or absent, `create` has one winner, and what was written is durable when the call returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from pipeline.errors import StoreError


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a place, as a listing gives it."""

    name: str
    """Relative to the place, with `/`."""
    size: int
    modified: datetime
    tag: str
    """Differs whenever the file was written again."""


class ObjectStore(ABC):
    """A folder. Names are relative, use `/`, and come from our own code, never from outside.

    Every method raises StoreError, in one line that names the place, when the disk or the service refuses.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """A path or ``s3://bucket/prefix``: what delta-rs opens and people read."""

    @property
    def storage_options(self) -> dict[str, str]:
        """What delta-rs must be told beside the URI."""
        return {}

    @abstractmethod
    def __truediv__(self, name: str) -> ObjectStore:
        """Return the place of a folder within."""

    @abstractmethod
    def find(self, name: str) -> bytes | None:
        """Return the content of a file, or None when there is none."""

    @abstractmethod
    def look(self, name: str) -> Entry | None:
        """Return size and tag of a file, or None when there is none."""

    @abstractmethod
    def entries(self, folder: str = "", *, after: str = "") -> list[Entry]:
        """Return the files below a folder, at any depth and hidden ones too, by name; those after a name cost less."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Return the names of the folders right below, ascending."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, whole; replace what was there."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Put a file in place, whole, unless there is one; return whether it was. Of many at once one wins."""

    @abstractmethod
    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files under names that nobody knows yet. They are durable together, at the end of the call."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; there may be none."""

    @abstractmethod
    def settle(self, name: str) -> None:
        """Force a file, and the name of it, to the disk when another program wrote it."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        content = self.find(name)
        if content is None:
            raise StoreError(f"{self.uri}/{name}: no such file")
        return content

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.look(name) is not None

    def check_writable(self) -> None:
        """Write and remove a small file, so that a read-only target is told before anything is fetched.

        Raises:
            StoreError: the place cannot be written.
        """
        probe = f".probe-{uuid4().hex}"
        try:
            self.write(probe, b"")
            self.remove(probe)
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
