import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NoDataError, SourceError
from pipeline.ingest.sources import Payload
from pipeline.ingest.sources.http import as_column, as_text, read_document

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def read(content: bytes, media_type: str = "application/json", **arguments: Any) -> Any:
    return read_document(Payload.of("x", content, {"media_type": media_type}), **arguments)


@given(JSON)
def test_a_document_is_read_as_it_was_written(document: Any) -> None:
    assert read(json.dumps(document).encode()) == document


@given(JSON, st.integers(0, 10**6))
def test_a_document_that_was_cut_is_never_read_as_a_list_or_an_object(document: Any, place: int) -> None:
    content = json.dumps({"rows": [document]}).encode()
    with pytest.raises((SourceError, NoDataError)):
        read(content[: place % len(content)])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", ".5", "0x10"])
def test_invalid_numbers_are_refused(number: str) -> None:
    with pytest.raises(SourceError, match="x: not valid JSON"):
        read(f"[{number}]".encode())


@pytest.mark.parametrize("content", [b"", b" \r\n"])
def test_an_empty_payload(content: bytes) -> None:
    with pytest.raises(NoDataError, match="x: the payload is empty"):
        read(content)


@pytest.mark.parametrize("content", [b"\xff\xfe[", b"\xef\xbb\xbf[]", b'["\\ud800"]', b"<html>", b"[1]2", b"{'a':1}"])
def test_invalid_json_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match="x: not valid JSON"):
        read(content)


@pytest.mark.parametrize(("depth", "fine"), [(32, True), (33, False), (1000, False), (100_000, False)])
def test_deep_nesting_is_refused(depth: int, fine: bool) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        content = (opening * depth + ("" if opening == "[" else "1") + closing * depth).encode()
        if fine:
            read(content)
        else:
            with pytest.raises(SourceError, match=r"nested deeper than 32 levels|not valid JSON, depth limit"):
                read(content)


def test_too_many_parts_are_refused_before_they_are_read() -> None:
    with pytest.raises(SourceError, match="more than 500,000 objects and lists; request less at once"):
        read(b"[" + b"[]," * 500_000 + b"[]]")


@pytest.mark.parametrize(
    "media_type", ["", "application/json", "text/json", "application/geo+json", "application/hal+json"]
)
def test_media_types_of_json(media_type: str) -> None:
    assert read(b"[1]", media_type) == [1]


@pytest.mark.parametrize("media_type", ["text/html", "text/plain", "application/xml", "image/png", "json"])
def test_other_media_types_are_refused(media_type: str) -> None:
    with pytest.raises(SourceError, match=f"^x: the response is '{media_type}', not JSON"):
        read(b"[1]", media_type)
    assert read(b"[1]", media_type, media_types=(media_type,)) == [1]


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ([1, None, -3], pa.array([1, None, -3], pa.int64())),
        ([1, 2.5, None], pa.array([1.0, 2.5, None])),
        ([1, 2**64], pa.array([1.0, 2.0**64])),
        ([None, None], pa.array([None, None], pa.string())),
        (["a", 1, 2.5, True, None, [1], {"b": None}], pa.array(["a", "1", "2.5", "true", None, "[1]", '{"b":null}'])),
        ([True, False], pa.array(["true", "false"])),
        ([], pa.array([], pa.string())),
    ],
)
def test_cells_become_a_column_of_numbers_or_of_text(cells: list[Any], column: pa.Array) -> None:
    assert as_column(cells).equals(column)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_a_number_survives_being_text(number: float) -> None:
    assert float(as_text(number)) == number
