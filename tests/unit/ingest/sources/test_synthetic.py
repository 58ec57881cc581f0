from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Product
from pipeline.config.sources.synthetic import SyntheticSource
from pipeline.errors import ConfigError, NoDataError, SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.sources.synthetic import Synthetic
from pipeline.locations import Locations, read_locations
from pipeline.workspace import Workspace
from tests import jobs
from tests.unit.ingest.conftest import only_payloads
from tests.world import make_settings

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
STATIONS = Locations(
    tuple(f"S{n}" for n in range(8)),
    tuple(f"Station {n}" for n in range(8)),
    tuple(np.linspace(-10, -6, 8)),
    tuple(np.linspace(51, 55, 8)),
)
Row = tuple[datetime, str]


def product_of(
    *,
    variables: dict[str, Any] | None = None,
    step: str = "1h",
    delay: str = "1h",
    covariate: bool = False,
    **source: Any,
) -> Product:
    feed = {
        "source": {"kind": "synthetic", "start": "2020-01-01"} | source,
        "step": step,
        "delay": delay,
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": variables or {"air_temperature": {}},
    }
    fields = {"name": "test", "feed": feed, "forecast": {"targets": list(feed["variables"])}}
    if covariate:
        fields["covariates"] = {"nwp": feed}
    return Product.model_validate_json(json.dumps(fields)).within(Path("/nowhere"))


def world(locations: Locations = STATIONS, **fields: Any) -> Synthetic:
    source = open_source(product_of(**fields).feeds[-1], locations)
    assert isinstance(source, Synthetic)
    return source


def payloads(
    source: Synthetic, at: datetime, since: datetime | None = None, until: datetime | None = None
) -> list[Payload]:
    return list(only_payloads(source.fetch(since, until, at=at)))


def rows(source: Synthetic, at: datetime) -> list[dict[str, Any]]:
    return [row for one in payloads(source, at) for row in source.decode(one).rows.to_pylist()]


def key(row: dict[str, Any]) -> Row:
    return row["valid_time"], row["location"]


def values_of(source: Synthetic, days: int, variable: str = "air_temperature") -> dict[Row, float]:
    """What is known in the end of the first days."""
    all_rows = rows(source, START + (days + 3) * DAY)
    return {key(row): row[variable] for row in all_rows if row["valid_time"] < START + days * DAY}


def count(source: Synthetic, days: int) -> dict[str, int]:
    found = source.injected(START, START + days * DAY - HOUR)
    return {name: number for name, number in found.items() if number}


def test_without_faults_every_row_is_published_once_and_on_time() -> None:
    found = rows(world(published=True), START + 3 * DAY)
    assert [key(row) for row in found] == [(START + n * HOUR, s) for n in range(72) for s in STATIONS.ids]
    assert all(row["known_at"] == row["valid_time"] + HOUR for row in found)
    assert all(np.isfinite(row["air_temperature"]) for row in found)


@pytest.mark.parametrize(
    ("step", "times"),
    [
        ("month", [datetime(2020, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4)]),
        (
            "day in Europe/Dublin",
            [datetime(2020, 3, day, hour, tzinfo=UTC) for day, hour in ((29, 0), (29, 23), (30, 23))],
        ),
    ],
)
def test_calendar_steps_are_observed_at_their_ends(step: str, times: list[datetime]) -> None:
    source = world(step=step, delay="0h", start=f"{times[0]:%Y-%m-%d}", chunk="7d")
    found = rows(source, times[-1] + HOUR)
    assert [key(row) for row in found] == [(at, station) for at in times for station in STATIONS.ids]


