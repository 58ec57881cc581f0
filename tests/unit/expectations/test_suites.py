import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expectations.observations import OFF_GRID, Check, ObservationContract, VariableLimits, batch_check, off_grid
from expectations.suites import build_suite, error_of, explain_expectation, index_of, is_row_expectation, validate
from models.steps import CalendarStep

HOUR = timedelta(hours=1)
CONTRACT = ObservationContract(
    stations=("A", "B"),
    variables=(VariableLimits("wind_speed", "m s-1", 0, 60), VariableLimits("flow", "m3 s-1")),
    step=HOUR,
    now=datetime(2020, 1, 1, 12, tzinfo=UTC),
    tolerance=HOUR,
)


def batch(rows: Sequence[tuple[str | None, str | None, float, float]]) -> pd.DataFrame:
    times, locations, wind, flow = zip(*rows, strict=True)
    columns = {"location": pd.array(locations, "str"), "wind_speed": wind, "flow": flow}
    stamps = pd.to_datetime(list(times), utc=True, format="ISO8601").as_unit("us")
    past = off_grid(stamps.tz_localize(None).to_numpy("M8[us]"), HOUR)
    return pd.DataFrame({"valid_time": stamps} | columns | {OFF_GRID: past})


def broken(frame: pd.DataFrame) -> dict[str, list[int] | None]:
    found = {}
    for outcome in validate(frame, CONTRACT.checks()).results:
        check = CONTRACT.checks()[index_of(outcome)]
        if not outcome.success:
            found[f"{check.kind} {check.column}"] = outcome.result.get("unexpected_index_list")
    return found


def test_months_are_a_grid() -> None:
    times = np.array(["2020-02-01", "2020-02-01T00:00:00.000001", "NaT"], "datetime64[us]")
    assert off_grid(times, CalendarStep("month")).tolist() == [0, 1, 0]
    checks = replace(CONTRACT, step=CalendarStep("month"), known=True).checks()
    grid = next(check for check in checks if check.kind == "grid")
    assert grid.fault == "valid_time … is off the time grid, one step every month"
    early = next(check for check in checks if check.column == "early_us")
    assert early.high == timedelta(days=31) / timedelta(microseconds=1)


def test_a_sound_batch_breaks_nothing_and_nulls_are_sound() -> None:
    rows = [("2020-01-01T06", "A", 0.0, -1e9), ("2020-01-01T13", "B", 60.0, np.nan)]
    assert broken(batch([*rows, ("2020-01-01T07", "A", np.nan, np.nan)])) == {}


@pytest.mark.parametrize(
    ("row", "check"),
    [
        ((None, "A", 1.0, 1.0), "present valid_time"),
        (("2020-01-01T06", None, 1.0, 1.0), "present location"),
        (("2020-01-01T06", "a", 1.0, 1.0), "location location"),
        (("2020-01-01T06:00:00.000001", "A", 1.0, 1.0), "grid off_grid_us"),
        (("2020-01-01T14", "A", 1.0, 1.0), "future valid_time"),
        (("1849-12-31T23", "A", 1.0, 1.0), "past valid_time"),
        (("0001-01-01T00", "A", 1.0, 1.0), "past valid_time"),
        (("2020-01-01T06", "A", 60.000001, 1.0), "limits wind_speed"),
        (("2020-01-01T06", "A", -0.1, 1.0), "limits wind_speed"),
        (("2020-01-01T06", "A", np.inf, 1.0), "limits wind_speed"),
        (("2020-01-01T06", "A", 1.0, np.inf), "limits flow"),
        (("2020-01-01T06", "A", 1.0, -np.inf), "limits flow"),
        (("2020-01-01T06", "A", 9.96e36, 1.0), "limits wind_speed"),
    ],
)
def test_each_fault_breaks_its_own_expectation_alone(
    row: tuple[str | None, str | None, float, float], check: str
) -> None:
    assert broken(batch([("2020-01-01T08", "A", 1.0, 1.0), row])) == {check: [1]}


def test_rows_that_share_a_key_are_all_reported() -> None:
    rows = [("2020-01-01T06", name, value, 1.0) for name, value in [("A", 1.0), ("B", 1.0), ("A", 2.0)]]
    assert broken(batch(rows)) == {"unique valid_time": [0, 2]}


def test_zero_rows_are_a_failure() -> None:
    assert broken(batch([("2020-01-01T06", "A", 1.0, 1.0)]).iloc[:0]) == {"rows valid_time": None}


def test_every_expectation_carries_its_reason() -> None:
    metas = [expectation.meta or {} for expectation in build_suite(CONTRACT.checks()).expectations]
    assert [meta["reason"] for meta in metas] == [check.fault for check in CONTRACT.checks()]


