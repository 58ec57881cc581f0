"""When the rows of a table became known, from a column of it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.decoding.rows import cells_by_row, require_columns
from pipeline.ingest.decoding.time_zones import later_of_two
from pipeline.ingest.decoding.timestamp_parsing import Times, parse_times
from pipeline.ingest.decoding.timestamps import EARLIEST, LATEST
from pipeline.ingest.sources.base import refused_table


def split_known(table: pa.Table, name: str, time: TimeStamps) -> tuple[pa.Table, Times, pa.Table]:
    """Return the rows with a valid known time, those times, and the other rows as refused ones.

    The column has the format of the time column, if that is a single one, and its zone where a cell has no offset. An
    ambiguous hour in autumn is read as the later one, so that no row is known too early.

    Raises:
        ContractError: the column is missing, or holds values that cannot be time stamps.
    """
    require_columns(table, (name,))
    if pa.types.is_null(table.schema.field(name).type):
        table = table.set_column(table.column_names.index(name), name, pa.nulls(len(table), pa.string()))
    typed = pa.types.is_timestamp(table.schema.field(name).type)
    form = time.model_copy(
        update={
            "columns": (name,),
            "format": "" if typed or len(time.columns) > 1 else time.format,
            "hours": "0-23",
            "day_starts": timedelta(0),
        }
    )
    clock = parse_times(table, form)
    known = np.where(np.isnat(clock.instants), later_of_two(clock.local, time.zone), clock.instants)
    valid = ~np.isnat(known) & (known >= EARLIEST) & (known < LATEST)
    invalid = np.flatnonzero(~valid)
    reasons = [Reason("missing_known_at", name)]
    refused = refused_table((None, None, as_json(cells), reasons) for cells in cells_by_row(table, invalid).values())
    return table.filter(pa.array(valid)).combine_chunks(), known[valid], refused
