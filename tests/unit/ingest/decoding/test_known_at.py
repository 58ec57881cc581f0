from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import TimeStamps
from pipeline.errors import ContractError
from pipeline.ingest.decoding.known_at import split_known


def known(cells: list[Any] | pa.Array, **time: Any) -> tuple[list[Any], list[str]]:
    """The instants of a column, and the reasons of the rows that are refused."""
    table = pa.table({"published": cells, "row": range(len(cells))})
    rows, instants, refused = split_known(table, "published", TimeStamps(**time))
    assert len(rows) == len(instants)
    return [np.datetime_as_string(instant, unit="m") for instant in instants], refused["reason"].to_pylist()


def test_an_offset_is_the_instant_it_says_and_the_zone_of_time_holds_for_the_others() -> None:
    assert known(["2024-01-10T06:00Z", "2024-01-10 06:00"], zone="America/New_York") == (
        ["2024-01-10T06:00", "2024-01-10T11:00"],
        [],
    )


def test_of_an_hour_that_autumn_doubles_the_later_is_meant_however_rows_run() -> None:
    # 01:30 in Dublin on 27 October 2024 is 00:30 and 01:30 UTC.
    instants, _ = known(["2024-10-27 01:30"] * 3, zone="Europe/Dublin")
    assert instants == ["2024-10-27T01:30"] * 3


def test_the_format_of_time_holds_where_time_has_one_column() -> None:
    assert known(["10.01.2024 06h"], format="%d.%m.%Y %Hh")[0] == ["2024-01-10T06:00"]
    assert known(["2024-01-10 06:00"], columns=("day", "clock"), format="%d.%m.%Y %Hh")[0] == ["2024-01-10T06:00"]


def test_typed_instants_and_seconds_since_1970_are_read() -> None:
    typed = pa.array([datetime(2024, 1, 10, 6, tzinfo=UTC)], pa.timestamp("ms", tz="UTC"))
    assert known(typed, format="%d.%m.%Y %Hh")[0] == ["2024-01-10T06:00"]
    assert known([1704866400], format="%s")[0] == ["2024-01-10T06:00"]


def test_a_column_of_nulls_refuses_every_row() -> None:
    instants, reasons = known(pa.nulls(2))
    assert (instants, len(reasons)) == ([], 2)


@pytest.mark.parametrize("cell", [None, "", "soon", "2024-03-31 01:30", "0900-01-01 00:00"])
def test_a_row_that_does_not_say_when_it_became_known_is_refused(cell: str | None) -> None:
    instants, reasons = known(["2024-01-10 06:00", cell], zone="Europe/Dublin")  # where no clock showed 01:30
    assert instants == ["2024-01-10T06:00"]
    assert reasons == ["published has no time stamp, so it is unknown when the row became known"]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ContractError, match="no column 'publishd'; did you mean 'published'"):
        split_known(pa.table({"published": ["2024-01-10"]}), "publishd", TimeStamps())
