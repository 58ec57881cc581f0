"""Every fallback level, reached by the right cause, labelled, finite and in order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.base import Model
from models.baselines.ridge import RidgeVar
from models.errors import ModelError
from pipeline.config import load_product
from pipeline.errors import NoDataError, StoreError
from pipeline.forecasting.notes import Note, describe_note
from pipeline.forecasting.predict import IssuedForecast
from pipeline.forecasting.serving import RegisteredBundle
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.bundle import Bundle, Fit, read_bundle
from pipeline.registry.standing import LiveVerdict, VerdictKind, describe_live_verdict
from pipeline.registry.tracking import Registry, TrackingError
from pipeline.store.forecasts import CHAMPION, JUDGED
from pipeline.times import Cadence
from pipeline.training.evaluate import predict_issue, recalibrate_issue
from pipeline.training.fit import baseline_names
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import ProductHome, Trained
from tests.world import fill, issue, record_rows, take_snapshot

DAY = timedelta(days=1)


def _issue(home: ProductHome, *, days_later: int = 0, ws: Workspace | None = None) -> IssuedForecast:
    """Forecast the last issue time whose newest frame is in the record, or days later."""
    when = Cadence.of(home.product).latest_issue(home.end) + days_later * DAY
    found = issue(ws or home.workspace, when)
    quantiles = found.forecast.quantiles
    assert quantiles.shape == (2, 1, 4, 7)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles >= 0).all()
    rows = found.rows.to_pandas()
    assert set(rows["rung"]) == {found.forecast.made_by.fallback_level}
    assert rows["published"].sum() == 8
    assert set(rows.loc[rows["published"], "model"]) == {found.forecast.made_by.model.name}
    return found


def _delete_newest(home: ProductHome, *, stations: tuple[str, ...], last_days: int = 1000) -> None:
    """Store the observations again without the newest days of some stations."""
    wide = pd.read_csv(home.product.folder / "wind.csv")
    wide.loc[len(wide) - min(last_days, len(wide)) :, list(stations)] = np.nan
    wide.to_csv(home.product.folder / "wind.csv", index=False)
    shutil.rmtree(home.workspace.feed.observations.table.uri)
    fill(home.product, home.settings)
    path = home.workspace.feed.observations
    assert path.newest() is not None


def _baselines(home: Trained) -> tuple[str, ...]:
    return tuple(name for name in baseline_names(grid=False) if name != "ridge-var")


def _damage(home: Trained, file: str) -> None:
    path = home.root / "models" / home.retrained.digest / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _break_artifact_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> Path:
        raise TrackingError("MLflow at nowhere: the artifact is gone")

    monkeypatch.setattr(Registry, "download", fetch)


def test_level_0_on_complete_input(trained: Trained) -> None:
    found = _issue(trained)
    made_by = found.forecast.made_by
    assert (made_by.fallback_level, made_by.version, made_by.digest) == (0, 1, trained.retrained.digest)
    assert made_by.model.name == "ridge-var"
    assert found.forecast.notes == ()
    assert (found.input_state.age_steps, found.input_state.missing_locations, found.input_age_hours) == (0, (), 7)
    assert set(found.forecast.baseline_forecasts) == set(_baselines(trained))


def test_every_forecast_of_a_bundle_is_corrected(trained: Trained) -> None:
    digest = trained.retrained.digest
    bundle = read_bundle(trained.root / "models" / digest, digest=digest)
    found = _issue(trained)
    when = found.issue_time
    snapshot = take_snapshot(trained.workspace, known_by=when)
    windows = snapshot.windows([when], truth_at=when)
    expected = {"challenger": found.forecast.quantiles, **found.forecast.baseline_forecasts}
    for name, quantiles in expected.items():
        raw = predict_issue(bundle.serving.baseline(name), windows)
        corrected = recalibrate_issue(raw, bundle.serving.recalibration(name), windows)
        assert quantiles.tobytes() == corrected.tobytes() != raw.tobytes()
    raw = predict_issue(bundle.judged.challenger(), windows)
    assert found.forecast.judged is not None
    assert found.forecast.judged.tobytes() == recalibrate_issue(raw, bundle.judged.recalibration(), windows).tobytes()


def test_the_judged_fit_is_corrected_only_where_the_fit_beside_it_may_be(trained: Trained) -> None:
    digest = trained.retrained.digest
    bundle = read_bundle(trained.root / "models" / digest, digest=digest)
    for time, corrected in ((bundle.serving.data_until, True), (bundle.judged.data_until, False)):
        fit = bundle.fit_at(time)
        assert fit is not None
        assert (RegisteredBundle(bundle, 1, fit).judged.recalibration() is not None) is corrected


def test_level_1_when_one_value_is_missing(trained: Trained) -> None:
    _delete_newest(trained, stations=("S1",), last_days=1)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 1
    assert (found.input_state.missing_locations, found.input_age_hours) == (("S1",), 7)


def test_level_2_when_the_newest_frame_is_missing(trained: Trained) -> None:
    found = _issue(trained, days_later=2)
    assert found.forecast.made_by.fallback_level == 2
    assert found.forecast.made_by.model.name == "ridge-var"
    assert (found.input_state.age_steps, found.input_age_hours) == (2, 7 + 48)
    assert found.input_state.missing_locations == ("S0", "S1", "S2", "S3")


def test_level_4_when_nothing_in_the_context_is_known(trained: Trained) -> None:
    found = _issue(trained, days_later=30)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.model.name) == (4, "climatology")
    assert found.forecast.made_by.version == 1
    assert (found.input_state.age_steps, found.input_age_hours) == (None, float("inf"))


def test_level_3_when_the_champion_is_damaged_after_it_was_verified(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "verify", lambda self: self)  # damaged after it was verified
    _damage(trained, "challenger/model.safetensors")
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 3
    assert found.forecast.made_by.model.name == "damped-anomaly"  # best of the baselines on held-out issue times
    note = found.forecast.notes[0]
    assert (note.kind, note.names) == ("bundle_unusable", ("champion",))
    assert "damaged" in note.error


@pytest.mark.parametrize("file", ["bundle.json", "challenger/card.json", "challenger/model.safetensors"])
def test_level_4_when_the_bundle_is_damaged_and_cannot_be_fetched(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    _damage(trained, file)
    _break_artifact_store(monkeypatch)
    found = _issue(trained)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.version) == (4, None)
    assert ("bundle_unusable", ("champion",)) in [(note.kind, note.names) for note in found.forecast.notes]
    assert found.forecast.baseline_forecasts == {}


def test_a_damaged_champion_is_fetched_again(trained: Trained) -> None:
    expected = _issue(trained).forecast.quantiles
    for file in ("bundle.json", "challenger/model.safetensors", "climatology/card.json"):
        _damage(trained, file)
        found = _issue(trained)
        assert found.forecast.made_by.fallback_level == 0
        np.testing.assert_array_equal(found.forecast.quantiles, expected)
    shutil.rmtree(trained.root / "models")
    assert _issue(trained).forecast.made_by.fallback_level == 0


def test_level_4_when_nothing_was_ever_trained(fresh: Callable[..., ProductHome]) -> None:
    found = _issue(fresh())
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.model.name) == (4, "climatology")
    assert (found.forecast.made_by.version, found.forecast.made_by.digest) == (None, "")
    assert found.forecast.notes == (Note("no_bundle", ("champion",)), Note("no_bundle", ("fallback",)))


def test_level_3_when_every_challenger_was_refused(trained: Trained) -> None:
    trained.workspace.registry.client.delete_registered_model_alias("tiny-wind", "champion")
    found = _issue(trained)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.version) == (3, 1)
    assert found.forecast.notes == (Note("no_bundle", ("champion",)),)


def test_the_last_known_champion_serves_while_the_registry_is_down(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _issue(trained)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = trained.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:1"})
    found = issue(Workspace(trained.product, down), expected.issue_time)
    assert found.forecast.made_by.fallback_level == 0
    assert found.forecast.made_by.digest == trained.retrained.digest
    np.testing.assert_array_equal(found.forecast.quantiles, expected.forecast.quantiles)
    assert (found.forecast.notes[0].kind, found.forecast.notes[0].names) == ("registry_unreachable", ("champion",))

    pointer = trained.root / "models" / "serving.json"
    for damage in (b"{", b"[]", b'{"champion": [1]}', b'{"champion": ["1", 2]}', b"\xff"):
        pointer.write_bytes(damage)
        assert issue(Workspace(trained.product, down), expected.issue_time).forecast.made_by.fallback_level == 4


def test_a_registry_with_a_broken_database_counts_as_down(trained: Trained) -> None:
    when = _issue(trained).issue_time
    uri = f"sqlite:///{trained.settings.home}/broken.db"
    (trained.settings.home / "broken.db").write_bytes(b"garbage" * 1000)
    found = issue(Workspace(trained.product, trained.settings.model_copy(update={"tracking_uri": uri})), when)
    assert found.forecast.made_by.fallback_level == 0


def test_a_champion_trained_on_later_data_does_not_forecast_an_earlier_issue_time(trained: Trained) -> None:
    card = json.loads((trained.root / "models" / trained.retrained.digest / "bundle.json").read_text())
    cadence = Cadence.of(trained.product)
    border = cadence.latest_issue(trained.retrained.verdict.since)
    assert card["judged"]["data_until"] == border.isoformat() < card["data_until"]
    judged, refit = (issue(trained.workspace, when).forecast for when in (border, cadence.latest_issue(trained.end)))
    assert judged.made_by.fallback_level == refit.made_by.fallback_level == 0
    one, other = (forecast.made_by.model.state() for forecast in (judged, refit))
    assert any(not np.array_equal(one[name], other[name]) for name in one)
    found = issue(trained.workspace, border - DAY)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.version) == (4, None)
    assert Note("trained_on_later_data", ("champion",), version=1) in found.forecast.notes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda q: np.full_like(q, np.nan), "not finite"),
        (lambda q: q[..., ::-1], "below the quantile before"),
        (lambda q: q - 1000, "below 0"),
        (lambda q: q[:, :, :, :2], "locations, not"),
    ],
)
def test_a_model_that_fails_the_output_checks_gives_way_to_the_next_level(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, spoil: Any, words: str
) -> None:
    real = RidgeVar.predict
    monkeypatch.setattr(RidgeVar, "predict", lambda self, inputs: spoil(real(self, inputs)))
    found = _issue(trained)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.model.name) == (3, "damped-anomaly")
    note = found.forecast.notes[0]
    assert (note.kind, note.names) == ("broke_contract", ("ridge-var",))
    assert words in note.error


def test_a_model_that_fails_gives_way_to_the_next_level(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(RidgeVar, "predict", fail)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 3
    assert found.forecast.notes == (Note("model_failed", ("ridge-var",), error="no"),)


def test_whatever_a_model_raises_the_next_level_forecasts(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("out of it")

    monkeypatch.setattr(RidgeVar, "predict", fail)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 3
    assert found.forecast.notes == (Note("model_failed", ("ridge-var",), error="MemoryError: out of it"),)


def test_a_baseline_that_fails_the_output_checks_is_left_out(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.baselines.reference import Persistence

    real = Persistence.predict
    monkeypatch.setattr(Persistence, "predict", lambda self, inputs: real(self, inputs) * np.nan)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 0
    assert set(found.forecast.baseline_forecasts) == set(_baselines(trained)) - {"persistence"}
    assert (found.forecast.notes[0].kind, found.forecast.notes[0].names) == ("baseline_left_out", ("persistence",))


def test_a_model_of_another_order_of_stations_is_not_used(trained: Trained) -> None:
    path = trained.product.folder / "stations.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 4
    assert any("was trained for other stations" in note.error for note in found.forecast.notes)


def test_a_model_of_other_quantile_levels_is_not_used(trained: Trained) -> None:
    text = trained.file.read_text().replace(
        "horizon: 2", "horizon: 2\n  quantiles: [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]"
    )
    trained.file.write_text(text)
    when = Cadence.of(trained.product).latest_issue(trained.end)
    found = issue(Workspace(load_product(trained.file), trained.settings), when)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.version) == (4, None)


@pytest.mark.parametrize(
    ("stations", "level"), [((), 0), (("S0",), 1), (("S0", "S1"), 1), (("S0", "S1", "S2", "S3"), 4)]
)
def test_any_share_of_stations_may_be_missing(trained: Trained, stations: tuple[str, ...], level: int) -> None:
    if stations:
        _delete_newest(trained, stations=stations, last_days=20)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == level
    assert found.input_state.missing_locations == stations


def test_without_any_observation_there_is_no_data(trained: Trained) -> None:
    shutil.rmtree(trained.workspace.feed.observations.table.uri)
    with pytest.raises(NoDataError, match="nothing was known by"):
        _issue(trained)


def test_climatology_forecasts_from_a_single_day_of_history(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=1)
    _issue(home)


def test_rows_name_the_model_its_version_and_the_code(trained: Trained) -> None:
    rows = _issue(trained).rows
    assert rows.num_rows == 8 * (2 + len(_baselines(trained)))  # champion, its judged fit, and baselines
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["lead"], first["location"], first["published"], first["version"]) == (1, "S0", True, 1)
    assert first["digest"] == trained.retrained.digest
    assert first["code_version"]
    assert first["levels"] == list(trained.product.forecast.quantiles)
    assert pa.types.is_list(rows.schema.field("quantiles").type)


# Covariates: a missing one stops no forecast.

NWP = {
    "source": {"kind": "files", "path": "nwp.csv", "format": "csv"},
    "step": "1d",
    "locations": {"kind": "stations", "path": "stations.csv"},
    "variables": {"wind_speed": {}},
}


@pytest.fixture
def with_nwp(fresh: Callable[..., ProductHome]) -> Trained:
    """A champion of a product with a weather model that knew the truth a day ahead, up to a month before the end."""
    home = fresh(covariates={"nwp": NWP})
    rows = record_rows(home.product)
    keep = pc.less(rows["valid_time"], pa.scalar(home.end - 30 * DAY, rows.schema.field("valid_time").type))
    rows = rows.filter(keep)
    known_at = pc.subtract(rows["valid_time"], pa.scalar(3 * DAY))
    store = OpenFeed(home.product.covariates["nwp"], home.settings).observations
    store.append(rows.append_column("known_at", known_at), at=home.end, payload="1" * 64, history=True)
    return Trained(home.product, home.settings, home.end, jobs.retrain(home.workspace, at=home.end))


def test_a_champion_serves_while_a_covariate_is_missing(with_nwp: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = _issue(with_nwp, days_later=-35)
    assert (earlier.input_state.missing_covariates, earlier.input_state.fallback_level) == ((), 0)
    found = _issue(with_nwp)
    assert found.input_state.missing_covariates == ("nwp.wind_speed",)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.model.name) == (1, "ridge-var")
    assert found.forecast.notes == (Note("missing_covariates", ("nwp.wind_speed",)),)

    ws = with_nwp.workspace

    class Torn:
        def read(self, **_: object) -> None:
            raise StoreError("the newest commit is torn")

    ws.covariates["nwp"].observations = Torn()  # type: ignore[assignment]
    broken = _issue(with_nwp, ws=ws)
    assert broken.forecast.made_by.fallback_level == 1
    assert broken.forecast.notes[0] == Note("covariate_unreadable", ("nwp",), error="the newest commit is torn")
    np.testing.assert_array_equal(broken.forecast.quantiles, found.forecast.quantiles)


def test_the_judged_fit_forecasts_beside_the_refit_and_is_stored_under_its_own_name(trained: Trained) -> None:
    found = _issue(trained)
    source = found.forecast.made_by.source
    assert source is not None
    judged = source.bundle.judged.challenger()
    rows = found.rows.to_pandas()
    stored = np.stack(rows.loc[rows["model"] == JUDGED, "quantiles"].tolist()).reshape(found.forecast.quantiles.shape)
    assert found.forecast.judged is not None
    np.testing.assert_array_equal(stored, found.forecast.judged)
    assert not np.array_equal(stored, found.forecast.quantiles)
    assert judged.name == found.forecast.made_by.model.name
    border = Cadence.of(trained.product).latest_issue(trained.retrained.verdict.since)
    assert issue(trained.workspace, border).forecast.judged is None  # it makes that forecast itself


def test_a_judged_fit_that_fails_is_left_out_with_a_note(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Fit.challenger

    def load(self: Fit) -> Model:
        if self.folder.name == "judged":
            raise ModelError("no")
        return real(self)

    monkeypatch.setattr(Fit, "challenger", load)
    found = _issue(trained)
    assert found.forecast.judged is None
    assert found.forecast.notes == (Note("judged_left_out", error="no"),)


# Live verdicts: what serves where verification has shown that the champion is worse.


def _write_verdict(home: Trained, kind: VerdictKind, *, at: datetime) -> LiveVerdict:
    verdict = LiveVerdict(
        kind=kind, rivals=("damped-anomaly",), skill=-0.2, p_value=0.01, cases=40, since=at - 50 * DAY, until=at - DAY
    )
    home.workspace.ledger.write(
        "stepped_down",
        at=at,
        version=1,
        previous=1,
        who="verification",
        why=describe_live_verdict(verdict),
        numbers=verdict.model_dump_json(),
        key=f"{kind} {at}",
    )
    return verdict


def test_level_3_when_a_live_verdict_has_stepped_down(trained: Trained) -> None:
    expected = _issue(trained)
    when = expected.issue_time
    verdict = _write_verdict(trained, "worse_than_baseline", at=when - timedelta(hours=1))
    found = _issue(trained)
    assert (found.forecast.made_by.fallback_level, found.forecast.made_by.model.name) == (3, "damped-anomaly")
    assert found.forecast.notes == (Note("live_verdict", verdict=verdict),)
    np.testing.assert_array_equal(found.forecast.quantiles, found.forecast.baseline_forecasts["damped-anomaly"])
    # The champion forecasts beside it, as it would have.
    rows = found.rows.to_pandas()
    beside = np.stack(rows.loc[rows["model"] == CHAMPION, "quantiles"].tolist())
    np.testing.assert_array_equal(beside.reshape(expected.forecast.quantiles.shape), expected.forecast.quantiles)
    assert JUDGED not in set(rows["model"])


def test_an_issue_time_does_not_see_a_verdict_of_the_same_time_or_later(trained: Trained) -> None:
    when = _issue(trained).issue_time
    _write_verdict(trained, "worse_than_baseline", at=when)
    found = _issue(trained)
    assert (found.forecast.made_by.fallback_level, found.forecast.notes) == (0, ())
    assert found.forecast.champion is None


def test_level_4_on_no_input_although_a_live_verdict_has_stepped_down(trained: Trained) -> None:
    _write_verdict(trained, "worse_than_baseline", at=trained.end)
    found = _issue(trained, days_later=30)
    assert (found.forecast.made_by.fallback_level, found.forecast.notes) == (4, ())
    assert found.forecast.champion is None


def test_a_champion_that_fails_while_a_baseline_serves_is_a_note(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ModelError("no")

    _write_verdict(trained, "worse_than_baseline", at=trained.end - 3 * DAY)
    monkeypatch.setattr(RidgeVar, "predict", fail)
    found = _issue(trained)
    assert found.forecast.made_by.fallback_level == 3
    assert Note("champion_left_out", ("ridge-var",), error="no") == found.forecast.notes[-1]
    assert found.forecast.champion is None


def test_the_judged_fit_serves_after_a_live_verdict(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _issue(trained).forecast
    verdict = _write_verdict(trained, "refit_worse", at=trained.end - 3 * DAY)
    found = _issue(trained).forecast
    assert (found.made_by.fallback_level, found.made_by.judged, found.judged) == (0, True, None)
    assert found.notes == (Note("live_verdict", verdict=verdict),)
    assert before.judged is not None
    np.testing.assert_array_equal(found.quantiles, before.judged)
    for name, quantiles in before.baseline_forecasts.items():
        np.testing.assert_array_equal(found.baseline_forecasts[name], quantiles)  # those of the newest fit
    # A judged fit that fails gives way to the refit.
    _damage(trained, "judged/challenger/model.safetensors")
    monkeypatch.setattr(Bundle, "verify", lambda self: self)
    refit = _issue(trained).forecast
    assert (refit.made_by.fallback_level, refit.made_by.judged) == (0, False)
    np.testing.assert_array_equal(refit.quantiles, before.quantiles)


@pytest.mark.parametrize(("damage", "notes"), [("table", ["ledger_unreadable"]), ("verdict", [])])
def test_a_damaged_ledger_stops_no_forecast(trained: Trained, damage: str, notes: list[str]) -> None:
    """A row that holds no verdict is skipped, with a line in the log."""
    expected = _issue(trained).forecast.quantiles
    if damage == "table":
        for path in (trained.root / "ledger").rglob("*.parquet"):
            path.write_bytes(b"torn")
    else:
        row = {"at": trained.end - 3 * DAY, "version": 1, "previous": 1, "who": "?", "why": "?", "key": "?"}
        trained.workspace.ledger.write("stepped_down", numbers="{", **row)  # type: ignore[arg-type]
    found = _issue(trained).forecast
    assert found.made_by.fallback_level == 0
    assert [note.kind for note in found.notes] == notes
    np.testing.assert_array_equal(found.quantiles, expected)


def test_a_correction_of_another_horizon_is_left_out_with_a_note(trained: Trained) -> None:
    # Delay and horizon change by a step each: models forecast as many steps as before, so theirs is the same task.
    product = trained.product
    feed = product.feed.model_copy(update={"delay": product.feed.delay - DAY})
    forecast = product.forecast.model_copy(update={"horizon": product.forecast.horizon + 1})
    changed = product.model_copy(update={"feed": feed, "forecast": forecast})
    found = issue(Workspace(changed, trained.settings), Cadence.of(changed).latest_issue(trained.end))
    assert found.forecast.made_by.version == 1
    assert found.forecast.quantiles.shape[0] == product.forecast.horizon + 1
    assert [describe_note(note) for note in found.forecast.notes] == [
        "ridge-var is not corrected for its coverage: the horizon or the delay has changed since the retrain"
    ]
