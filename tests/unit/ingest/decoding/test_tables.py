import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from expectations.reasons import Reason, explain
from pipeline.config.sources.files import Csv
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.decoding.tables import read_table
from pipeline.ingest.sources import Payload
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeProduct, files_source

CSV = b"time,A\n2020-01-01,1\n"


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def csv(content: bytes) -> tuple[pa.Table, list[tuple[str, Reason]]]:
    return read_table(Payload.of("x.csv", content), "csv")


def test_csv_cells_are_text_as_given_and_padded_names_are_stripped() -> None:
    table, ragged = csv(b'\xef\xbb\xbftime, tmpc ,"a, b"\n2020-01-01, M,007\n')
    assert table.to_pydict() == {"time": ["2020-01-01"], "tmpc": [" M"], "a, b": ["007"]}
    assert ragged == []


def test_a_csv_file_of_a_header_alone_has_no_rows() -> None:
    assert csv(b"time,A\n")[0].num_rows == 0


def test_ragged_csv_lines_are_kept_aside_with_their_number() -> None:
    table, ragged = csv(b"time,A\nt1,1\nt2,2,3\nt3\nt4,4\n")
    assert table.column("A").to_pylist() == ["1", "4"]
    assert [(line, explain([reason])) for line, reason in ragged] == [
        ("t2,2,3", "line 3 has 3 columns, not 2"),
        ("t3", "line 4 has 1 columns, not 2"),
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_payload_is_no_data(form: str, content: bytes) -> None:
    with pytest.raises(NoDataError, match=r"^x: the payload is empty$"):
        read_table(Payload.of("x", content), form, compression="gzip" if content else "none")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"time,A\n1,\xff\xfe\n", b"\xff\xfe,A\n1,2\n", b"\x00\x01\x02", b"a,b\n1,\x00\n"])
def test_what_is_no_csv_names_the_file(content: bytes) -> None:
    with pytest.raises(SourceError, match=r"^x\.csv: not readable as csv, "):
        csv(content)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_two_columns_of_one_name_are_refused(form: str) -> None:
    table = pa.table([[1], [2], [3]], names=["time", "A", " A"])
    content = parquet(table) if form == "parquet" else b"time,A, A\nt,1,2\n"
    with pytest.raises(ContractError, match=r"^x: two columns are called 'A'$"):
        read_table(Payload.of("x", content), form)  # type: ignore[arg-type]


def test_every_cut_of_a_parquet_file_names_the_file() -> None:
    content = parquet(pa.table({"time": ["a", "b"], "A": [1.0, 2.0]}))
    for end in range(1, len(content), 7):
        with pytest.raises(SourceError, match=r"^x: not readable as parquet, "):
            read_table(Payload.of("x", content[:end]), "parquet")


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"<html><body>sorry</body></html>", "an HTML page"),
        (b"\n <!DOCTYPE html>\n<head><TITLE>\n503 Busy </title></head>", "an HTML page, titled '503 Busy'"),
        (gzip.compress(CSV, mtime=0), "compressed with gzip; set compression"),
        (bz2.compress(CSV), "compressed with bz2; set compression"),
        (lzma.compress(CSV), "compressed with xz; set compression"),
        (zstandard.ZstdCompressor().compress(CSV), "compressed with zstd; set compression"),
        (b"PK\x03\x04...", "a zip archive; unpack it"),
    ],
)
def test_content_of_another_format_is_reported(form: str, content: bytes, shown: str) -> None:
    # An error page with a good status, and a file whose product file says another thing of it
    with pytest.raises(SourceError) as caught:
        read_table(Payload.of("x", content), form)  # type: ignore[arg-type]
    assert str(caught.value) == f"x: not readable as {form}, it is {shown}"


def test_parquet_is_no_csv() -> None:
    with pytest.raises(SourceError, match="not readable as csv, it is Parquet; correct format"):
        csv(parquet(pa.table({"time": [1]})))


@pytest.mark.parametrize(
    ("kind", "compress"),
    [
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_tables_are_read(kind: str, compress: Callable[[bytes], bytes]) -> None:
    payload = Payload.of("x", compress(b"time;A\n2020-01-01;1\n"))
    table, _ = read_table(payload, "csv", csv=Csv(delimiter=";"), compression=kind)  # type: ignore[arg-type]
    assert table.to_pydict() == {"time": ["2020-01-01"], "A": ["1"]}
    frame = parquet(pa.table({"A": [1]}))
    assert read_table(Payload.of("x", compress(frame)), "parquet", compression=kind)[0].num_rows == 1  # type: ignore[arg-type]


def test_a_parquet_bomb_is_refused_before_it_is_read() -> None:
    # Run lengths hold any number of equal cells in a few hundred bytes
    content = parquet(pa.table({"A": pa.array([0.0]).take(pa.array([0] * 1000))}))
    assert len(content) < 1000
    with pytest.raises(SourceError, match=r"^x: 1000 rows of 1 columns are more than max_bytes, 7999, once decoded$"):
        read_table(Payload.of("x", content), "parquet", max_bytes=7999)
    assert read_table(Payload.of("x", content), "parquet", max_bytes=8200)[0].num_rows == 1000


LONG = pa.array(["x" * 10_000])
SAME = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), LONG).cast(pa.string())
HELD = {
    "text": SAME,
    "binary": SAME.cast(pa.binary()),
    "dictionary": SAME.dictionary_encode(),
    "struct": pa.StructArray.from_arrays([SAME], names=["a"]),
    "list": pa.ListArray.from_arrays(pa.array(range(0, 1001, 100), pa.int32()), SAME),
    "fixed width": SAME.cast(pa.binary()).cast(pa.binary(10_000)),
}


