import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.sources import Payload
from pipeline.sources.tables import read_table


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def csv(content: bytes) -> tuple[pa.Table, list[tuple[str, str]]]:
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
    assert ragged == [("t2,2,3", "line 3 has 3 columns, not 2"), ("t3", "line 4 has 1 columns, not 2")]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_empty_payload_is_no_data(form: str) -> None:
    with pytest.raises(NoDataError, match="x: the payload is empty"):
        read_table(Payload.of("x", b""), form)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"time,A\n1,\xff\xfe\n", b"\xff\xfe,A\n1,2\n", b"\n\n"])
def test_what_is_no_csv_names_the_file(content: bytes) -> None:
    with pytest.raises(SourceError, match=r"^x\.csv: not readable as csv, "):
        csv(content)


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ContractError, match=r"x\.csv: two columns are called 'A'"):
        csv(b"time,A, A\nt,1,2\n")


def test_every_cut_of_a_parquet_file_names_the_file() -> None:
    content = parquet(pa.table({"time": ["a", "b"], "A": [1.0, 2.0]}))
    for end in range(1, len(content), 7):
        with pytest.raises(SourceError, match=r"^x: not readable as parquet, "):
            read_table(Payload.of("x", content[:end]), "parquet")


def test_html_with_a_good_status_is_no_parquet() -> None:
    with pytest.raises(SourceError, match="not readable as parquet"):
        read_table(Payload.of("x", b"<html>sorry</html>"), "parquet")
