import gzip
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.ingest.sources.http.body import read_body


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[a:b] for a, b in pairwise(edges)]


@given(st.binary(max_size=3000), st.lists(st.integers(0, 10**6), max_size=5))
def test_a_body_does_not_depend_on_its_chunks(content: bytes, places: list[int]) -> None:
    assert read_body(cut(content, places), "", 3000) == content
    assert read_body(cut(gzip.compress(content), places), "gzip", 10_000) == content


@given(st.lists(st.binary(max_size=200), max_size=4), st.lists(st.integers(0, 10**6), max_size=5))
def test_gzip_members_follow_each_other(parts: list[bytes], places: list[int]) -> None:
    stream = b"".join(map(gzip.compress, parts))
    assert read_body(cut(stream, places), "gzip", 10_000) == b"".join(parts)


@given(st.binary(min_size=1, max_size=500), st.integers(0, 10**6))
def test_a_truncated_gzip_stream(content: bytes, place: int) -> None:
    stream = gzip.compress(content)
    length = 1 + place % (len(stream) - 1)
    with pytest.raises(SourceError, match="gzip"):
        read_body([stream[:length]], "gzip", 10_000)


@given(st.integers(1, 200_000), st.integers(1, 100_000))
def test_the_size_limit(size: int, limit: int) -> None:
    content = bytes(size)
    for body, encoding in (([content], ""), ([gzip.compress(content)], "gzip")):
        sent = sum(map(len, body))
        if max(size, sent) <= limit:
            assert read_body(body, encoding, limit) == content
        else:
            with pytest.raises(SourceError, match=f"larger than {limit:,} bytes"):
                read_body(body, encoding, limit)


def test_decompression_stops_at_the_limit() -> None:
    reached = []

    def chunks() -> Iterator[bytes]:
        stream = gzip.compress(bytes(50 << 20))
        for start in range(0, len(stream), 1000):
            reached.append(start)
            yield stream[start : start + 1000]

    with pytest.raises(SourceError, match="larger than 1,000,000 bytes when decompressed"):
        read_body(chunks(), "gzip", 1_000_000)
    assert reached == [0]  # 1000 bytes of it hold more than enough


def test_output_held_back_by_the_last_step_is_not_lost() -> None:
    content = bytes(200_000)  # some 200 bytes compressed, three steps of output from one chunk
    assert read_body([gzip.compress(content)], "x-gzip", 10**6) == content


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_unrequested_compression_is_refused(encoding: str) -> None:
    with pytest.raises(SourceError, match="which was not requested"):
        read_body([b"x"], encoding, 10)


def test_invalid_gzip() -> None:
    with pytest.raises(SourceError, match="not valid gzip"):
        read_body([b"<html>"], "gzip", 1000)
    with pytest.raises(SourceError, match="not valid gzip"):
        read_body([gzip.compress(b"x") + b"rest"], "gzip", 1000)
