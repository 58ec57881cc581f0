"""Payloads as received, kept by content: what came in can always be decoded again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import zstandard

from pipeline.atomic import sync_folder, write_file
from pipeline.errors import StoreError

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes as a provider sent them. The name is for people: it may be hostile and never becomes a path."""

    name: str
    content: bytes
    digest: str
    """SHA-256 of the content, 64 lower-case hexadecimal digits."""

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """Return the payload of some content."""
        return cls(name, content, _sha256(content))


class RawStore:
    """Compressed payloads below a folder, each named by its own digest: no change stays unnoticed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def seen(self) -> Container[str]:
        """The digests held; a look-up is one file system call."""
        return self

    def __contains__(self, digest: object) -> bool:
        sound = isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None
        return sound and self._path(str(digest)).is_file()

    def put(self, payload: Payload) -> bool:
        """Keep a payload and return True, or return False when it is kept already.

        The file appears whole and is on disk when this returns; a torn file of the same payload is replaced.

        Raises:
            StoreError: the digest is not that of the content, or the folder cannot be written.
        """
        if payload.digest != _sha256(payload.content):
            raise StoreError(f"payload digest {payload.digest[:80]!r} is not that of its content")
        if payload.digest in self and self._intact(payload.digest):
            return False
        try:
            write_file(self._path(payload.digest), zstandard.ZstdCompressor().compress(payload.content))
            sync_folder(self.root)  # the shard may be new
        except OSError as error:
            problem = f"cannot keep payload {payload.digest}, {error.strerror}"
            raise StoreError(f"{self.root}: {problem}") from error
        return True

    def get(self, digest: str) -> bytes:
        """Return the content with this digest, verified.

        Raises:
            StoreError: there is none, or its file is torn or altered.
        """
        if digest not in self:
            raise StoreError(f"{self.root}: no payload {digest[:80]!r}")
        path = self._path(digest)
        try:
            # Streaming: a flipped length in the frame header cannot ask for memory the content does not need.
            content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        except (OSError, zstandard.ZstdError) as error:
            raise StoreError(f"{path}: cannot be read, {error}") from error
        if _sha256(content) != digest:
            raise StoreError(f"{path}: torn or altered, its content has another digest")
        return content

    def _intact(self, digest: str) -> bool:
        try:
            self.get(digest)
        except StoreError:
            return False
        return True

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.zst"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
