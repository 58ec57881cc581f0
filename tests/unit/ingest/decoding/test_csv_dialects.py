import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.reasons import Reason
from pipeline.config.sources.files import Csv
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.csv_dialects import Ragged, read_csv


def ragged_line(number: int, columns: int) -> Reason:
    return Reason("ragged_line", value=number, measure=columns, expected="2")


def read(content: str | bytes, **dialect: Any) -> tuple[dict[str, list[str]], Ragged]:
    table, ragged = read_csv(content.encode() if isinstance(content, str) else content, Csv(**dialect))
    return table.to_pydict(), ragged


TABLE = {"time": ["t1", "t2"], "A": ["1", "2"]}


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        ("time,A\nt1,1\nt2,2\n", {}),
        ("time,A\nt1,1\nt2,2", {}),
        ("time,A\r\nt1,1\r\nt2,2\r\n", {}),
        ("time,A\rt1,1\rt2,2\r", {}),
        ("time\tA\nt1\t1\nt2\t2\n", {"delimiter": "\t"}),
        ("'time';'A'\n't1';'1'\nt2;2\n", {"delimiter": ";", "quote": "'"}),
        ("\n\ntime,A\n\nt1,1\n\n\nt2,2\n\n", {}),
        ("# station list\ntime,A\nt1,1\n#t9,9\nt2,2\n#", {"comment": "#"}),
        ("//a\r\n//b\r\ntime,A\r\n//c,d\r\nt1,1\r\nt2,2\r\n", {"comment": "//"}),
        ("Export of 3 May\n\n\ntime,A\nt1,1\nt2,2\n", {"skip": 1}),
        ("a,b,c\n# x\ntime,A\nt1,1\nt2,2\n", {"skip": 1, "comment": "#"}),
        (" time ,  A\nt1,1\nt2,2\n", {}),
        ("time,A,\nt1,1,\nt2,2,\n", {}),
        ("time,A\nt1,1,\nt2,2,\n", {}),
        ("time,A,\nt1,1\nt2,2\n", {}),
        ("time,A, \nt1,1, \nt2,2, \n", {}),
        (b"\xef\xbb\xbftime,A\nt1,1\nt2,2\n", {}),
        ("time,A\nt1,1\nt2,2\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("\ufefftime,A\nt1,1\nt2,2\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("time,A\nt1,1\nt2,2\n", {"encoding": "UTF_8"}),
    ],
)
def test_one_table_in_many_dialects(content: str | bytes, dialect: dict[str, Any]) -> None:
    assert read(content, **dialect) == (TABLE, [])


def test_cells_stay_as_they_are() -> None:
    cells, _ = read('time,"a, b"\n t1 ,"say ""no"""\nNA,007\n')
    assert cells == {"time": [" t1 ", "NA"], "a, b": ['say "no"', "007"]}
    assert read('time,A\n"t1,5"" N\n', quote="") == ({"time": ['"t1'], "A": ['5"" N']}, [])


def test_a_cell_may_go_on_over_lines_and_across_blocks() -> None:
    rows = [(f"t{number}", f"cloudy,\nthen rain {number}") for number in range(60_000)]
    cells, ragged = read("time,note\n" + "".join(f'{time},"{note}"\n' for time, note in rows))
    assert (cells["note"], ragged) == ([note for _, note in rows], [])


def test_a_quote_that_is_not_closed_takes_no_rows_along() -> None:
    with pytest.raises(SourceError, match=r'^not readable as csv, a quote " is not closed; correct csv\.quote$'):
        read('time,A\nt1,"1\nt2,2\n')
    assert read('time,A\nt1,5"\nt2,"2')[0] == {"time": ["t1", "t2"], "A": ['5"', "2"]}
    assert read('time,A\nt1,5" 6\nt2,2\n')[0]["A"] == ['5" 6', "2"]


def test_latin_1_is_read_where_it_is_named_and_told_where_not() -> None:
    content = "time,Zürich [°C]\nt1,1\n".encode("latin-1")
    assert read(content, encoding="latin-1")[0] == {"time": ["t1"], "Zürich [°C]": ["1"]}
    with pytest.raises(
        SourceError, match=r"^not readable as csv, 'utf-8' codec can't decode .*; correct csv\.encoding$"
    ):
        read(content)
    with pytest.raises(SourceError, match=r"^not readable as csv, .*invalid UTF8 data"):
        read(b"time,A\nt1,1\nt1,\xb0\n")


def test_lines_that_do_not_fit_are_kept_aside_with_their_place_in_the_file() -> None:
    cells, ragged = read("title\n# note\ntime,A\n\nt1,1\nt8\n\n# note\nt2,2\nt9,9,9\n", skip=1, comment="#")
    assert cells == TABLE
    assert ragged == [("t8", ragged_line(6, 1)), ("t9,9,9", ragged_line(10, 3))]
    assert read("time,A\r\nt1,1\r\n\r\nt8\r\nt2,2\r\n") == (TABLE, [("t8", ragged_line(4, 1))])


def test_a_nameless_column_with_cells_stays() -> None:
    assert read(",time\n1,t1\n")[0] == {"": ["1"], "time": ["t1"]}


@pytest.mark.parametrize(
    ("content", "dialect"), [("\n\r\n", {}), ("# a\n", {"comment": "#"}), ("a\nb\n", {"skip": 2}), ("a", {"skip": 9})]
)
def test_no_header_is_no_data(content: str, dialect: dict[str, Any]) -> None:
    with pytest.raises(NoDataError, match=r"^it has no header$"):
        read(content, **dialect)


def test_a_header_alone_has_no_rows() -> None:
    assert read("time,A\n") == ({"time": [], "A": []}, [])


@pytest.mark.parametrize(("mark", "shown"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_another_delimiter_is_reported(mark: str, shown: str) -> None:
    with pytest.raises(
        ContractError, match=rf"its header is one column, 'time.A'; correct csv\.delimiter, e\.g\. {shown}$"
    ):
        read(f"time{mark}A\nt1{mark}1\n")


def test_binary_bytes_are_reported() -> None:
    with pytest.raises(SourceError, match=r"^not readable as csv, byte 6 is NUL, so this is not text in utf-8$"):
        read(b"time,A\0\nt1,1\n")


def test_lines_may_be_longer_than_a_block() -> None:
    names = ["time", *(f"station{number}" for number in range(3000))]
    line = ",".join([f"{'12.345678':>500}"] * len(names))
    cells, ragged = read(f"{','.join(names)}\n{line}\n{line}\n")
    assert (list(cells), ragged) == (names, [])
    assert [cell.strip() for cell in cells["station2999"]] == ["12.345678"] * 2


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_library_writes_is_read(rows: list[list[str]], delimiter: str, end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    cells, ragged = read(text.getvalue(), delimiter=delimiter)
    assert list(zip(cells["a"], cells["b"], cells["c"], strict=True)) == list(map(tuple, rows))
    assert ragged == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error_of_one_line(content: bytes) -> None:
    try:
        table, _ = read_csv(content, Csv())
    except (SourceError, NoDataError, ContractError) as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert table.num_columns > 0