def test_severity_is_told_to_great_expectations() -> None:
    checks = (batch_check("drift", "warn", high=1.0), batch_check("completeness", "batch", low=0.5))
    assert [each.severity.value for each in build_suite(checks).expectations] == ["warning", "critical"]


def test_a_summary_has_a_row_a_subject_and_what_was_not_judged_holds() -> None:
    frame = pd.DataFrame(
        {"subject": ["", "x", "y"], "drift": [np.nan, 0.5, 1.5], "completeness": [0.4, np.nan, np.nan]}
    )
    checks = (batch_check("drift", "warn", high=1.0), batch_check("completeness", "batch", low=0.5))
    told = sorted(validate(frame, checks).results, key=index_of)
    assert [outcome.result["unexpected_index_list"] for outcome in told] == [[2], [0]]


def custom(name: str, **arguments: object) -> Check:
    return Check("custom", "wind_speed", "words", expectation=name, arguments=arguments)


def test_a_further_expectation_is_carried_out_as_it_is_given() -> None:
    rows = batch([("2020-01-01T06", "A", 1.0, 1.0), ("2020-01-01T07", "A", 9.0, 1.0)])
    checks = (
        custom("expect_column_mean_to_be_between", column="wind_speed", min_value=6),
        custom("expect_column_values_to_be_in_set", column="wind_speed", value_set=[1.0, 2.0]),
        custom("expect_column_mean_to_be_between", column="location", min_value=6),
    )
    mean, within, wrong = sorted(validate(rows, checks).results, key=index_of)
    assert (mean.success, float(mean.result["observed_value"])) == (False, 5.0)
    assert within.result["unexpected_index_list"] == [1]
    assert (error_of(mean), error_of(within)) == ("", "")
    assert "mean" in error_of(wrong)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("expect_column_mean_to_be_between", {"column": "x", "min_value": 2}, ""),
        ("expect_column_meen_to_be_between", {"column": "x"}, "has no 'expect_column_meen_to_be_between'"),
        ("expect_column_mean_to_be_between", {"min_value": 2}, "column: field required"),
        ("expect_column_mean_to_be_between", {"column": "x", "min": 2}, "min: extra fields not permitted"),
        ("expect_column_mean_to_be_between", {"column": "x", "min_value": "low"}, "min_value: "),
    ],
)
def test_what_is_wrong_with_an_expectation_is_one_line(name: str, arguments: dict[str, object], problem: str) -> None:
    told = explain_expectation(name, arguments)
    assert problem in told
    assert bool(told) == bool(problem)
    assert "\n" not in told


def test_a_frame_is_let_go_and_the_next_one_is_judged_by_itself() -> None:
    bad, good = (batch([("2020-01-01T06", name, 1.0, 1.0)]) for name in ("C", "A"))
    seen = weakref.ref(bad)
    assert broken(bad) == {"location location": [0]}
    del bad
    gc.collect()
    assert seen() is None
    assert broken(good) == {}


def test_an_expectation_that_holds_but_for_a_few_rows_tells_them() -> None:
    rows = batch([("2020-01-01T06", "A", 1.0, 1.0), ("2020-01-01T07", "A", 9.0, 1.0)])
    check = custom("expect_column_values_to_be_between", column="wind_speed", max_value=2, mostly=0.5)
    (told,) = validate(rows, [check]).results
    assert (told.success, told.result["unexpected_index_list"]) == (True, [1])


def test_threads_judge_their_own_frames() -> None:
    frames = [batch([("2020-01-01T06", "A", 1.0, 1.0), ("2020-01-01T07", name, 1.0, 1.0)]) for name in "ABCD"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(broken, frames)) == [{}, {}, *[{"location location": [1]}] * 2]


def test_some_expectations_judge_rows_and_others_the_batch() -> None:
    assert is_row_expectation("expect_column_values_to_be_between")
    assert is_row_expectation("expect_column_pair_values_a_to_be_greater_than_b")
    assert is_row_expectation("expect_compound_columns_to_be_unique")
    assert not is_row_expectation("expect_column_mean_to_be_between")
    assert not is_row_expectation("expect_table_row_count_to_be_between")


def test_a_run_leaves_no_file_no_thread_and_no_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    threads = set(threading.enumerate())
    validate(batch([("2020-01-01T06", "A", 1.0, 1.0)]), CONTRACT.checks())
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) == threads
    assert capfd.readouterr() == ("", "")


def test_importing_the_contract_does_not_import_great_expectations() -> None:
    heavy = "{'great_expectations', 'pipeline'} & set(sys.modules)"
    code = f"import sys, expectations.suites; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