@pytest.mark.parametrize("kind", HELD)
def test_one_long_text_in_many_cells_is_counted_in_each(kind: str) -> None:
    # 10 kB a thousand times, held once by the file
    table = pa.table({"A": HELD[kind]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=True)
    content = sink.getvalue().to_pybytes()
    assert len(content) < 50_000
    with pytest.raises(SourceError, match=r"^x: .* are more than max_bytes, 9999999, once decoded$"):
        read_table(Payload.of("x", content), "parquet", max_bytes=9_999_999)
    read = read_table(Payload.of("x", content), "parquet", max_bytes=10_100_000)[0]
    assert read.column("A").to_pylist() == table.column("A").to_pylist()


def test_texts_that_repeat_the_one_before_are_decoded_a_few_at_a_time() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"A": SAME}), sink, use_dictionary=False, column_encoding={"A": "DELTA_BYTE_ARRAY"})
    content = sink.getvalue().to_pybytes()
    assert len(content) < 50_000
    before = pa.total_allocated_bytes()
    with pytest.raises(SourceError, match=r"^x: its cells are more than max_bytes, 1000000, once decoded$"):
        read_table(Payload.of("x", content), "parquet", max_bytes=1_000_000)
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert read_table(Payload.of("x", content), "parquet")[0].num_rows == 1000


def test_columns_of_every_nesting_become_plain() -> None:
    texts = pa.array(["a", None, "a", "b"])
    parts = pa.array([0, 1, 1, 3, 4], pa.int32())
    table = pa.table(
        {
            "map": pa.MapArray.from_arrays(parts, pa.array(["k", "l", "m", "n"]), texts),
            "list": pa.ListArray.from_arrays(parts, texts),
            "large": pa.LargeListArray.from_arrays(parts.cast(pa.int64()), texts),
            "struct": pa.StructArray.from_arrays([texts], names=["a"]),
            "none": pa.array([None] * 4, pa.string()),
        }
    )
    assert read_table(Payload.of("x", parquet(table)), "parquet")[0].to_pydict() == table.to_pydict()
    empty = read_table(Payload.of("x", parquet(table.slice(0, 0))), "parquet")[0]
    assert (empty.num_rows, empty.column_names) == (0, table.column_names)


TYPED = [
    pa.array([1.5, None]),
    pa.array([1.5, None], pa.float32()),
    pa.array([Decimal("1.50"), None]),
    pa.array(["1.5", None], pa.large_string()),
    pa.array(["1.5", None], pa.string_view()),
    pa.array(["1.5", None]).dictionary_encode(),
    pa.array([1.5, None]).dictionary_encode(),
]


@pytest.mark.parametrize("values", TYPED, ids=lambda values: str(values.type))
def test_typed_columns_of_parquet_are_read(make_product: MakeProduct, locations: Locations, values: pa.Array) -> None:
    product = make_product(format="parquet", layout="long")
    instant = datetime(2020, 1, 1, tzinfo=UTC)
    for times in (
        pa.array([instant, instant]),
        pa.array([instant, instant], pa.timestamp("ms", tz="Asia/Tokyo")),
        pa.array([date(2020, 1, 1)] * 2),
        pa.array([date(2020, 1, 1)] * 2, pa.date64()),
        pa.array(["2020-01-01"] * 2, pa.large_string()).dictionary_encode(),
    ):
        content = parquet(pa.table({"time": times, "location": ["A", "B"], "wind_speed": values}))
        table, _ = read_table(Payload.of("x", content), "parquet")
        decoded = decode_table(table, product.feed, files_source(product.feed), locations)
        assert decoded.rows.to_pylist() == [{"valid_time": instant, "location": "A", "wind_speed": 1.5}]
        assert decoded.refused.num_rows == 0


def test_refused_parquet_cells_are_kept_as_strict_json(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(format="parquet", layout="long")
    table = pa.table(
        {
            "time": [datetime(2020, 1, 1, tzinfo=UTC)] * 3,
            "location": ["A", "B", "C"],
            "wind_speed": [float("inf"), float("nan"), -9999.0],
            "extra": [{"a": 1}] * 3,
        }
    )
    decoded = decode_table(
        read_table(Payload.of("x", parquet(table)), "parquet")[0],
        product.feed,
        files_source(product.feed).model_copy(update={"missing": ("-9999",)}),
        locations,
    )
    assert decoded.rows.num_rows == 0
    (refused,) = decoded.refused.to_pylist()
    assert refused["reason"] == "wind_speed: 'inf' is not a number"
    assert json.loads(refused["values"])["wind_speed"] == "inf"
