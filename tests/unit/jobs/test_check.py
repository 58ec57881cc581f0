from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import NoDataError
from pipeline.jobs.check import check_product, is_warning
from pipeline.workspace import Workspace
from tests.world import make_product, make_settings

NOW = datetime(2020, 1, 1, tzinfo=UTC)


def _with_an_old_model(folder: Path, *, feed: dict[str, Any] | None = None, **covariate: Any) -> Workspace:
    """A product with a covariate from a database whose rows ended in 2001."""
    connection = sqlite3.connect(folder / "nwp.db")
    with connection:
        connection.execute("create table nwp (time text, location text, wind_speed real, run text)")
        connection.execute("insert into nwp values ('2001-01-03', 'S0', 5, '2001-01-01T06:00Z')")
    connection.close()
    query = "select * from nwp where time >= :since and time < :until"
    nwp = {
        "source": {"kind": "sql", "url": "sqlite:///nwp.db", "query": query, "known_at": "run"},
        "step": "1d",
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": {"wind_speed": {}},
    }
    product = make_product(folder, stations=2, days=30, feed=feed or {}, covariates={"nwp": nwp | covariate})
    return Workspace(product, make_settings(folder))


def test_a_live_covariate_without_recent_data_beside_an_archive_suggests_the_mode_archive(tmp_path: Path) -> None:
    with pytest.raises(NoDataError) as caught:
        check_product(_with_an_old_model(tmp_path), at=NOW)
    assert str(caught.value) == (
        "tiny-wind.nwp: the source has no data of the last 2d; "
        "set mode: archive, as the product's feed does, if it is an archive that has ended"
    )


def test_a_covariate_in_mode_archive_is_valid(tmp_path: Path) -> None:
    facts = check_product(_with_an_old_model(tmp_path, mode="archive"), at=NOW)
    assert facts["nwp: first payload"].endswith(": 1 rows readable")


def test_a_live_covariate_without_recent_data_beside_a_live_feed_suggests_to_check_range_and_path(
    tmp_path: Path,
) -> None:
    ws = _with_an_old_model(tmp_path, feed={"mode": "live"})
    with pytest.raises(NoDataError, match="no data; check its time range and its path"):
        check_product(ws, at=NOW)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (
            1500,
            "trains on 731 issue times, compares on 366 held-out ones, about 183 independent; from the first",
        ),
        (
            60,
            "held-out ones in 4 folds, about 13 independent, too few for the gate's test: the best baseline serves "
            "until there are 16; from the first",
        ),
    ],
)
def test_it_tells_beforehand_what_the_gate_will_stand_on(tmp_path: Path, days: int, words: str) -> None:
    product = make_product(tmp_path, days=days, gate={"issues": None}, training={"validation": None})
    assert words in check_product(Workspace(product, make_settings(tmp_path)), at=NOW)["gate"]


@pytest.mark.parametrize(
    "changes",
    [{"gate": {"issues": None}, "training": {"validation": None}}, {"days": 100, "horizon": 80}, {"context": 30}],
)
def test_a_record_that_is_too_short_is_a_warning_with_a_remedy(tmp_path: Path, changes: dict[str, Any]) -> None:
    ws = Workspace(make_product(tmp_path, **{"days": 30, **changes}), make_settings(tmp_path))
    facts = check_product(ws, at=NOW)
    assert "gate" not in facts and is_warning("cannot train")
    assert re.fullmatch(
        r"on the first payload alone; \d+ matured issue times, training needs at least 30; load more history, lower "
        r"forecast\.context or forecast\.horizon, or wait until more forecasts can be verified",
        facts["cannot train"],
    )


def test_only_what_calls_for_an_action_is_a_warning() -> None:
    names = ("gate", "cannot train", "refused", "nwp: refused", "nwp: note", "left out")
    assert [name for name in names if is_warning(name)] == ["cannot train", "refused", "nwp: refused", "left out"]


def test_a_first_payload_without_rows_is_a_warning(tmp_path: Path) -> None:
    ws = _with_an_old_model(tmp_path, mode="archive")
    (path,) = tmp_path.glob("wind*.csv")
    path.write_text(path.read_text().splitlines()[0] + "\n")
    facts = check_product(ws, at=NOW)
    assert facts["not checked"] == "values, step and gate, because the first payload has no rows"
    assert is_warning("not checked")
