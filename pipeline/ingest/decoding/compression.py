"""Decompression of payloads, in pieces so that a decompression bomb is refused before it fills the memory."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from io import BytesIO
from typing import Literal

import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.ingest.sources.base import Payload

Compression = Literal["none", "gzip", "bz2", "xz", "zstd"]

_PIECE = 2**20
_XZ_MEMORY = 2**27  # what `xz -9` needs, twice; a header can ask for gigabytes


def decompress(payload: Payload, kind: Compression, max_bytes: int) -> bytes:
    """Return the decompressed content of a payload; several members are joined.

    Memory stays near `max_bytes`, however large the content is.

    Raises:
        SourceError: it is larger than `max_bytes` before or after, truncated, or not compressed in this way.
    """
    if len(payload.content) > max_bytes:
        raise SourceError(f"{payload.name}: {len(payload.content)} bytes, more than max_bytes, {max_bytes}")
    if kind == "none":
        return payload.content
    whole = bytearray()
    try:
        for piece in _xz(payload.content) if kind == "xz" else _by_arrow(payload.content, kind):
            whole += piece
            if len(whole) > max_bytes:
                raise SourceError(f"{payload.name}: more than max_bytes, {max_bytes}, once decompressed")
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise SourceError(f"{payload.name}: not readable as {kind}, {error}") from error
    return bytes(whole)


def _by_arrow(content: bytes, kind: Compression) -> Iterator[bytes]:
    # Unlike Python's zstandard, Arrow notices a stream that ends early.
    with pa.CompressedInputStream(pa.BufferReader(content), kind) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _xz(content: bytes) -> Iterator[bytes]:
    source = BytesIO(content)
    given = source.read(_PIECE)
    while given:
        stream = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        while not stream.eof:
            yield stream.decompress(given, _PIECE)
            given = b""
            if stream.needs_input and not stream.eof:
                given = source.read(_PIECE)
                if not given:
                    raise EOFError("truncated compressed stream")
        given = stream.unused_data or source.read(_PIECE)