def test_a_payload_covers_a_chunk_of_publication_time() -> None:
    source = world(delay="6h")
    found = payloads(source, START + 2 * DAY + 9 * HOUR)
    assert [one.name for one in found] == [
        "synthetic 2020-01-01T00:00Z to 2020-01-02T00:00Z",
        "synthetic 2020-01-02T00:00Z to 2020-01-03T00:00Z",
        "synthetic 2020-01-03T00:00Z to 2020-01-03T09:00Z",
    ]
    assert [source.decode(one).rows.num_rows // 8 for one in found] == [19, 24, 9]


def test_a_past_chunk_has_the_same_bytes_at_every_fetch() -> None:
    faults = {"late": {"share": 0.1}, "revised": {"share": 0.1}, "missing": 0.1, "stuck": {"share": 0.1}}
    everything = {one.name: one.digest for one in payloads(world(faults=faults), START + 20 * DAY)}
    window = payloads(world(faults=faults), START + 99 * DAY, START + 9 * DAY, START + 11 * DAY)
    assert len(window) == 4  # late and revised rows come up to a day later
    assert all(everything[one.name] == one.digest for one in window)


@settings(max_examples=15, deadline=None)
@given(hours=st.lists(st.integers(1, 150), min_size=1, max_size=12))
def test_a_replay_gives_the_same_rows_as_a_single_fetch(hours: list[int]) -> None:
    faults = {"late": {"share": 0.1, "by": "5h"}, "revised": {"share": 0.1, "by": "30h"}, "duplicated": 0.05}
    source = world(published=True, faults=faults)
    seen: set[str] = set()
    heard: set[tuple[Any, ...]] = set()
    for hour in sorted(hours):
        for one in source.fetch(None, None, at=START + hour * HOUR):
            assert isinstance(one, Payload)
            if one.digest in seen:
                continue
            seen.add(one.digest)
            found = source.decode(one).rows.to_pylist()
            assert all(row["known_at"] <= START + hour * HOUR for row in found)
            heard |= {tuple(row.values()) for row in found}
    assert heard == {tuple(row.values()) for row in rows(source, START + max(hours) * HOUR)}


def test_equal_seeds_give_equal_weather_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from tests.unit.ingest.sources.test_synthetic import START, DAY, payloads, world;"
        "print(payloads(world(seed=7), START + DAY)[0].digest)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[3])], capture_output=True, text=True, check=True
    )
    (mine,) = payloads(world(seed=7), START + DAY)
    assert run.stdout.strip() == mine.digest
    (other,) = payloads(world(seed=8), START + DAY)
    assert other.digest != mine.digest


def test_the_weather_of_a_seed_is_pinned() -> None:
    first = list(values_of(world(noise=0, bias=0), 1).values())[:3]
    assert first == pytest.approx([-1.565, -2.675, -4.151], abs=0.002)


def test_the_weather_of_a_place_does_not_depend_on_other_places_or_steps() -> None:
    def truth(locations: Locations, **fields: Any) -> dict[Row, float]:
        return values_of(world(locations, centre=[-8, 53], noise=0, bias=0, **fields), 2)

    few = Locations(STATIONS.ids[5:7], STATIONS.names[5:7], STATIONS.longitude[5:7], STATIONS.latitude[5:7])
    many, often = truth(STATIONS), truth(few, step="10min")
    assert {where: often[where] for where in truth(few)} == {where: many[where] for where in truth(few)}
    assert len(often) == 6 * len(truth(few))


def test_a_grid_larger_than_what_is_evaluated_at_once_is_seamless() -> None:
    longitude, latitude = np.meshgrid(np.linspace(-10, 10, 90), np.linspace(40, 60, 60))
    ids = tuple(f"c{n}" for n in range(5400))
    grid = Locations(ids, ids, tuple(longitude.ravel()), tuple(latitude.ravel()))
    part = Locations(ids[4000:4200], ids[4000:4200], grid.longitude[4000:4200], grid.latitude[4000:4200])
    shared = {"centre": [0, 50], "step": "6h", "end": "2020-01-01T18:00Z"}
    whole, some = values_of(world(grid, **shared), 1), values_of(world(part, **shared), 1)
    assert {where: whole[where] for where in some} == some
    assert len(whole) == 4 * 5400


def test_noise_and_bias_have_the_configured_size() -> None:
    truth = values_of(world(noise=0, bias=0, decimals=9), 20)
    noisy = values_of(world(noise=0.2, bias=0, decimals=9), 20)
    biased = values_of(world(noise=0, bias=0.2, decimals=9), 20)
    assert np.std([noisy[where] - truth[where] for where in truth]) == pytest.approx(0.2 * 3.0, rel=0.05)
    shifts = {
        station: {round(biased[at, s] - truth[at, s], 6) for at, s in truth if s == station} for station in ("S0", "S1")
    }
    assert [len(shift) for shift in shifts.values()] == [1, 1]
    assert shifts["S0"] != shifts["S1"]


def test_missing_values_are_counted() -> None:
    clean, source = values_of(world(), 20), world(faults={"missing": 0.05})
    faulty = values_of(source, 20)
    assert len(clean) == 20 * 24 * 8
    assert count(source, 20) == {"rows": len(faulty), "missing": len(clean) - len(faulty)}
    assert len(clean) - len(faulty) == pytest.approx(0.05 * len(clean), rel=0.25)
    assert faulty == {where: clean[where] for where in faulty}


