"""Decoding of JSON responses: JMESPath selects the cells, and the table layouts decode them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import jmespath  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from jmespath.parser import ParsedResult  # type: ignore[import-untyped]

from expectations.reasons import Reason
from pipeline.config import Feed
from pipeline.config.sources.http_json import HttpJsonSource
from pipeline.errors import ConfigError, ContractError, SourceError
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.decoding.timestamp_parsing import Times
from pipeline.ingest.decoding.timestamps import read_valid_times
from pipeline.ingest.sources.base import Decoded, Payload, RefusedRow, refused_table, row_schema
from pipeline.ingest.sources.http import as_column, as_text
from pipeline.locations import Locations
from pipeline.times import as_numpy

_MAX_INVALID_ROWS = 10_000
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where to find each column of the table in a row."""

    paths: Mapping[str, str]
    """JMESPath expression by column."""
    compiled: Mapping[str, ParsedResult]
    texts: frozenset[str]
    """Columns that are text even if the document has numbers, such as ids."""
    variables: frozenset[str]
    """Columns with values, which a row may lack."""

    @classmethod
    def of(cls, feed: Feed, spec: HttpJsonSource) -> Self:
        """Return the columns that a feed needs from its source.

        Raises:
            ConfigError: the layout does not suit the variables, or the product file names an unused column.
        """
        names = [*spec.time.columns, *([spec.known_at] if spec.known_at else [])]
        located = [spec.location] if spec.location and not spec.by_location and spec.layout != "wide" else []
        variables: list[str] = []
        if spec.layout == "long":
            variables = [given.source_name or name for name, given in feed.variables.items()]
        elif spec.layout == "tidy":
            names.append(spec.variable)
            variables = [spec.value]
        elif len(feed.variables) > 1:
            problem = f"wide holds one variable, and feed.variables has {len(feed.variables)}"
            raise ConfigError(feed.title, "feed.source.layout", problem, "use layout: long")
        needed = [*names, *located, *variables]
        for name in spec.columns:
            if name not in needed:
                near = difflib.get_close_matches(name, needed, n=1)
                remedy = f"did you mean '{near[0]}'?" if near else f"needed: {', '.join(needed)}"
                raise ConfigError(feed.title, f"feed.source.columns.{name}", "not a column of this feed", remedy)
        paths = {name: spec.columns.get(name, f'"{name}"') for name in needed}
        compiled = {name: jmespath.compile(path) for name, path in paths.items()}
        named = frozenset((*located, *([spec.variable] if spec.layout == "tidy" else [])))
        return cls(paths, compiled, named, frozenset(variables))


def find_rows(document: Any, spec: HttpJsonSource) -> list[Any]:
    """Return the list of rows of a document.

    Raises:
        ContractError: the document has no such list.
    """
    found = _search(jmespath.compile(spec.rows), document)
    if isinstance(found, list):
        return found
    keys = f"; the response has {', '.join(map(str, document))[:200]}" if isinstance(document, dict) else ""
    what = "nothing" if found is None else f"{type(found).__name__}"
    raise ContractError(f"feed.source.rows: '{spec.rows}' finds {what} where the list of rows should be{keys}")


def decode_document(
    document: Any, payload: Payload, feed: Feed, spec: HttpJsonSource, locations: Locations, columns: Columns
) -> Decoded:
    """Return the rows of a page; see `HttpJson.decode`."""
    try:
        found = find_rows(document, spec)
        rows = [row for row in found if isinstance(row, dict | list)]
        if len(found) - len(rows) > _MAX_INVALID_ROWS:
            raise ContractError(f"{len(found) - len(rows):,} rows are neither objects nor lists")
        refused: list[RefusedRow] = [
            (None, None, as_json({"row": row}), [Reason("malformed_row")])
            for row in found
            if not isinstance(row, dict | list)
        ]
        if not rows:
            return Decoded(row_schema(feed, known=spec.known_at is not None).empty_table(), refused_table(refused))
        table, notes = _table(rows, spec, columns)
        if spec.by_location:
            spec = spec.model_copy(update={"location": spec.location or "location"})
            here = payload.context.get("location")
            table = table.append_column(spec.location, pa.array([here] * len(rows), pa.string()))
        table, known, unknown = _known(table, payload, feed, spec)
        decoded = decode_table(table, feed, spec, locations, known=known)
    except ContractError as error:
        raise ContractError(f"{payload.name}: {error}") from error
    more = refused_table([*refused, *unknown])
    return Decoded(
        decoded.rows, pa.concat_tables([decoded.refused, more]), decoded.downsampled, (*notes, *decoded.notes)
    )


