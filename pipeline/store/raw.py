"""Payloads as received, kept by content: what came in can always be decoded again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import zstandard

from pipeline.errors import StoreError
from pipeline.store.checksummed_json import canonical, pack, unpack
from pipeline.store.objects import ObjectStore

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes as a provider sent them. The name is for people: it may be hostile and never becomes a path."""

    name: str
    content: bytes
    digest: str
    """SHA-256 of the content and, if there is any, of the context; 64 lower-case hexadecimal digits."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What a decoder needs to know beside the bytes, such as the request that they answer."""

    @classmethod
    def of(cls, name: str, content: bytes, context: Mapping[str, str] | None = None) -> Self:
        """Return the payload of some content."""
        context = dict(context or {})
        return cls(name, content, digest_of(content, context), context)


class RawStore:
    """Compressed payloads in a place, each named by its own digest: no change stays unnoticed.

    BatchWithHistory the content stands a small file with the name and the context.
    """

    def __init__(self, place: ObjectStore) -> None:
        self.place = place

    def __contains__(self, digest: object) -> bool:
        sound = isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None
        return sound and self.place.exists(_content(str(digest)))

    def digests(self) -> Iterator[str]:
        """Yield the digest of every payload, ascending."""
        for entry in self.place.entries():
            digest = entry.name.rpartition("/")[2].removesuffix(".zst")
            if _DIGEST.fullmatch(digest) and entry.name == _content(digest):
                yield digest

    def put(self, payload: Payload) -> bool:
        """Keep a payload and return True, or return False when it is kept already.

        The files appear whole and are on disk when this returns; torn ones of the same payload are replaced.

        Raises:
            StoreError: the digest is not that of the payload, or the place cannot be written.
        """
        if payload.digest != digest_of(payload.content, payload.context):
            raise StoreError(f"payload digest {payload.digest[:80]!r} is not that of its content")
        if payload.digest in self and self._intact(payload.digest):
            return False
        # The content comes last: where it is, the payload is complete.
        facts = {"name": payload.name.encode(errors="replace").decode(), "context": dict(payload.context)}
        self.place.write(_facts(payload.digest), pack(facts))
        self.place.write(_content(payload.digest), zstandard.ZstdCompressor().compress(payload.content))
        return True

    def get(self, digest: str) -> Payload:
        """Return the payload with this digest, verified.

        Raises:
            StoreError: there is none, or its files are torn or altered.
        """
        if digest not in self:
            raise StoreError(f"{self.place}: no payload {digest[:80]!r}")
        name = _content(digest)
        try:
            # Streaming: a flipped length in the frame header cannot ask for memory the content does not need.
            content = zstandard.ZstdDecompressor().decompressobj().decompress(self.place.read(name))
        except zstandard.ZstdError as error:
            raise StoreError(f"{self.place}/{name}: cannot be read, {error}") from error
        kept = self.place.find(_facts(digest))
        facts: dict[str, Any] | None = {"name": digest, "context": {}}  # from before they were kept
        if kept is not None:
            facts = unpack(kept)
        if facts is None:
            raise StoreError(f"{self.place}/{_facts(digest)}: torn or altered, it has another digest")
        if digest_of(content, facts["context"]) != digest:
            raise StoreError(f"{self.place}/{name}: torn or altered, its content has another digest")
        return Payload(facts["name"], content, digest, facts["context"])

    def _intact(self, digest: str) -> bool:
        try:
            self.get(digest)
        except StoreError:
            return False
        return True


def digest_of(content: bytes, context: Mapping[str, str]) -> str:
    """Return the SHA-256 of a payload: of the content alone, or of the content and the context as canonical JSON."""
    digest = hashlib.sha256(content)
    if context:
        digest.update(b"\0" + canonical(context))
    return digest.hexdigest()


def _content(digest: str) -> str:
    return f"{digest[:2]}/{digest}.zst"


def _facts(digest: str) -> str:
    return f"{digest[:2]}/{digest}.json"
