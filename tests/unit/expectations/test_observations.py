from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from expectations.observations import ObservationContract, VariableLimits, off_grid
from expectations.reasons import explain

NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("limits", "value", "reason"),
    [
        ((0.0, 60.0), 1048.4, "wind_speed 1048.4 m s-1 is outside 0 to 60"),
        ((0.0, None), -1.0, "wind_speed -1 m s-1 is below 0 or not finite"),
        ((None, 60.0), 60.5, "wind_speed 60.5 m s-1 is above 60 or not finite"),
        ((None, None), float("inf"), "wind_speed inf m s-1 is not finite"),
    ],
)
def test_the_reason_tells_value_unit_and_limits(
    limits: tuple[float | None, float | None], value: float, reason: str
) -> None:
    assert explain([VariableLimits("wind_speed", "m s-1", *limits).check().reason_for(value)]) == reason


def test_a_plain_count_has_no_unit_in_its_reason() -> None:
    reason = VariableLimits("pedestrian_count", "1", 0, 20_000).check().reason_for(3e5)
    assert explain([reason]) == "pedestrian_count 300000 is outside 0 to 20000"


def test_an_open_limit_still_bars_infinity() -> None:
    check = VariableLimits("x", "1").check()
    assert isinstance(check.low, float)
    assert isinstance(check.high, float)
    assert -np.inf < check.low < -1e308
    assert 1e308 < check.high < np.inf


def test_the_contract_names_everything_that_must_hold() -> None:
    contract = ObservationContract(("A",), (VariableLimits("x", "1", 0, 1),), HOUR, NOW, tolerance=HOUR)
    kinds = [check.kind for check in contract.checks()]
    assert kinds == ["rows", "present", "present", "location", "grid", "past", "future", "limits", "unique"]
    reasons = {check.kind: explain([check.reason_for("V")]) for check in contract.checks() if check.reason}
    assert reasons["location"] == "unknown location 'V'"
    assert reasons["grid"] == "valid_time V is off the time grid, one step every 3600 s"
    assert reasons["future"] == "valid_time V is in the future, after 2020-01-01 13:00:00"
    assert reasons["past"] == "valid_time V is before 1850-01-01 00:00:00"
    assert reasons["unique"] == "duplicate key, a later row of the payload has other values"


def test_off_grid_counts_from_the_epoch_and_from_a_phase() -> None:
    times = np.array(["2020-01-01T06:00", "2020-01-01T06:00:00.000001", "1969-12-31T23:30", "NaT"], "M8[us]")
    assert off_grid(times, HOUR).tolist() == [0, 1, 1_800_000_000, 0]
    phase = timedelta(minutes=30)
    assert off_grid(times, HOUR, phase).tolist() == [1_800_000_000, 1_800_000_001, 0, 0]


def test_rows_that_say_when_they_became_known_have_that_in_their_key() -> None:
    observed = ObservationContract(("A",), (), HOUR, NOW, tolerance=HOUR, known=True)
    assert observed.key == ("valid_time", "location", "known_at")
    assert observed.checks()[-1].columns == observed.key
    columns = [check.column for check in observed.checks() if check.kind == "known"]
    assert columns == ["known_at", "early_us"]
    forecasts = ObservationContract(("A",), (), HOUR, NOW, tolerance=HOUR, known=True, forecasts=True)
    (known,) = (check for check in forecasts.checks() if check.kind == "known")
    assert explain([known.reason_for("V")]) == "known_at V is outside 1850-01-01 00:00:00 to 2020-01-01 13:00:00"


def test_severity_is_row_unless_the_contract_says_otherwise() -> None:
    contract = ObservationContract(
        ("A",),
        (VariableLimits("x", "1"),),
        HOUR,
        NOW,
        tolerance=HOUR,
        severity={"grid": "batch", "persistence": "warn"},
        series_checks=("persistence", "step"),
    )
    severity = {check.kind: check.severity for check in contract.checks()}
    assert severity["grid"] == "batch"
    assert severity["persistence"] == "warn"
    assert {severity[kind] for kind in ("limits", "future", "past", "location", "unique", "step")} == {"row"}