def _table(rows: Sequence[Any], spec: HttpJsonSource, columns: Columns) -> tuple[pa.Table, list[str]]:
    """Return the cells of rows as a table, and notes on columns that no row has."""
    picked = {name: [_search(path, row) for row in rows] for name, path in columns.compiled.items()}
    notes = _check_present(rows, picked, columns)
    if spec.layout == "wide":
        used = {path.strip('"') for path in columns.paths.values()}
        stations = dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row if key not in used)
        picked |= {key: [row.get(key) if isinstance(row, dict) else None for row in rows] for key in stations}
    if spec.milliseconds:
        stamps = (*spec.time.columns, *([spec.known_at] if spec.known_at else []))
        picked |= {name: [_seconds(cell) for cell in picked[name]] for name in stamps}
    return pa.table({name: _column(cells, text=name in columns.texts) for name, cells in picked.items()}), notes


def _column(cells: Sequence[Any], *, text: bool) -> pa.Array:
    return as_column([None if cell is None else as_text(cell) for cell in cells] if text else cells)


def _check_present(rows: Sequence[Any], picked: Mapping[str, Sequence[Any]], columns: Columns) -> list[str]:
    """Return notes on value columns that no row has.

    Raises:
        ContractError: no row has a time stamp, a location, or any value: a column may have been renamed.
    """
    absent = [
        name
        for name, cells in picked.items()
        if rows and not any(_has(columns.paths[name], row) for row in rows) and all(cell is None for cell in cells)
    ]
    values = [name for name in absent if name in columns.variables]
    wrong = [name for name in absent if name not in columns.variables]
    if wrong or (values and len(values) == len(columns.variables)):
        name = (wrong or values)[0]
        keys = list(dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row))
        near = difflib.get_close_matches(columns.paths[name].strip('"'), keys, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ContractError(f"no row has '{name}' ({columns.paths[name]}); {hint}rows have {', '.join(keys)[:200]}")
    return [f"no row has '{name}' ({columns.paths[name]})" for name in values]


def _has(path: str, row: Any) -> bool:
    """Return whether a row has the key of a plain path, even if it is null; False for other expressions."""
    plain = path.strip('"')
    if path != f'"{plain}"' and not _PATH.fullmatch(path):
        return False
    for key in [plain] if path != plain else plain.split("."):
        if not isinstance(row, dict) or key not in row:
            return False
        row = row[key]
    return True


def _known(
    table: pa.Table, payload: Payload, feed: Feed, spec: HttpJsonSource
) -> tuple[pa.Table, Times | None, list[RefusedRow]]:
    """Return the rows that tell when they became known, when, and the others."""
    if spec.known_at is None:
        if not feed.is_covariate:
            return table, None, []
        try:
            at = as_numpy(datetime.fromisoformat(payload.context["at"]))
        except (KeyError, ValueError):
            raise SourceError(f"{payload.name}: its context lacks the time of the fetch") from None
        return table, np.full(len(table), at), []
    written = {"columns": (spec.known_at,), "label": "end", "day_starts": timedelta(0), "resample": timedelta(0)}
    form = spec.time.model_copy(update={**written, "hours": "0-23"})
    stamps = read_valid_times(table, form, timedelta(seconds=1))
    invalid = np.flatnonzero(np.isnat(stamps.valid_time))
    cells = table.take(pa.array(invalid)).to_pylist()
    refused: list[RefusedRow] = [
        (None, None, as_json(given), [stamps.reasons[int(row)]]) for row, given in zip(invalid, cells, strict=True)
    ]
    keep = np.flatnonzero(~np.isnat(stamps.valid_time))
    return table.take(pa.array(keep)).drop_columns([spec.known_at]), stamps.valid_time[keep], refused


def _search(path: ParsedResult, value: Any) -> Any:
    try:
        return path.search(value)
    except JMESPathError as error:
        problem = " ".join(str(error).split())[:200]
        raise ContractError(f"'{path.expression}' cannot be applied to the response, {problem}") from None


def _seconds(cell: Any) -> Any:
    """Return milliseconds as seconds; other cells unchanged."""
    return cell / 1000 if type(cell) in (int, float) else cell