def test_missing_values_are_independent_by_variable() -> None:
    variables: dict[str, Any] = {"air_temperature": {}, "wind_speed": {}}
    source = world(variables=variables, faults={"missing": 0.2})
    found = rows(source, START + 10 * DAY + HOUR)
    absent = sum(row[name] is None for row in found for name in variables)
    gone = 241 * 8 - len(found)  # both are missing
    counted = source.injected(START, START + 10 * DAY)
    assert (counted["rows"], counted["missing"]) == (len(found), absent + 2 * gone)
    assert gone > 0


def test_late_rows_come_in_a_later_payload_and_are_counted() -> None:
    source = world(published=True, faults={"late": {"share": 0.05, "by": "30h"}})
    late: set[Row] = set()
    for one in payloads(source, START + 23 * DAY):
        for row in source.decode(one).rows.to_pylist():
            lag = row["known_at"] - row["valid_time"]
            assert lag in (HOUR, 31 * HOUR)
            if lag > HOUR and row["valid_time"] < START + 20 * DAY:
                late.add(key(row))
    assert count(source, 20) == {"rows": 20 * 24 * 8, "late": len(late)}
    assert values_of(source, 20) == values_of(world(), 20)


def test_revised_rows_come_again_with_the_true_value_and_are_counted() -> None:
    source, clean = world(published=True, faults={"revised": {"share": 0.05, "scale": 2}}), values_of(world(), 20)
    given: dict[Row, list[float]] = {}
    for row in rows(source, START + 23 * DAY):
        if row["valid_time"] < START + 20 * DAY:
            given.setdefault(key(row), []).append(row["air_temperature"])
    twice = {where: values for where, values in given.items() if len(values) == 2}
    assert count(source, 20) == {"rows": 20 * 24 * 8, "revised": len(twice)}
    assert {where: values[-1] for where, values in given.items()} == clean
    assert np.std([first - last for first, last in twice.values()]) == pytest.approx(2 * 3.0, rel=0.2)


def test_duplicated_rows_are_counted() -> None:
    source = world(faults={"duplicated": 0.05})
    times = Counter(tuple(row.values()) for row in rows(source, START + 20 * DAY))
    assert set(times.values()) == {1, 2}
    assert count(source, 20) == {"rows": 20 * 24 * 8, "duplicated": sum(n == 2 for n in times.values())}


def test_spikes_have_the_configured_size_and_are_counted() -> None:
    source, clean = world(faults={"spikes": {"share": 0.02, "scale": 8}}), values_of(world(), 20)
    off = [abs(value - clean[where]) for where, value in values_of(source, 20).items() if value != clean[where]]
    assert off == pytest.approx([8 * 3.0] * len(off))
    assert count(source, 20) == {"rows": len(clean), "spikes": len(off)}


