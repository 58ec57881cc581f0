"""Each real, broken data set is ingested with a product file alone, and what its README lists as broken is found."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.jobs.ingest import FeedResult
from tests.real.cases import CASES, data_folder, prepare, take

DATA = data_folder()
DAYS = 12
"""Days of the Agulhas feed that the test ingests, a file each; the table of README.md has all 366."""


@dataclass(frozen=True)
class Expected:
    """What a case comes to."""

    added: int
    refused: dict[str, int]
    odd: tuple[str, ...] = ()
    """Beginnings or parts of warnings that must be there."""
    thinned: int = 0


EXPECTED = {
    # Padded header names, M for missing, 1 to 20 minutes apart; a dew point that stays 0 for a day.
    "asos": Expected(70_909, {}, ("76 values of dew_point_temperature at 1 location in runs",), thinned=1_641),
    # The hour that autumn doubles, at three stations: all rows find their place. 1048 mph do not.
    "nycflights": Expected(26_114, {"wind_speed … m s-1 is outside 0 to 115": 1}),
    # A vane frozen for 104 days, an anemometer iced in.
    "mast": Expected(
        95_629, {}, ("the longest has 15,029 values of 200.5 degree", "the longest has 27 values of 0.215 m s-1")
    ),
    # Dates that only unpickling would read.
    "meteonet": Expected(0, {"the whole payload: ": 1}),
    # Service days are read rightly, drag-fill errors contradict each other, a dead sensor says zero for three years.
    "auckland": Expected(
        1_220_577,
        {"does not exist in Pacific/Auckland": 120, "duplicate key, a later row of the payload has other values": 119},
        (
            "the longest has 25,557 values of 0 at 107 Quay Street",
            "7 rows have ambiguous times: clocks in Pacific/Auckland went back",
        ),
    ),
    "irish-wind": Expected(78_888, {}),
    "us-daily": Expected(196_350, {}, ("disagree with their neighbours",)),
    # The unit of time in an attribute that is not CF.
    "agulhas": Expected(2_552 * DAYS, {}, ("time has its units in the attribute 'Unit'",)),
    "era5": Expected(744 * 33 * 49, {}),
    "radar-bom": Expected(2_359_294, {}),
    "radar-knmi": Expected(504_712, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_real_data_set_is_taken_in_and_its_faults_are_found(case: str, tmp_path: Path) -> None:
    if DATA is None or not (DATA / CASES[case]).exists():
        pytest.skip(f"NIGHTCAST_REAL_DATA has no {CASES[case]}")
    expected = EXPECTED[case]
    product, settings = prepare(case, tmp_path, DATA)
    if case == "agulhas":
        for day in sorted((tmp_path / "days").iterdir())[DAYS:]:
            day.unlink()
    result = take(product, settings)
    assert (result.added, result.revised, result.thinned) == (expected.added, 0, expected.thinned)
    assert result.refused == sum(expected.refused.values())
    for reason, count in expected.refused.items():
        assert [told for said, told in result.reasons.items() if reason in said] == [count]
    for odd in expected.odd:
        assert [warning for warning in result.warnings if odd in warning], odd
    _again(take(product, settings), expected)
    shutil.rmtree(settings.home)


def _again(result: FeedResult, expected: Expected) -> None:
    assert (result.added, result.revised) == (0, 0)


def test_every_case_has_its_expectation() -> None:
    assert set(EXPECTED) == set(CASES)
