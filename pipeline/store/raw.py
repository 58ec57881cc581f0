"""Raw payloads, stored as received under their digest, so that they can always be decoded again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import zstandard

from pipeline.errors import StoreError
from pipeline.store import checksummed_json
from pipeline.store.objects import ObjectStore

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes as a provider sent them. The name is for display: it may be hostile and is never used as a path."""

    name: str
    content: bytes
    digest: str
    """SHA-256 of the content and, if there is any, of the context; 64 lower-case hexadecimal digits."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What a decoder needs in addition to the content, such as the request that it answers."""

    @classmethod
    def of(cls, name: str, content: bytes, context: Mapping[str, str] | None = None) -> Self:
        """Return the payload of some content."""
        context = dict(context or {})
        return cls(name, content, hash_payload(content, context), context)


class RawStore:
    """Compressed payloads, each under its own digest, so that every change is noticed.

    A small file next to the content has the name and the context.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def __contains__(self, digest: object) -> bool:
        valid = isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None
        return valid and self.store.exists(_content_name(str(digest)))

    def digests(self) -> Iterator[str]:
        """Yield the digest of every payload, ascending."""
        for file in self.store.list_files():
            digest = file.name.rpartition("/")[2].removesuffix(".zst")
            if _DIGEST.fullmatch(digest) and file.name == _content_name(digest):
                yield digest

    def put(self, payload: Payload) -> bool:
        """Store a payload and return True, or return False if it is already stored.

        The files appear whole and are on disk when this returns; torn files of the same payload are replaced.

        Raises:
            StoreError: the digest does not match the payload, or the store cannot be written.
        """
        if payload.digest != hash_payload(payload.content, payload.context):
            raise StoreError(f"payload digest {payload.digest[:80]!r} does not match its content")
        if payload.digest in self and self._is_intact(payload.digest):
            return False
        # The content is written last: where it exists, the payload is complete.
        facts = {"name": payload.name.encode(errors="replace").decode(), "context": dict(payload.context)}
        self.store.put(_facts_name(payload.digest), checksummed_json.dumps(facts))
        self.store.put(_content_name(payload.digest), zstandard.ZstdCompressor().compress(payload.content))
        return True

    def get(self, digest: str) -> Payload:
        """Return the payload with this digest, verified.

        Raises:
            StoreError: there is no such payload, or its files are torn or altered.
        """
        if digest not in self:
            raise StoreError(f"{self.store}: no payload {digest[:80]!r}")
        name = _content_name(digest)
        try:
            # Streaming: with an altered length in the frame header it does not allocate more than the content needs.
            content = zstandard.ZstdDecompressor().decompressobj().decompress(self.store.read(name))
        except zstandard.ZstdError as error:
            raise StoreError(f"{self.store}/{name}: cannot be decompressed, {error}") from error
        document = self.store.get(_facts_name(digest))
        facts: dict[str, Any] | None = {"name": digest, "context": {}}  # the first version of this store had no facts
        if document is not None:
            facts = checksummed_json.loads(document)
        if facts is None:
            raise StoreError(f"{self.store}/{_facts_name(digest)}: torn or altered, its SHA-256 does not match")
        if hash_payload(content, facts["context"]) != digest:
            raise StoreError(f"{self.store}/{name}: torn or altered, its SHA-256 does not match its name")
        return Payload(facts["name"], content, digest, facts["context"])

    def _is_intact(self, digest: str) -> bool:
        try:
            self.get(digest)
        except StoreError:
            return False
        return True


def hash_payload(content: bytes, context: Mapping[str, str]) -> str:
    """Return the SHA-256 of a payload: of the content alone, or of the content and the context as canonical JSON."""
    digest = hashlib.sha256(content)
    if context:
        digest.update(b"\0" + checksummed_json.to_canonical_json(context))
    return digest.hexdigest()


def _content_name(digest: str) -> str:
    return f"{digest[:2]}/{digest}.zst"


def _facts_name(digest: str) -> str:
    return f"{digest[:2]}/{digest}.json"
