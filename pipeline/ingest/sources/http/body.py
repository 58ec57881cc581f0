"""Reading response bodies within a size limit, before and after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from pipeline.errors import SourceError

_STEP = 2**16
_GZIP = 16 + zlib.MAX_WBITS


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Return the complete body; memory use stays within `max_bytes` and one step.

    Raises:
        SourceError: the body exceeds `max_bytes`, as sent or decompressed, or its compression is corrupt or unknown.
    """
    capped = _capped(chunks, max_bytes, "")
    if encoding in ("gzip", "x-gzip"):
        return b"".join(_capped(_gunzip(capped), max_bytes, " when decompressed"))
    if encoding not in ("", "identity"):
        raise SourceError(f"the response is compressed with {encoding[:20]!r}, which was not requested")
    return b"".join(capped)


def _capped(chunks: Iterable[bytes], max_bytes: int, how: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise SourceError(f"the response is larger than {max_bytes:,} bytes{how} (feed.source.max_bytes)")
        yield chunk


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip stream of one or more members in small steps."""
    member = zlib.decompressobj(_GZIP)
    inside = False
    for chunk in chunks:
        rest = chunk
        while rest:
            yield _inflate(member, rest)
            rest, inside = member.unconsumed_tail, True
            if member.eof:
                rest, member, inside = member.unused_data, zlib.decompressobj(_GZIP), False
    while inside and (plain := _inflate(member, b"")):  # the rest of the last step
        yield plain
    if inside and not member.eof:
        raise SourceError("the response ends in the middle of its gzip stream")


def _inflate(member: zlib._Decompress, compressed: bytes) -> bytes:
    try:
        return member.decompress(compressed, _STEP)
    except zlib.error as error:
        raise SourceError(f"the response is not valid gzip, {error}") from error
