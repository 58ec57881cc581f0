"""GRIB files: every way to run through a grid, levels, and forecasts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ContractError, SourceError
from tests.unit.ingest.decoding.grids import cells, decode, grib, make_feed

T2M = {"air_temperature": {"source_name": "t2m", "units": "K"}}
FROM_THE_NORTH_WEST = {
    (f"0{1 + hour}:00", f"r00{row}c00{column}"): float(hour * 12 + row * 4 + column)
    for hour in range(2)
    for row in range(3)
    for column in range(4)
}


def found(folder: Path, content: bytes, **source: Any) -> dict[tuple[str, str], float]:
    return cells(decode(make_feed(folder, format="grib", variables=T2M, **source), content), "air_temperature")


@pytest.mark.parametrize("edition", [1, 2])
def test_cells_across_greenwich_are_where_the_messages_have_them(tmp_path: Path, edition: int) -> None:
    assert found(tmp_path, grib(edition)) == pytest.approx(FROM_THE_NORTH_WEST, abs=1e-3)


@pytest.mark.parametrize("edition", [1, 2])
def test_a_grid_from_the_south(tmp_path: Path, edition: int) -> None:
    ends = {"latitudeOfFirstGridPointInDegrees": 50, "latitudeOfLastGridPointInDegrees": 52}
    turned = found(tmp_path, grib(edition, jScansPositively=1, **ends))
    assert turned["01:00", "r000c000"] == pytest.approx(8, abs=1e-3)
    assert turned["01:00", "r002c003"] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("edition", [1, 2])
def test_a_grid_from_the_east(tmp_path: Path, edition: int) -> None:
    ends = {"longitudeOfFirstGridPointInDegrees": 1, "longitudeOfLastGridPointInDegrees": 358}
    turned = found(tmp_path, grib(edition, iScansNegatively=1, **ends))
    assert turned["01:00", "r000c000"] == pytest.approx(3, abs=1e-3)
    assert turned["02:00", "r002c003"] == pytest.approx(20, abs=1e-3)


def test_a_grid_by_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^x: its values run column by column; write them row by row"):
        found(tmp_path, grib(jPointsAreConsecutive=1))


def test_a_variable_goes_by_its_cf_or_its_grib_name(tmp_path: Path) -> None:
    short = make_feed(tmp_path, format="grib", variables={"air_temperature": {"source_name": "2t", "units": "K"}})
    assert cells(decode(short, grib()), "air_temperature") == found(tmp_path, grib())


def test_two_levels_are_told_apart_by_selection(tmp_path: Path) -> None:
    levels = {level: grib(shortName="t", typeOfLevel="isobaricInhPa", level=level) for level in (850, 500)}
    both = levels[850] + levels[500] + grib(shortName="t", typeOfLevel="surface", level=0)
    variables = {"t": {"units": "K"}}
    chosen = make_feed(tmp_path, format="grib", variables=variables, grid={"select": {"isobaricInhPa": 500}})
    assert decode(chosen, both).rows.num_rows == 24
    with pytest.raises(ContractError, match=r"^x: 2 variables are 't', on "):
        decode(make_feed(tmp_path, format="grib", variables=variables), both)
    with pytest.raises(ContractError, match=r"^x: dimension 'isobaricInhPa' has no 700; it has 850\.0, 500\.0$"):
        wrong = make_feed(tmp_path, format="grib", variables=variables, grid={"select": {"isobaricInhPa": 700}})
        decode(wrong, both)


def test_a_forecast_is_for_its_valid_time_and_known_by_its_reference(tmp_path: Path) -> None:
    content = grib(dataTime=0, stepRange=3) + grib(dataTime=0, stepRange=6)
    feed = make_feed(tmp_path, format="grib", variables=T2M, covariate=True, delay="5h")
    rows = decode(feed, content).rows
    assert rows.num_rows == 24
    assert sorted(set(rows["valid_time"].to_pylist())) == [datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (3, 6)]
    assert set(rows["known_at"].to_pylist()) == {datetime(2020, 1, 1, 5, tzinfo=UTC)}
