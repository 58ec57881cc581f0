"""Reading the body of an answer within bounds: what comes over the wire, and what it decompresses to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from pipeline.errors import SourceError

_STEP = 2**16
_GZIP = 16 + zlib.MAX_WBITS


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Return a body in full; never more than `max_bytes` and one step of it are held.

    Raises:
        SourceError: it is larger than `max_bytes`, as sent or decompressed, or its compression is broken or unknown.
    """
    capped = _capped(chunks, max_bytes, "")
    if encoding in ("gzip", "x-gzip"):
        return b"".join(_capped(_gunzip(capped), max_bytes, " when decompressed"))
    if encoding not in ("", "identity"):
        raise SourceError(f"the answer is compressed with {encoding[:20]!r}, which was not asked for")
    return b"".join(capped)


def _capped(chunks: Iterable[bytes], max_bytes: int, how: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise SourceError(f"the answer is larger than {max_bytes:,} bytes{how} (feed.source.max_bytes)")
        yield chunk


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a gzip stream of one or more members holds, in small steps."""
    member = zlib.decompressobj(_GZIP)
    inside = False
    for chunk in chunks:
        rest = chunk
        while rest:
            yield _inflate(member, rest)
            rest, inside = member.unconsumed_tail, True
            if member.eof:
                rest, member, inside = member.unused_data, zlib.decompressobj(_GZIP), False
    while inside and (plain := _inflate(member, b"")):  # what the last step left behind
        yield plain
    if inside and not member.eof:
        raise SourceError("the answer ends in the middle of its gzip stream")


def _inflate(member: zlib._Decompress, compressed: bytes) -> bytes:
    try:
        return member.decompress(compressed, _STEP)
    except zlib.error as error:
        raise SourceError(f"the answer is not readable as gzip, {error}") from error
