"""CSV of any dialect as an Arrow table of text."""

from __future__ import annotations

import csv
import re
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from expectations.reasons import Reason
from pipeline.config.sources.files import Csv
from pipeline.errors import ContractError, NoDataError, SourceError, first_line

Ragged = list[tuple[str, Reason]]
"""Lines whose number of cells differs from the header, each with the reason."""

_BOM = "\ufeff".encode()
_LINE = re.compile(rb"[^\r\n]+")
_END = re.compile(rb"\r\n|\n|\r")
_DELIMITERS = ",;\t|"
_BLOCK = 2**20


def read_csv(content: bytes, dialect: Csv) -> tuple[pa.Table, Ragged]:
    """Return a table of text with stripped column names, and the ragged lines.

    A column without a name or any cell, which a delimiter at the end of each line makes, is left out.

    Raises:
        NoDataError: there is no header.
        SourceError: it is not text in the encoding of the dialect, or not CSV.
        ContractError: the header is one column that another delimiter would split.
    """
    try:
        text = _text(content, dialect)
        found = list(islice(_LINE.finditer(text, _after(text, dialect.skip)), 2))
        if not found:
            raise NoDataError("it has no header")
        names = [name.strip() for name in _cells(found[0].group(), dialect)]
        if len(names) == 1 and (mark := next((mark for mark in _DELIMITERS if mark in names[0]), "")):
            raise ContractError(f"its header is one column, '{names[0][:80]}'; correct csv.delimiter, e.g. {mark!r}")
        if len(found) == 1:
            return pa.table({str(n): pa.array([], pa.string()) for n in range(len(names))}).rename_columns(names), []
        _fit(names, _cells(found[1].group(), dialect))
        return _read(text, found[0].end(), names, dialect, max(_BLOCK, 4 * len(found[1].group())))
    except UnicodeDecodeError as error:
        raise SourceError(f"not readable as csv, {error}; correct csv.encoding") from None
    except (pa.ArrowException, csv.Error) as error:
        raise SourceError(f"not readable as csv, {first_line(error)}") from error


def _text(content: bytes, dialect: Csv) -> bytes:
    """Return the text in UTF-8 with comments as empty lines."""
    if dialect.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        content = content.decode(dialect.encoding).encode()
    content = content.removeprefix(_BOM)
    if (place := content.find(b"\0")) >= 0:
        raise SourceError(f"not readable as csv, byte {place} is NUL, so this is not text in {dialect.encoding}")
    if dialect.comment:
        content = re.sub(rb"(?m)^" + re.escape(dialect.comment.encode()) + rb"[^\r\n]*", b"", content)
    return content


def _after(text: bytes, lines: int) -> int:
    """Return where the text continues after some lines."""
    ends = list(islice(_END.finditer(text), lines))
    return len(text) if len(ends) < lines else ends[-1].end() if ends else 0


def _cells(line: bytes, dialect: Csv) -> list[str]:
    lines, mark = [line.decode()], dialect.delimiter
    if dialect.quote:
        return next(csv.reader(lines, delimiter=mark, quotechar=dialect.quote))
    return next(csv.reader(lines, delimiter=mark, quoting=csv.QUOTE_NONE))


def _fit(names: list[str], cells: list[str]) -> None:
    """Make the header as wide as the lines where only one of them ends with a delimiter."""
    if len(cells) == len(names) + 1 and not cells[-1].strip():
        names.append("")
    elif len(cells) == len(names) - 1 and not names[-1]:
        names.pop()


def _read(text: bytes, start: int, names: list[str], dialect: Csv, block: int) -> tuple[pa.Table, Ragged]:
    faulty: list[tuple[int, str, int]] = []

    def keep(row: arrow_csv.InvalidRow) -> str:
        faulty.append((row.number, row.text, row.actual_columns))
        return "skip"

    keys = [str(number) for number in range(len(names))]  # a name may occur twice, which the caller reports
    table = arrow_csv.read_csv(
        pa.py_buffer(memoryview(text)[start:]),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=keys, block_size=block),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=bool(dialect.quote),
            invalid_row_handler=keep,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
        ),
    )
    if dialect.quote and text.count(dialect.quote.encode(), start) % 2:
        lines = sum(1 for _ in _LINE.finditer(text, start))
        if table.num_rows + len(faulty) < lines:  # a cell ran on over several lines
            raise SourceError(f"not readable as csv, a quote {dialect.quote} is not closed; correct csv.quote")
    kept = [key for key, name in zip(keys, names, strict=True) if name or not _blank(table.column(key))]
    table = table.select(kept).rename_columns([names[int(key)] for key in kept])
    if not faulty:
        return table, []
    numbers = _numbers(text, start, faulty[-1][0])
    expected = str(len(names))
    return table, [
        (line, Reason("ragged_line", value=numbers[row - 1], measure=columns, expected=expected))
        for row, line, columns in faulty
    ]


def _blank(column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py())


def _numbers(text: bytes, start: int, count: int) -> list[int]:
    """Return the numbers, from 1, of the first non-empty lines after the header."""
    numbers, number, at = [], 1, 0
    for line in islice(_LINE.finditer(text, start), count):
        number += len(_END.findall(text, at, line.start()))
        at = line.start()
        numbers.append(number)
    return numbers
