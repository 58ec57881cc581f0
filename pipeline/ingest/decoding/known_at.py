"""When the rows of a table became known, where a column of it says so."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from expectations.reasons import Reason
from pipeline.config import TimeStamps
from pipeline.ingest.decoding.cells import as_json
from pipeline.ingest.decoding.rows import cells_of, require
from pipeline.ingest.decoding.time_zones import later_of_two
from pipeline.ingest.decoding.timestamp_parsing import Times, read_clock
from pipeline.ingest.decoding.timestamps import EARLIEST, LATEST
from pipeline.ingest.sources.base import refused_table


def split_known(table: pa.Table, name: str, time: TimeStamps) -> tuple[pa.Table, Times, pa.Table]:
    """Return the rows that say when they became known, when that was, and the others as refused rows.

    The column is written as the time column is: in its zone where it carries no offset and, where time has one column,
    in its format. Of an hour that autumn doubles the later is meant: a row is never known too early.

    Raises:
        ContractError: the column is not there, or holds what can be no stamp.
    """
    require(table, (name,))
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
    clock = read_clock(table, form)
    known = np.where(np.isnat(clock.instants), later_of_two(clock.local, time.zone), clock.instants)
    told = ~np.isnat(known) & (known >= EARLIEST) & (known < LATEST)
    untold = np.flatnonzero(~told)
    reasons = [Reason("missing_known_at", name)]
    refused = refused_table((None, None, as_json(cells), reasons) for cells in cells_of(table, untold).values())
    return table.filter(pa.array(told)).combine_chunks(), known[told], refused
