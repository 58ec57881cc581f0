import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.ingest.decoding.compression import decompress
from pipeline.ingest.sources import Payload


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}
KINDS = sorted(COMPRESS)


def undo(content: bytes, kind: str, max_bytes: int = 2**24) -> bytes:
    return decompress(Payload.of("x", content), kind, max_bytes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(content=st.binary(max_size=500), repeats=st.sampled_from([1, 10_000]))
def test_any_content_comes_back(kind: str, content: bytes, repeats: int) -> None:
    content *= repeats
    assert undo(COMPRESS[kind](content), kind) == content


@pytest.mark.parametrize("kind", KINDS)
def test_several_members_are_joined(kind: str) -> None:
    assert undo(COMPRESS[kind](b"one,") + COMPRESS[kind](b"two"), kind) == b"one,two"


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_noticed(kind: str) -> None:
    whole = COMPRESS[kind](bytes(range(256)) * 4)
    for end in range(1, len(whole), 9):
        with pytest.raises(SourceError, match=f"^x: not readable as {kind}, "):
            undo(whole[:end], kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_compressed_otherwise_is_named(kind: str) -> None:
    with pytest.raises(SourceError, match=f"^x: not readable as {kind}, "):
        undo(b"time,A\n2020-01-01,1\n", kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_in_bounded_memory(kind: str) -> None:
    # 64 MiB of zeros
    bomb = COMPRESS[kind](bytes(2**26))
    assert len(bomb) < 2**17
    tracemalloc.start()
    with pytest.raises(SourceError, match=r"^x: more than max_bytes, 4000000, once decompressed$"):
        undo(bomb, kind, 4_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_a_header_that_asks_for_much_memory_is_refused() -> None:
    # Bytes 1 to 4 of the older format name the size of the dictionary: here 1 GiB.
    small = lzma.compress(b"time,A\n", format=lzma.FORMAT_ALONE)
    assert undo(small, "xz") == b"time,A\n"
    with pytest.raises(SourceError, match=r"^x: not readable as xz, Memory usage limit exceeded"):
        undo(small[:1] + (2**30).to_bytes(4, "little") + small[5:], "xz")


def test_a_payload_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert undo(b"1234", "none", 4) == b"1234"
    assert undo(gzip.compress(b"1234" * 10), "gzip", 40) == b"1234" * 10
    with pytest.raises(SourceError, match=r"^x: 5 bytes, more than max_bytes, 4$"):
        undo(b"12345", "none", 4)
    with pytest.raises(SourceError, match="once decompressed"):
        undo(gzip.compress(b"1" * 41), "gzip", 40)
