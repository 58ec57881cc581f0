"""Conversion between Arrow tables of observations and statements."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ContractError
from pipeline.store.observations.keys import TIME, Keys, sort_order, timestamps, value_matrix
from pipeline.store.observations.statements import Statements, revisions

ASSERTED_AT = "said"
"""Column of `asserted_at` in tables of live feeds. Existing tables contain this spelling: never change it."""


def has_asserted_at(schema: pa.Schema) -> bool:
    """Return whether a table has the column of `asserted_at`, and not a variable of that name."""
    return ASSERTED_AT in schema.names and schema.field(ASSERTED_AT).type == TIME


def received_to_statements(rows: pa.Table, variables: tuple[str, ...], delay: timedelta) -> tuple[Statements, Keys]:
    """Return received rows as statements sorted by key; rows without `known_at` get ``valid_time + delay``.

    Raises:
        ContractError: a row has no key, or two rows without `known_at` have the same key.
    """
    dated = "known_at" in rows.column_names
    for name in ("valid_time", "location", "known_at") if dated else ("valid_time", "location"):
        if rows[name].null_count:
            raise ContractError(f"{rows[name].null_count} rows have no {name}")
    keys, number = Keys.from_rows(rows)
    due = timestamps(rows, "valid_time") + delay // timedelta(microseconds=1)
    known_at = timestamps(rows, "known_at") if dated else due
    statements = Statements(number, known_at, value_matrix(rows, variables))
    order = sort_order(number)
    statements = statements if order is None else statements.take(order)
    if not dated and len(statements) > 1 and not np.all(statements.key[1:] > statements.key[:-1]):
        raise ContractError("two rows have the same valid_time and location")
    return statements, keys


def stored_to_statements(rows: pa.Table, keys: Keys, variables: tuple[str, ...]) -> Statements:
    """Return stored rows as statements; rows of other keys have the number -1."""
    known_at, source_time = timestamps(rows, "known_at"), None
    if has_asserted_at(rows.schema) and rows[ASSERTED_AT].null_count < len(rows):
        source_time = pc.coalesce(rows[ASSERTED_AT], rows["known_at"]).cast(pa.int64()).to_numpy()
    return Statements(keys.number_rows(rows), known_at, value_matrix(rows, variables), source_time)


def statements_to_rows(
    statements: Statements, keys: Keys, variables: tuple[str, ...], payload: str, schema: pa.Schema
) -> pa.Table:
    """Return statements as rows to store, by key and `known_at`."""
    ordered = statements.sort()
    columns = keys.to_columns(ordered.key)
    columns["known_at"] = pa.array(ordered.known_at, pa.int64()).cast(TIME)
    if has_asserted_at(schema):  # null where it equals known_at, as it mostly does
        same = ordered.asserted_at == ordered.known_at
        columns[ASSERTED_AT] = pa.array(ordered.asserted_at, pa.int64(), mask=same).cast(TIME)
    columns["payload"] = pa.DictionaryArray.from_arrays(np.zeros(len(ordered), np.int8), [payload])
    for name, values in zip(variables, ordered.values, strict=True):
        columns[name] = pa.array(values, from_pandas=True)
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def stored_to_revisions(rows: pa.Table, variables: tuple[str, ...]) -> pa.Table:
    """Return the revisions of stored rows, by valid_time, location and known_at."""
    number = Keys.from_rows(rows)[1]
    if np.all(number[1:] > number[:-1]):  # one statement per key, sorted: most months
        return rows
    kept, values = revisions(Statements(number, timestamps(rows, "known_at"), value_matrix(rows, variables)))
    if kept is None:
        return rows
    rows = rows.take(pa.array(kept))
    for name, column in zip(variables, values, strict=True):
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(column, from_pandas=True))
    return rows
