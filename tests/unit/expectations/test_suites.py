import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expectations.observations import ObservationContract, VariableLimits
from expectations.suites import build_suite, validate

HOUR = timedelta(hours=1)
CONTRACT = ObservationContract(
    stations=("A", "B"),
    variables=(VariableLimits("wind_speed", "m s-1", 0, 60), VariableLimits("flow", "m3 s-1")),
    step=HOUR,
    now=datetime(2020, 1, 1, 12, tzinfo=UTC),
    tolerance=HOUR,
)


def batch(rows: list[tuple[str | None, str | None, float, float]]) -> pd.DataFrame:
    times, locations, wind, flow = zip(*rows, strict=True)
    columns = {"location": pd.array(locations, "str"), "wind_speed": wind, "flow": flow}
    return pd.DataFrame({"valid_time": pd.to_datetime(list(times), utc=True, format="ISO8601").as_unit("us")} | columns)


def broken(frame: pd.DataFrame) -> dict[str, list[int]]:
    found = {}
    for outcome in validate(frame, CONTRACT).results:
        check = CONTRACT.checks()[outcome.expectation_config.meta["check"]]
        if not outcome.success:
            found[f"{check.kind} {check.column}"] = outcome.result.get("unexpected_index_list")
    return found


def test_a_sound_batch_breaks_nothing_and_nulls_are_sound() -> None:
    rows = [("2020-01-01T06", "A", 0.0, -1e9), ("2020-01-01T13", "B", 60.0, np.nan)]
    assert broken(batch([*rows, ("2020-01-01T07", "A", np.nan, np.nan)])) == {}


@pytest.mark.parametrize(
    ("row", "check"),
    [
        ((None, "A", 1.0, 1.0), "present valid_time"),
        (("2020-01-01T06", None, 1.0, 1.0), "present location"),
        (("2020-01-01T06", "a", 1.0, 1.0), "known location"),
        (("2020-01-01T06:00:00.000001", "A", 1.0, 1.0), "grid off_grid_us"),
        (("2020-01-01T14", "A", 1.0, 1.0), "future valid_time"),
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
    # F11, F16
    assert broken(batch([("2020-01-01T08", "A", 1.0, 1.0), row])) == {check: [1]}


def test_rows_that_share_a_key_are_all_told() -> None:
    # F13
    rows = [("2020-01-01T06", name, value, 1.0) for name, value in [("A", 1.0), ("B", 1.0), ("A", 2.0)]]
    assert broken(batch(rows)) == {"unique valid_time": [0, 2]}


def test_zero_rows_are_a_failure() -> None:
    # F19
    assert broken(batch([("2020-01-01T06", "A", 1.0, 1.0)]).iloc[:0]) == {"rows valid_time": None}


def test_every_expectation_carries_its_reason() -> None:
    reasons = [expectation.meta["reason"] for expectation in build_suite(CONTRACT).expectations]
    assert reasons == [check.template for check in CONTRACT.checks()]


def test_a_run_leaves_no_file_no_thread_and_no_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    threads = set(threading.enumerate())
    validate(batch([("2020-01-01T06", "A", 1.0, 1.0)]), CONTRACT)
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) == threads
    assert capfd.readouterr() == ("", "")


def test_importing_the_contract_does_not_import_great_expectations() -> None:
    heavy = "{'great_expectations', 'pipeline'} & set(sys.modules)"
    code = f"import sys, expectations.suites; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