def test_a_stuck_sensor_repeats_the_first_value_of_its_block() -> None:
    fine: dict[str, Any] = {"decimals": 9}  # so that no two values are equal by chance
    source, clean = world(faults={"stuck": {"share": 0.1, "lasts": "12h"}}, **fine), values_of(world(**fine), 20)
    stuck = {where: value for where, value in values_of(source, 20).items() if value != clean[where]}
    for (at, station), value in stuck.items():
        assert value == clean[at.replace(hour=at.hour // 12 * 12), station]
    assert count(source, 20) == {"rows": len(clean), "stuck": len(stuck)}
    assert len(stuck) % 11 == 0  # the first of twelve is its own


def test_an_outage_and_a_gap_lose_rows_for_good() -> None:
    outage = [
        {"location": "S3", "since": "2020-01-02T00:00Z", "until": "2020-01-02T05:00Z"},
        {"since": "2020-01-03T00:00Z", "until": "2020-01-03T01:00Z"},
    ]
    clean = values_of(world(), 20)
    lost = set(clean) - set(values_of(world(faults={"outage": outage}), 20))
    named = {(START + DAY + n * HOUR, "S3") for n in range(6)}
    assert lost == named | {(START + 2 * DAY + n * HOUR, s) for n in range(2) for s in STATIONS.ids}
    assert count(world(faults={"outage": outage}), 20) == {"rows": len(clean) - 22, "outage": 22}

    gappy = world(faults={"gap": {"share": 0.1, "lasts": "6h"}})
    lost = set(clean) - set(values_of(gappy, 20))
    assert count(gappy, 20) == {"rows": len(clean) - len(lost), "gap": len(lost)}
    assert len(lost) % (6 * 8) == 0
    assert lost


def test_a_change_of_unit_is_silent() -> None:
    change = {"variable": "air_temperature", "units": "degF", "at": "2020-01-05T00:00Z", "until": "2020-01-05T11:00Z"}
    clean, source = values_of(world(), 20), world(faults={"unit_change": [change]})
    for where, value in values_of(source, 20).items():
        changed = datetime(2020, 1, 5, tzinfo=UTC) <= where[0] < datetime(2020, 1, 5, 12, tzinfo=UTC)
        assert value == pytest.approx(clean[where] * 1.8 + 32 if changed else clean[where], abs=0.002)
    assert count(source, 20) == {"rows": len(clean), "unit_change": 12 * 8}


def test_all_faults_together_are_counted() -> None:
    faults = {
        "missing": 0.02,
        "late": {"share": 0.02},
        "revised": {"share": 0.02},
        "duplicated": 0.02,
        "spikes": {"share": 0.02},
        "stuck": {"share": 0.02},
        "gap": {"share": 0.02},
        "outage": [{"location": "S1", "since": "2020-01-02", "until": "2020-01-08"}],
    }
    source = world(published=True, faults=faults)
    given: dict[Row, list[dict[str, Any]]] = {}
    for row in rows(source, START + 23 * DAY):
        if row["valid_time"] < START + 20 * DAY:
            given.setdefault(key(row), []).append(row)
    counted = count(source, 20)
    late = [found for found in given.values() if found[0]["known_at"] - found[0]["valid_time"] > HOUR]
    twice = [found for found in given.values() if len(found) == 2]
    assert counted["rows"] == len(given)
    assert counted["late"] == len(late)
    assert counted["duplicated"] == sum(one["known_at"] == two["known_at"] for one, two in twice)
    assert counted["revised"] == sum(one["known_at"] < two["known_at"] for one, two in twice)
    assert counted["missing"] + counted["gap"] + counted["outage"] == 20 * 24 * 8 - len(given)
    assert counted["spikes"] > 0 < counted["stuck"]


def test_values_are_delivered_in_the_units_of_the_source_and_kept_in_those_of_the_feed() -> None:
    plain = values_of(world(), 1)
    fahrenheit = world(variables={"air_temperature": {"units": "K", "source_units": "degF"}})
    assert fahrenheit.about.units == {"air_temperature": "degF"}
    assert list(values_of(fahrenheit, 1).values()) == pytest.approx(
        [value + 273.15 for value in plain.values()], abs=0.002
    )


def test_a_variable_described_in_the_product_file() -> None:
    recipe = {"mean": 100, "spread": 1e-9, "diurnal": 10, "peak": 12, "minimum": 95}
    source = world(variables={"load": {"units": "MW"}}, fields={"load": recipe}, noise=0, bias=0)
    for (at, station), value in values_of(source, 1, "load").items():
        longitude = STATIONS.longitude[STATIONS.ids.index(station)]
        hour = at.hour + longitude / 15
        assert value == pytest.approx(max(95, 100 + 10 * np.cos(2 * np.pi * (hour - 12) / 24)), abs=0.001)


def test_a_covariate_is_known_in_advance() -> None:
    source = world(covariate=True, ahead="2d", delay="0s")
    found = rows(source, START + 3 * DAY)
    assert {row["valid_time"] - row["known_at"] for row in found} == {2 * DAY}
    assert max(row["valid_time"] for row in found) == START + 5 * DAY


def test_the_weather_ends_at_its_end() -> None:
    source = world(end="2020-01-02T12:00Z")
    assert max(row["valid_time"] for row in rows(source, START + 99 * DAY)) == START + 36 * HOUR


def test_a_payload_of_another_feed_or_a_truncated_one_is_refused() -> None:
    (payload,) = payloads(world(), START + 5 * HOUR)
    with pytest.raises(SourceError, match="no column 'wind_speed'; the payload was made for another feed"):
        world(variables={"wind_speed": {}}).decode(payload)
    with pytest.raises(SourceError, match="not readable as parquet"):
        world().decode(Payload.of("torn", payload.content[:-9]))
    with pytest.raises(NoDataError):
        world().decode(Payload.of("empty", b""))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variables": {"load": {"units": "MW"}}}, "feed.variables: 'load' is not a synthetic variable"),
        (
            {"faults": {"unit_change": [{"variable": "wind_speed", "units": "knot", "at": "2020-01-01"}]}},
            "feed.source.faults.unit_change.0.variable: 'wind_speed' is not in feed.variables",
        ),
        (
            {"faults": {"unit_change": [{"variable": "air_temperature", "units": "knot", "at": "2020-01-01"}]}},
            "feed.source.faults.unit_change.0.units: cannot convert 'air_temperature' to knot",
        ),
        (
            {"faults": {"outage": [{"location": "X", "since": "2020-01-01", "until": "2020-01-02"}]}},
            "feed.source.faults.outage.0.location: 'X' is not in feed.locations",
        ),
    ],
)
def test_faults_of_unknown_variables_and_locations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        world(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "yesterday"}, "'yesterday' is not a date or time; write e.g. 2020-01-01"),
        ({"start": "2020-01-02", "end": "2020-01-01"}, "end: 2020-01-01T00:00Z is before start"),
        ({"chunk": "0.5s"}, "0.5 s is not a whole number of seconds"),
        ({"faults": {"late": {"share": 0.6}, "revised": {"share": 0.6}}}, "a row can have only one of these faults"),
        ({"faults": {"missing": 1.5}}, "less than or equal to 1"),
    ],
)
def test_mistakes_in_the_product_file(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        SyntheticSource.model_validate_json(json.dumps({"kind": "synthetic"} | fields))
    assert message in str(caught.value)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    lines = [f"{n},{n},{x},{y}" for n, x, y in zip(STATIONS.ids, STATIONS.longitude, STATIONS.latitude, strict=True)]
    (tmp_path / "stations.csv").write_text("\n".join(["id,name,longitude,latitude", *lines]))
    faults = {
        "missing": 0.02,
        "late": {"share": 0.03, "by": "30h"},
        "revised": {"share": 0.03, "by": "1d"},
        "duplicated": 0.03,
        "gap": {"share": 0.02},
    }
    return product_of(step="3h", published=True, faults=faults).within(tmp_path)


def test_ingest_day_by_day_keeps_exactly_what_came(product: Product, tmp_path: Path) -> None:
    settings_ = make_settings(tmp_path)
    results = [jobs.ingest(Workspace(product, settings_), at=START + day * DAY) for day in range(1, 9)]
    source = open_source(product.feed, read_locations(product.feed))
    assert isinstance(source, Synthetic)
    counted = source.injected(START, START + 8 * DAY - 3 * HOUR)
    waiting = counted["rows"] - sum(result.added for result in results)
    # What is late or revised in the last day and a half has not come yet.
    last = source.injected(START + 6 * DAY + 18 * HOUR, START + 8 * DAY - 3 * HOUR)
    due = source.injected(START + 6 * DAY + 24 * HOUR, START + 8 * DAY - 3 * HOUR)
    assert waiting == last["late"]
    assert sum(result.revised for result in results) == counted["revised"] - due["revised"]
    assert sum(result.refused for result in results) == 0
    assert waiting > 0 < counted["revised"]


def test_history_with_publication_times_equals_an_ingest_at_each_publication(product: Product, tmp_path: Path) -> None:
    steady, at_once = make_settings(tmp_path / "steady"), make_settings(tmp_path / "once")
    for publication in range(1, 25):  # every three hours, an hour after the time of the values
        jobs.ingest(Workspace(product, steady), at=START + HOUR + publication * 3 * HOUR)
    end = START + HOUR + 72 * HOUR
    jobs.ingest(Workspace(product, at_once), at=end)
    lived, loaded = (OpenFeed(product.feed, one).observations.read() for one in (steady, at_once))
    assert lived.num_rows > 3 * 8 * 7
    assert lived.equals(loaded)
    for day in (1, 2):
        known = [OpenFeed(product.feed, one).observations.read(known_by=START + day * DAY) for one in (steady, at_once)]
        assert known[0].equals(known[1])


def test_a_daily_ingest_learns_the_same_values_at_its_end_of_day(product: Product, tmp_path: Path) -> None:
    daily, at_once = make_settings(tmp_path / "daily"), make_settings(tmp_path / "once")
    for day in range(1, 7):
        jobs.ingest(Workspace(product, daily), at=START + day * DAY)
    jobs.ingest(Workspace(product, at_once), at=START + 6 * DAY)
    for day in (2, 4, 6):
        seen = []
        for one in (daily, at_once):
            rows = OpenFeed(product.feed, one).observations.read(known_by=START + day * DAY).to_pylist()
            seen.append({key(row): row["air_temperature"] for row in rows})
        assert seen[0] == seen[1]
        assert len(seen[0]) > day * 8 * 6
    lived = OpenFeed(product.feed, daily).observations.read()["known_at"].to_pylist()
    assert {known for known in lived if known > START + DAY} == {START + day * DAY for day in range(2, 7)}
