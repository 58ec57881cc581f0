"""Every fallback level, reached by the right cause, labelled, finite and in order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.baselines.ridge import RidgeVar
from models.errors import ModelError
from pipeline.config import load_product
from pipeline.errors import NoDataError, StoreError
from pipeline.forecasting import fallback
from pipeline.forecasting.predict import Issued
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.tracking import Registry, TrackingError
from pipeline.times import Cadence
from pipeline.training.fit import baselines
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import ProductHome, Trained
from tests.world import fill, issue, record_rows

DAY = timedelta(days=1)


def _issue(place: ProductHome, *, days_later: int = 0, ws: Workspace | None = None) -> Issued:
    """Forecast the last issue time whose newest frame is in the record, or days later."""
    when = Cadence.of(place.product).latest_issue(place.end) + days_later * DAY
    found = issue(ws or place.workspace, when)
    quantiles = found.served.quantiles
    assert quantiles.shape == (2, 1, 4, 7)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles >= 0).all()
    rows = found.rows.to_pandas()
    assert set(rows["rung"]) == {found.served.candidate.fallback_level}
    assert rows["published"].sum() == 8
    assert set(rows.loc[rows["published"], "model"]) == {found.served.candidate.model.name}
    return found


def _forget(place: ProductHome, *, stations: tuple[str, ...], last_days: int = 1000) -> None:
    """Write the observations anew without the newest days of some stations."""
    wide = pd.read_csv(place.product.folder / "wind.csv")
    wide.loc[len(wide) - min(last_days, len(wide)) :, list(stations)] = np.nan
    wide.to_csv(place.product.folder / "wind.csv", index=False)
    shutil.rmtree(place.workspace.feed.observations.table.uri)
    fill(place.product, place.settings)
    path = place.workspace.feed.observations
    assert path.newest() is not None


def _baselines(place: Trained) -> tuple[str, ...]:
    return baselines(place.product, grid=False)


def _damage(place: Trained, file: str) -> None:
    path = place.root / "models" / place.retrained.digest / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _lose_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> Path:
        raise TrackingError("MLflow at nowhere: the artifact is gone")

    monkeypatch.setattr(Registry, "download", fetch)


def test_rung_0_complete_input(trained: Trained) -> None:
    found = _issue(trained)
    candidate = found.served.candidate
    assert (candidate.fallback_level, candidate.version, candidate.digest) == (0, 1, trained.retrained.digest)
    assert candidate.model.name == "ridge-var"
    assert found.served.notes == ()
    assert (found.state.age_steps, found.state.missing, found.input_age_hours) == (0, (), 7)
    assert set(found.served.shadows) == set(_baselines(trained))


def test_rung_1_one_value_missing(trained: Trained) -> None:
    _forget(trained, stations=("S1",), last_days=1)
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 1
    assert (found.state.missing, found.input_age_hours) == (("S1",), 7)


def test_rung_2_the_newest_frame_is_missing(trained: Trained) -> None:
    found = _issue(trained, days_later=2)
    assert found.served.candidate.fallback_level == 2
    assert found.served.candidate.model.name == "ridge-var"
    assert (found.state.age_steps, found.input_age_hours) == (2, 7 + 48)
    assert found.state.missing == ("S0", "S1", "S2", "S3")


def test_rung_4_nothing_in_the_context_is_known(trained: Trained) -> None:
    found = _issue(trained, days_later=30)
    assert (found.served.candidate.fallback_level, found.served.candidate.model.name) == (4, "climatology")
    assert found.served.candidate.version == 1
    assert (found.state.age_steps, found.input_age_hours) == (None, float("inf"))


def test_rung_3_the_champion_is_damaged_and_cannot_be_fetched_f28(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback.Bundle, "verify", lambda self: self)  # damaged after it was looked at
    _damage(trained, "challenger/model.safetensors")
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 3
    assert found.served.candidate.model.name == "damped-anomaly"  # best of the baselines on held-out issue times
    assert "champion unusable" in found.served.notes[0]
    assert "damaged" in found.served.notes[0]


@pytest.mark.parametrize("file", ["bundle.json", "challenger/card.json", "challenger/model.safetensors"])
def test_rung_4_the_whole_bundle_is_damaged_and_cannot_be_fetched_f28(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    _damage(trained, file)
    _lose_artifacts(monkeypatch)
    found = _issue(trained)
    assert (found.served.candidate.fallback_level, found.served.candidate.version) == (4, None)
    assert any("champion unusable" in note for note in found.served.notes)
    assert found.served.shadows == {}


def test_a_damaged_champion_is_fetched_again_f28(trained: Trained) -> None:
    expected = _issue(trained).served.quantiles
    for file in ("bundle.json", "challenger/model.safetensors", "climatology/card.json"):
        _damage(trained, file)
        found = _issue(trained)
        assert found.served.candidate.fallback_level == 0
        np.testing.assert_array_equal(found.served.quantiles, expected)
    shutil.rmtree(trained.root / "models")
    assert _issue(trained).served.candidate.fallback_level == 0


def test_rung_4_nothing_was_ever_trained_f28(fresh: Callable[..., ProductHome]) -> None:
    found = _issue(fresh())
    assert (found.served.candidate.fallback_level, found.served.candidate.model.name) == (4, "climatology")
    assert (found.served.candidate.version, found.served.candidate.digest) == (None, "")
    assert found.served.notes == ("no champion", "no fallback")


def test_rung_3_refused_and_never_a_champion(trained: Trained) -> None:
    trained.workspace.registry.client.delete_registered_model_alias("tiny-wind", "champion")
    found = _issue(trained)
    assert (found.served.candidate.fallback_level, found.served.candidate.version) == (3, 1)
    assert found.served.notes == ("no champion",)


def test_the_last_known_champion_serves_when_the_registry_is_down_f27(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _issue(trained)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = trained.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:1"})
    found = issue(Workspace(trained.product, down), expected.issue_time)
    assert found.served.candidate.fallback_level == 0
    assert found.served.candidate.digest == trained.retrained.digest
    np.testing.assert_array_equal(found.served.quantiles, expected.served.quantiles)
    assert "registry not reached, using the last champion known here" in found.served.notes[0]

    pointer = trained.root / "models" / "serving.json"
    for damage in (b"{", b"[]", b'{"champion": [1]}', b'{"champion": ["1", 2]}', b"\xff"):
        pointer.write_bytes(damage)
        assert issue(Workspace(trained.product, down), expected.issue_time).served.candidate.fallback_level == 4


def test_a_broken_database_of_the_registry_is_a_registry_that_is_down_f27(trained: Trained) -> None:
    when = _issue(trained).issue_time
    uri = f"sqlite:///{trained.settings.home}/broken.db"
    (trained.settings.home / "broken.db").write_bytes(b"garbage" * 1000)
    found = issue(Workspace(trained.product, trained.settings.model_copy(update={"tracking_uri": uri})), when)
    assert found.served.candidate.fallback_level == 0


def test_a_champion_that_learnt_from_later_data_forecasts_no_earlier_issue(trained: Trained) -> None:
    card = json.loads((trained.root / "models" / trained.retrained.digest / "bundle.json").read_text())
    cadence = Cadence.of(trained.product)
    border = cadence.latest_issue(trained.retrained.verdict.since)
    assert card["data_until"] == border.isoformat()
    assert issue(trained.workspace, border).served.candidate.fallback_level == 0
    found = issue(trained.workspace, border - DAY)
    assert (found.served.candidate.fallback_level, found.served.candidate.version) == (4, None)
    assert "champion version 1 learnt from data after this issue time" in found.served.notes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda q: np.full_like(q, np.nan), "not finite"),
        (lambda q: q[..., ::-1], "below the quantile before"),
        (lambda q: q - 1000, "below 0"),
        (lambda q: q[:, :, :, :2], "locations, not"),
    ],
)
def test_a_model_that_breaks_its_contract_gives_way_to_the_next_rung(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, spoil: Any, words: str
) -> None:
    real = RidgeVar.predict
    monkeypatch.setattr(RidgeVar, "predict", lambda self, inputs: spoil(real(self, inputs)))
    found = _issue(trained)
    assert (found.served.candidate.fallback_level, found.served.candidate.model.name) == (3, "damped-anomaly")
    assert found.served.notes[0].startswith("ridge-var broke its contract")
    assert words in found.served.notes[0]


def test_a_model_that_fails_gives_way_to_the_next_rung(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(RidgeVar, "predict", fail)
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 3
    assert found.served.notes == ("ridge-var failed: no",)


def test_whatever_a_model_raises_a_lower_rung_forecasts(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("out of it")

    monkeypatch.setattr(RidgeVar, "predict", fail)
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 3
    assert found.served.notes == ("ridge-var failed: MemoryError: out of it",)


def test_a_baseline_that_breaks_its_contract_is_no_shadow(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.baselines.reference import Persistence

    real = Persistence.predict
    monkeypatch.setattr(Persistence, "predict", lambda self, inputs: real(self, inputs) * np.nan)
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 0
    assert set(found.served.shadows) == set(_baselines(trained)) - {"persistence"}
    assert found.served.notes[0].startswith("baseline persistence left out: ")


def test_stations_in_another_order_are_never_forecast_by_a_model_of_the_old_one_f18(trained: Trained) -> None:
    path = trained.product.folder / "stations.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    found = _issue(trained)
    assert found.served.candidate.fallback_level == 4
    assert any("was trained for other stations" in note for note in found.served.notes)


def test_other_quantiles_are_never_labelled_as_the_new_ones(trained: Trained) -> None:
    text = trained.file.read_text().replace(
        "horizon: 2", "horizon: 2\n  quantiles: [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]"
    )
    trained.file.write_text(text)
    when = Cadence.of(trained.product).latest_issue(trained.end)
    found = issue(Workspace(load_product(trained.file), trained.settings), when)
    assert (found.served.candidate.fallback_level, found.served.candidate.version) == (4, None)


@pytest.mark.parametrize(
    ("stations", "level"), [((), 0), (("S0",), 1), (("S0", "S1"), 1), (("S0", "S1", "S2", "S3"), 4)]
)
def test_any_share_of_stations_may_be_missing_f17(trained: Trained, stations: tuple[str, ...], level: int) -> None:
    if stations:
        _forget(trained, stations=stations, last_days=20)
    found = _issue(trained)
    assert found.served.candidate.fallback_level == level
    assert found.state.missing == stations


def test_nothing_known_at_all_is_no_data(trained: Trained) -> None:
    shutil.rmtree(trained.workspace.feed.observations.table.uri)
    with pytest.raises(NoDataError, match="nothing was known by"):
        _issue(trained)


def test_rung_4_from_a_single_day_of_history(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=1)
    _issue(place)


def test_rows_say_who_forecast_on_what_and_with_which_code(trained: Trained) -> None:
    rows = _issue(trained).rows
    assert rows.num_rows == 8 * (1 + len(_baselines(trained)))  # champion and baselines
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["lead"], first["location"], first["published"], first["version"]) == (1, "S0", True, 1)
    assert first["digest"] == trained.retrained.digest
    assert first["code_version"]
    assert first["levels"] == list(trained.product.forecast.quantiles)
    assert pa.types.is_list(rows.schema.field("quantiles").type)


# Covariates: missing ones stop nobody.

NWP = {
    "source": {"kind": "files", "path": "nwp.csv", "format": "csv"},
    "step": "1d",
    "locations": {"kind": "stations", "path": "stations.csv"},
    "variables": {"wind_speed": {}},
}


@pytest.fixture
def with_nwp(fresh: Callable[..., ProductHome]) -> Trained:
    """A champion of a product with a weather model that knew the truth a day ahead, up to a month before the end."""
    place = fresh(covariates={"nwp": NWP})
    rows = record_rows(place.product)
    keep = pc.less(rows["valid_time"], pa.scalar(place.end - 30 * DAY, rows.schema.field("valid_time").type))
    rows = rows.filter(keep)
    known_at = pc.subtract(rows["valid_time"], pa.scalar(3 * DAY))
    store = OpenFeed(place.product.covariates["nwp"], place.settings).observations
    store.append(rows.append_column("known_at", known_at), at=place.end, payload="1" * 64, history=True)
    return Trained(place.product, place.settings, place.end, jobs.retrain(place.workspace, at=place.end))


def test_a_champion_serves_on_while_a_covariate_is_missing_f17(
    with_nwp: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _issue(with_nwp, days_later=-35)
    assert (told.state.untold, told.state.fallback_level) == ((), 0)
    found = _issue(with_nwp)
    assert found.state.untold == ("nwp.wind_speed",)
    assert (found.served.candidate.fallback_level, found.served.candidate.model.name) == (1, "ridge-var")
    assert found.served.notes == ("nothing is known ahead of nwp.wind_speed",)

    ws = with_nwp.workspace

    class Torn:
        def read(self, **_: object) -> None:
            raise StoreError("the newest commit is torn")

    ws.covariates["nwp"].observations = Torn()  # type: ignore[assignment]
    broken = _issue(with_nwp, ws=ws)
    assert broken.served.candidate.fallback_level == 1
    assert broken.served.notes[0] == "covariate nwp cannot be read: the newest commit is torn"
    np.testing.assert_array_equal(broken.served.quantiles, found.served.quantiles)
