"""What the checks find, how severe it is, and what becomes of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.config import Feed, Product
from pipeline.errors import BatchError, ConfigError, ContractError
from pipeline.ingest.quality.checks import check_rows
from pipeline.ingest.quality.contract import check_quality
from pipeline.ingest.quality.reasons import count_reasons
from pipeline.ingest.sources import row_schema
from pipeline.locations import Locations

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MakeFeed = Callable[..., Feed]

# A quiet field of three stations: the hour's course and a little of their own.
COURSE = 10 + 3 * np.sin(np.arange(24 * 40) * np.pi / 12)
OWN = np.random.default_rng(0).normal(0, 0.2, (24 * 40, 4))


@pytest.fixture
def stations() -> Locations:
    ids = ("A", "B", "C", "D")
    return Locations(ids, ids, (0.0, 0.1, 0.2, 0.3), (50.0,) * 4)


@pytest.fixture
def make_feed() -> MakeFeed:
    def make(name: str = "", mode: str = "live", variables: dict[str, Any] | None = None, **quality: Any) -> Feed:
        fields = {
            "name": "test",
            "feed": {
                "source": {"kind": "files", "path": "data.csv", "format": "csv"},
                "step": "1h",
                "delay": "1h",
                "mode": mode,
                "locations": {"kind": "stations", "path": "stations.csv"},
                "variables": variables or {"wind_speed": {"limits": [0, 60]}, "air_temperature": {}},
                "quality": quality,
            },
            "forecast": {"targets": ["wind_speed"]},
        }
        feed = Product.model_validate_json(json.dumps(fields)).feed
        return feed.within("test", name, feed.folder) if name else feed

    return make


def rows(
    feed: Feed, first: int = 0, last: int = 48, *, change: Callable[[NDArray[np.float64]], object] | None = None
) -> pa.Table:
    """Rows of the hours from first to last at four stations; `change` spoils wind of shape (hour, station)."""
    wind = COURSE[first:last, None] + OWN[first:last]
    if change is not None:
        change(wind)
    hours, places = wind.shape
    times = np.datetime64("2020-01-01", "us") + np.arange(first, last) * np.timedelta64(1, "h")
    columns = [
        pa.array(np.repeat(times, places), pa.timestamp("us", "UTC")),
        pa.array(list("ABCD") * hours),
        *(pa.array((wind if name == "wind_speed" else wind - 5).ravel(), from_pandas=True) for name in feed.variables),
    ]
    return pa.Table.from_arrays(columns, schema=row_schema(feed))


def at(hour: int) -> datetime:
    return FIRST + hour * HOUR


def freeze(wind: np.ndarray) -> None:
    wind[20:40, 1] = 7.5


def spike(wind: np.ndarray) -> None:
    wind[30, 2] = 40.0


def broken(report: dict[str, Any]) -> dict[str, int]:
    return {entry["check"]: entry["unexpected"] for entry in report["checks"] if not entry["success"]}


def test_a_sound_batch_has_nothing_to_say(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed()
    checked = check_rows(rows(feed), feed, stations, now=at(49))
    assert (checked.warnings, checked.refused.num_rows) == ((), 0)
    assert (checked.report["success"], checked.report["verdict"]) == (True, "accepted")
    assert checked.report["not_judged"] == ["unit_change", "drift"]
    assert checked.report["completeness"]["by_location"] == {"A": 1.0, "B": 1.0, "C": 1.0, "D": 1.0}


def test_a_stuck_sensor_is_a_warning_and_its_rows_are_stored(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"buddy": "off"})
    checked = check_rows(rows(feed, change=freeze), feed, stations, now=at(49))
    assert checked.warnings == (
        "20 values of wind_speed at 1 location in runs of more than 12 equal values, "
        "the longest has 20 values of 7.5 m s-1 at B, 2020-01-01 20:00 UTC",
        "20 values of air_temperature at 1 location in runs of more than 12 equal values, "
        "the longest has 20 values of 2.5 degC at B, 2020-01-01 20:00 UTC",
    )
    assert checked.accepted.num_rows == 192
    assert broken(checked.report) == {"persistence": 20}


def test_a_stuck_sensor_is_refused_when_the_product_says_so(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"persistence": {"severity": "row", "variables": ["wind_speed"]}, "buddy": "off"})
    checked = check_rows(rows(feed, change=freeze), feed, stations, now=at(49))
    assert checked.warnings == ()
    told = checked.refused.to_pylist()
    assert [row["valid_time"] for row in told] == [at(hour) for hour in range(20, 40)]
    assert {row["location"] for row in told} == {"B"}
    assert count_reasons(checked.refused) == {"wind_speed … m s-1 stays the same for … values, more than 12": 20}


@pytest.mark.parametrize(("after", "count"), [("19h", 20), ("20h", 0)])
def test_for_how_long_a_value_may_stay_is_told_as_a_time(
    make_feed: MakeFeed, stations: Locations, after: str, count: int
) -> None:
    feed = make_feed(checks={"persistence": {"after": after, "severity": "row"}, "buddy": "off"})
    assert check_rows(rows(feed, change=freeze), feed, stations, now=at(49)).refused.num_rows == count


def test_values_that_may_stay_are_excepted(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"persistence": {"except": [7.5, 2.5]}, "buddy": "off"})
    assert check_rows(rows(feed, change=freeze), feed, stations, now=at(49)).warnings == ()


def test_a_run_that_began_before_the_batch_is_counted_from_its_beginning(
    make_feed: MakeFeed, stations: Locations
) -> None:
    feed = make_feed(checks={"persistence": {"severity": "row"}, "buddy": "off"})
    whole = rows(feed, change=freeze)
    before, batch = whole.slice(0, 35 * 4), whole.slice(35 * 4)
    assert check_rows(batch, feed, stations, now=at(49)).refused.num_rows == 0
    checked = check_rows(batch, feed, stations, now=at(49), recent=before)
    assert [row["valid_time"] for row in checked.refused.to_pylist()] == [at(hour) for hour in range(35, 40)]
    assert "same for 20 values" in checked.refused["reason"][0].as_py()


def test_a_jump_is_told_by_the_limit_of_the_product(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"step": {"wind_speed": 20, "severity": "row"}, "buddy": "off"})
    checked = check_rows(rows(feed, change=spike), feed, stations, now=at(49))
    (row,) = checked.refused.to_pylist()
    assert (row["valid_time"], row["location"]) == (at(30), "C")
    assert row["reason"].startswith("wind_speed 40 m s-1 is a change of 2")
    assert count_reasons(checked.refused) == {"wind_speed … m s-1 is a change of … per step, more than 20": 1}
    unlimited = check_rows(rows(make_feed()), make_feed(), stations, now=at(49))
    assert "step" not in {entry["check"] for entry in unlimited.report["checks"]}


def test_a_value_that_its_neighbours_do_not_bear_out(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"buddy": {"severity": "row", "variables": ["wind_speed"]}})
    checked = check_rows(rows(feed, change=spike), feed, stations, now=at(49))
    (row,) = checked.refused.to_pylist()
    assert (row["valid_time"], row["location"]) == (at(30), "C")
    (reason,) = count_reasons(checked.refused)
    assert reason == "wind_speed … m s-1 is … sigmas from what its neighbours suggest, more than 6"
    assert json.loads(row["values"])["wind_speed"] == 40.0


def test_a_grid_has_no_buddy_check(make_feed: MakeFeed) -> None:
    grid = Locations(("A", "B", "C", "D"), ("A", "B", "C", "D"), (0.0, 0.1, 0.0, 0.1), (50.0, 50.0, 51.0, 51.0), (2, 2))
    feed = make_feed()
    checked = check_rows(rows(feed, change=spike), feed, grid, now=at(49))
    assert checked.warnings == ()
    assert "buddy" not in {entry["check"] for entry in checked.report["checks"]}


def test_a_value_beyond_its_limits_spoils_no_other_check(make_feed: MakeFeed, stations: Locations) -> None:
    def nonsense(wind: np.ndarray) -> None:
        wind[30, 2], wind[31, 2] = 999.0, np.inf

    feed = make_feed(checks={"step": {"wind_speed": 5}}, variables={"wind_speed": {"limits": [0, 60]}})
    checked = check_rows(rows(feed, change=nonsense), feed, stations, now=at(49))
    assert checked.refused.num_rows == 2
    assert checked.warnings == ()


@pytest.mark.parametrize(
    ("words", "change"),
    [("K instead of degC", lambda t: t + 273.15), ("degF instead of degC", lambda t: t * 1.8 + 32)],
)
def test_a_batch_in_another_unit_is_refused_as_a_whole_with_its_report(
    make_feed: MakeFeed, stations: Locations, words: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    # The limits are wide open, so that no row stands out.
    feed = make_feed(variables={"air_temperature": {"limits": [-500, 500]}, "wind_speed": {}})
    recent, batch = rows(feed, 0, 24 * 20), rows(feed, 24 * 20, 24 * 22)
    changed = batch.set_column(2, "air_temperature", pa.array(change(batch["air_temperature"].to_numpy())))
    assert check_rows(batch, feed, stations, now=at(24 * 22), recent=recent).warnings == ()
    with pytest.raises(BatchError) as caught:
        check_rows(changed, feed, stations, now=at(24 * 22), recent=recent)
    assert str(caught.value) == (
        "test: the batch was refused: air_temperature agrees with recent values at 100% of 4 locations only "
        f"if it is {words}"
    )
    assert caught.value.exit_code == 4
    report = caught.value.report
    assert (report["verdict"], report["success"], broken(report)["unit_change"]) == ("refused", False, 1)
    assert json.loads(json.dumps(report, allow_nan=False)) == report

    lenient = make_feed(
        variables={"air_temperature": {"limits": [-500, 500]}, "wind_speed": {}},
        checks={"unit_change": "warn", "drift": "off"},
    )
    assert words in check_rows(changed, lenient, stations, now=at(24 * 22), recent=recent).warnings[0]


def test_the_unit_of_the_source_is_what_it_is_taken_for(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(variables={"wind_speed": {"source_units": "knot", "limits": [0, 200]}})
    recent, batch = rows(feed, 0, 24 * 20), rows(feed, 24 * 19, 24 * 21)  # a day comes again
    taken = batch.set_column(2, "wind_speed", pa.array(batch["wind_speed"].to_numpy() * 1852 / 3600))
    with pytest.raises(BatchError, match="m s-1 instead of knot"):
        check_rows(taken, feed, stations, now=at(24 * 21), recent=recent)


def test_any_check_may_refuse_the_batch(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"limits": "batch"})
    with pytest.raises(BatchError, match=r"refused: 1 of 192 rows: wind_speed … m s-1 is outside 0 to 60"):
        check_rows(rows(feed, change=lambda wind: wind.__setitem__((3, 3), 61.0)), feed, stations, now=at(49))
    feed = make_feed(checks={"completeness": {"at_least": 0.9, "severity": "batch"}})
    some = rows(feed).take(pa.array([0, 1, 2, 3, 188, 189, 190, 191]))  # the first hour and the last
    with pytest.raises(BatchError, match=r"4\.2% of 48 times at 4 locations are there, at least 90% are expected"):
        check_rows(some, feed, stations, now=at(49))


def test_what_is_off_is_not_looked_at(make_feed: MakeFeed, stations: Locations) -> None:
    names = ("persistence", "step", "buddy", "unit_change", "drift", "completeness", "order", "freshness")
    feed = make_feed(checks=dict.fromkeys(names, False))
    checked = check_rows(rows(feed, change=freeze), feed, stations, now=at(4900), recent=rows(feed, 48, 96))
    assert {entry["check"] for entry in checked.report["checks"]}.isdisjoint(names)
    assert (checked.warnings, checked.report["not_judged"]) == ((), [])


def test_the_newest_value_of_a_live_feed_is_late(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed()
    # The newest is of hour 47 and due at hour 48: three hours are allowed.
    assert check_rows(rows(feed), feed, stations, now=at(51)).warnings == ()
    late = check_rows(rows(feed), feed, stations, now=at(52))
    assert late.warnings == ("the newest value is of 2020-01-02 23:00 UTC, 4 steps late",)
    assert check_rows(rows(feed), feed, stations, now=at(52), live=False).warnings == ()
    archive = make_feed(mode="archive")
    assert check_rows(rows(archive), archive, stations, now=at(5200)).warnings == ()
    patient = make_feed(checks={"freshness": {"within": "1d"}})
    assert check_rows(rows(patient), patient, stations, now=at(52)).warnings == ()


def test_labels_that_wrap_are_reported(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(checks={"order": {"at_most": 0.01}})
    table = rows(feed)
    order = np.concatenate([np.arange(6, 30), np.arange(6), np.arange(30, 48)])  # once back
    turned = table.take(pa.array((order[:, None] * 4 + np.arange(4)).ravel()))
    assert check_rows(turned, feed, stations, now=at(49)).warnings == (
        "2.1% of the times go back from row to row of a location",
    )


def test_drift_is_told_with_how_much_is_usual(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(variables={"wind_speed": {}}, checks={"buddy": "off"})
    recent = rows(feed, 0, 24 * 20)
    moved = rows(feed, 24 * 20, 24 * 24, change=lambda wind: wind.__iadd__(1.0))
    assert check_rows(rows(feed, 24 * 20, 24 * 24), feed, stations, now=at(24 * 24), recent=recent).warnings == ()
    (warning,) = check_rows(moved, feed, stations, now=at(24 * 24), recent=recent).warnings
    assert warning.startswith(
        "wind_speed is distributed differently from the last weeks: distance 1.00, usually at most "
    )


def with_known(table: pa.Table, feed: Feed, known: list[datetime | None]) -> pa.Table:
    schema = row_schema(feed, known=True)
    return table.add_column(2, schema.field("known_at"), pa.array(known, schema.field("known_at").type))


def test_revisions_of_a_key_are_rows_of_their_own(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed()
    one = rows(feed, 0, 1)
    both = pa.concat_tables([with_known(one, feed, [at(5)] * 4), with_known(one, feed, [at(3)] * 4)])
    checked = check_rows(pa.concat_tables([both, both]), feed, stations, now=at(6), live=False)
    assert checked.report["counts"] == {"given": 16, "accepted": 8, "refused": 0, "collapsed": 8}
    assert checked.accepted.schema == row_schema(feed, known=True)
    told = [(row["location"], row["known_at"]) for row in checked.accepted.to_pylist()]
    assert told == [(name, at(hour)) for name in "ABCD" for hour in (3, 5)]
    clash = pa.concat_tables([both, both.set_column(3, "wind_speed", pa.array(np.ones(8)))])
    assert check_rows(clash, feed, stations, now=at(6), live=False).report["counts"]["refused"] == 8


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, "known_at is missing"),
        (at(30), "known_at 2020-01-02 06:00:00+00:00 is outside 1850-01-01 00:00:00 to 2020-01-01 10:00:00"),
        (datetime(1700, 1, 1, tzinfo=UTC), "known_at 1700-01-01 00:00:00+00:00 is outside"),
        (at(2), "known_at 2020-01-01 02:00:00+00:00 is before the valid_time"),
    ],
)
def test_when_a_row_became_known_can_be_meant(
    make_feed: MakeFeed, stations: Locations, known: datetime | None, reason: str
) -> None:
    feed = make_feed()
    table = with_known(rows(feed, 8, 9), feed, [known, at(9), at(9), at(9)])
    checked = check_rows(table, feed, stations, now=at(9))
    (row,) = checked.refused.to_pylist()
    assert row["reason"].startswith(reason)
    assert json.loads(row["values"])["known_at"] == (known.isoformat() if known else None)


def test_covariates_are_known_before_their_time_and_tell_of_times_to_come(
    make_feed: MakeFeed, stations: Locations
) -> None:
    feed = make_feed("nwp")
    table = with_known(rows(make_feed(), 0, 48), feed, [at(0)] * 192)
    checked = check_rows(table, feed, stations, now=at(1))
    assert (checked.refused.num_rows, checked.warnings) == (0, ())
    with pytest.raises(ContractError, match=r"test\.nwp: rows lack the column 'known_at'"):
        check_rows(rows(make_feed()), feed, stations, now=at(1))


MEAN = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "wind_speed", "min_value": 50}}
PAIR = {
    "type": "expect_column_pair_values_a_to_be_greater_than_b",
    "kwargs": {"column_A": "air_temperature", "column_B": "wind_speed"},
}


def test_an_expectation_of_the_product_warns_or_refuses(make_feed: MakeFeed, stations: Locations) -> None:
    feed = make_feed(expectations=[MEAN])
    (warning,) = check_rows(rows(feed), feed, stations, now=at(49)).warnings
    assert warning.startswith("wind_speed breaks expect_column_mean_to_be_between (min_value 50): observed 10.0")
    feed = make_feed(expectations=[{**MEAN, "severity": "batch"}])
    with pytest.raises(BatchError, match="breaks expect_column_mean_to_be_between"):
        check_rows(rows(feed), feed, stations, now=at(49))


def test_an_expectation_of_rows_refuses_those_that_break_it(make_feed: MakeFeed, stations: Locations) -> None:
    within = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "wind_speed", "max_value": 13.0}}
    feed = make_feed(expectations=[{**within, "severity": "row"}])
    checked = check_rows(rows(feed), feed, stations, now=at(49))
    expected = int((rows(feed)["wind_speed"].to_numpy() > 13.0).sum())
    assert 0 < checked.refused.num_rows == expected
    (reason,) = {text.split()[0] + text[text.index(" breaks") :] for text in checked.refused["reason"].to_pylist()}
    assert reason == "wind_speed breaks expect_column_values_to_be_between (max_value 13.0)"
    feed = make_feed(expectations=[{**PAIR, "severity": "row"}])
    with_pair = check_rows(rows(feed), feed, stations, now=at(49))
    assert with_pair.accepted.num_rows == 0
    assert "air_temperature, wind_speed" in with_pair.refused["reason"][0].as_py()
    assert json.dumps(with_pair.report, allow_nan=False)


@pytest.mark.parametrize(
    ("expectation", "problem"),
    [
        ({"type": "expect_column_meen", "kwargs": {}}, "Great Expectations has no 'expect_column_meen'"),
        ({"type": MEAN["type"], "kwargs": {"column": "wind_speed", "minimum": 3}}, "minimum: extra fields"),
        ({"type": MEAN["type"], "kwargs": {}}, "column: field required"),
        ({**MEAN, "severity": "row"}, "tests the batch and not rows; make its severity batch or warn"),
    ],
)
def test_an_expectation_that_cannot_be_meant_is_one_line(
    make_feed: MakeFeed, stations: Locations, expectation: dict[str, Any], problem: str
) -> None:
    feed = make_feed(expectations=[MEAN, expectation])
    with pytest.raises(ConfigError, match=problem) as caught:
        check_quality(feed)
    assert "feed.quality.expectations.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        check_rows(rows(feed), feed, stations, now=at(49))


def test_an_expectation_that_cannot_be_evaluated_is_reported(make_feed: MakeFeed, stations: Locations) -> None:
    of_text = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "location", "min_value": 1}}
    feed = make_feed(expectations=[of_text])
    with pytest.raises(ConfigError, match="expect_column_mean_to_be_between: could not be carried out: "):
        check_rows(rows(feed), feed, stations, now=at(49))
