from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipeline.report
from pipeline import atomic
from pipeline.config import load_product
from pipeline.errors import ContractError, StoreError
from pipeline.forecasting.publish import write
from pipeline.forecasting.publish.netcdf import NetCdf
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_context import read_report_context
from pipeline.forecasting.publish.write import publish
from pipeline.jobs.forecast import ForecastResult
from pipeline.locations import read_locations
from pipeline.store.forecasts import Forecasts
from pipeline.times import stamp
from pipeline.training.fit import baseline_names
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import Trained
from tests.world import make_settings

DAY = timedelta(days=1)
FILES = ["forecast.json", "forecast.nc", "forecast.parquet", "forecast.svg", "report.html"]


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _stored(trained: Trained, result: ForecastResult) -> PublishedForecast:
    rows = trained.workspace.forecasts.read(result.issue_time)
    return PublishedForecast.from_rows(trained.product, read_locations(trained.product.feed), rows)


def test_every_format_is_published_with_its_digest(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    assert sorted(path.name for path in result.folder.iterdir()) == FILES
    index = json.loads((result.folder / "forecast.json").read_text())
    found = _hashes(result.folder)
    found.pop("forecast.json")
    assert index["files"] == found
    assert (index["product"], index["model"], index["version"], index["fallback_level"]) == (
        "tiny-wind",
        "ridge-var",
        1,
        0,
    )
    assert index["digest"] == trained.retrained.digest
    assert index["issue_time"] == result.issue_time.isoformat()
    assert len(index["valid_times"]) == 2
    assert (result.folder.parent / "latest").resolve() == result.folder
    assert (result.folder.parent / "latest").readlink() == Path(stamp(result.issue_time))


def test_the_parquet_file_has_the_stored_rows(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    rows = trained.workspace.forecasts.read(result.issue_time).to_pandas()
    rows = rows[rows["published"]].sort_values(["valid_time", "variable", "location"])
    table = pq.read_table(result.folder / "forecast.parquet").to_pandas()
    table = table.sort_values(["valid_time", "variable", "location"])
    levels = [f"q{level:g}" for level in trained.product.forecast.quantiles]
    np.testing.assert_array_equal(table[levels].to_numpy(np.float32), np.stack(rows["quantiles"].tolist()))
    assert table["valid_time"].tolist() == rows["valid_time"].tolist()
    assert table["location"].tolist() == rows["location"].tolist()
    assert set(table["model_digest"]) == {trained.retrained.digest}
    assert set(table["fallback_level"]) == {0}
    assert str(table["issue_time"].dtype) == "datetime64[us, UTC]"


def test_an_issue_time_is_published_once(trained: Trained) -> None:
    (first,) = jobs.forecast(trained.workspace, at=trained.end)
    before = _hashes(first.folder)
    times = [path.stat().st_mtime_ns for path in sorted(first.folder.iterdir())]
    (second,) = jobs.forecast(trained.workspace, at=trained.end)
    assert (first.repeated, second.repeated) == (False, True)
    assert second.model_dump(exclude={"repeated"}) == first.model_dump(exclude={"repeated"})
    assert _hashes(first.folder) == before
    assert [path.stat().st_mtime_ns for path in sorted(first.folder.iterdir())] == times
    assert trained.workspace.forecasts.read(first.issue_time).num_rows == 8 * (1 + len(baseline_names(grid=False)))


def test_latest_moves_forward_only(trained: Trained) -> None:
    root = trained.root / "published"
    (new,) = jobs.forecast(trained.workspace, at=trained.end)
    (old,) = jobs.forecast(trained.workspace, at=trained.end - 3 * DAY)
    assert old.folder.is_dir()
    assert (root / "latest").resolve() == new.folder
    (newer,) = jobs.forecast(trained.workspace, at=trained.end + DAY)
    assert (root / "latest").resolve() == newer.folder


def test_latest_leads_to_published_folders_only(trained: Trained) -> None:
    root = trained.root / "published"
    for name in ("zzz", ".20991231T000000Z.abc"):
        (root / name).mkdir(parents=True)
    (root / "notes.txt").write_text("mine")
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    assert (root / "latest").resolve() == result.folder


def test_latest_stays_with_a_newer_forecast_that_another_process_published(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    (new,) = jobs.forecast(trained.workspace, at=trained.end)
    root, hidden = new.folder.parent, trained.root / "hidden"
    new.folder.rename(hidden)
    real = atomic.replace_symlink

    def overtaken(link: Path, target: str) -> None:
        if hidden.exists():  # another process publishes the newer one at the worst moment
            hidden.rename(new.folder)
            real(link, new.folder.name)
        real(link, target)

    monkeypatch.setattr(atomic, "replace_symlink", overtaken)
    jobs.forecast(trained.workspace, at=trained.end - 3 * DAY)
    assert (root / "latest").resolve() == new.folder


@pytest.mark.parametrize(
    ("where", "function"),
    [(NetCdf, "write"), (pipeline.report, "render"), (pipeline.report, "fan_svg"), (write, "_index")],
)
def test_a_folder_is_complete_or_absent(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, where: object, function: str
) -> None:
    (old,) = jobs.forecast(trained.workspace, at=trained.end - DAY)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, function, kill)
        with pytest.raises(KeyboardInterrupt):
            jobs.forecast(trained.workspace, at=trained.end)
    root = trained.root / "published"
    assert sorted(path.name for path in root.iterdir()) == [old.folder.name, "latest"]
    assert (root / "latest").resolve() == old.folder

    (again,) = jobs.forecast(trained.workspace, at=trained.end)
    assert not again.repeated  # it was stored before, and is published only now
    assert sorted(path.name for path in again.folder.iterdir()) == FILES


def test_a_forecast_published_after_a_crash_has_the_same_files(trained: Trained, tmp_path: Path) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    before = _hashes(result.folder)
    shutil.rmtree(result.folder)
    (again,) = jobs.forecast(trained.workspace, at=trained.end)
    assert _hashes(again.folder) == before


def _forecast_at_once(folder: str, at: datetime, ready: Any, results: Any) -> None:
    product, settings = load_product(Path(folder) / "product.yaml"), make_settings(Path(folder))
    ready.wait()
    (result,) = jobs.forecast(Workspace(product, settings), at=at)
    results.put((result.digest, result.model, _hashes(result.folder)))


def test_two_processes_at_once_make_one_forecast(trained: Trained) -> None:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(2), context.Queue()
    arguments = (str(trained.product.folder), trained.end, ready, results)
    processes = [context.Process(target=_forecast_at_once, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    one, other = (results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    results.close()
    assert [process.exitcode for process in processes] == [0, 0]
    assert one == other
    store = trained.workspace.forecasts
    (issue_time,) = store.issue_times()
    rows = store.read(issue_time).to_pandas()
    assert len(rows) == 8 * (1 + len(baseline_names(grid=False)))
    assert not rows.duplicated(["valid_time", "location", "variable", "model"]).any()


def test_the_order_of_the_stored_rows_does_not_matter(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    rows = trained.workspace.forecasts.read(result.issue_time)
    shuffled = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
    locations = read_locations(trained.product.feed)
    one, other = (PublishedForecast.from_rows(trained.product, locations, table) for table in (rows, shuffled))
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
    pd.testing.assert_frame_equal(one.tidy(), other.tidy())


def test_stations_that_come_and_go_leave_published_forecasts_alone(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    path = trained.product.folder / "stations.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "S9,New,-7.0,53.0"]) + "\n")
    (again,) = jobs.forecast(trained.workspace, at=trained.end)
    assert again.repeated
    arranged = _stored(trained, result)
    assert arranged.locations.ids == ("S0", "S1", "S2")
    assert np.isfinite(arranged.quantiles).all()


def test_a_stored_forecast_with_gaps_is_never_published(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    rows = trained.workspace.forecasts.read(result.issue_time)
    with pytest.raises(ContractError, match="has gaps"):
        PublishedForecast.from_rows(
            trained.product, read_locations(trained.product.feed), rows.filter(rows["published"]).slice(1)
        )
    other = replace(read_locations(trained.product.feed), ids=("A", "B", "C", "D"))
    with pytest.raises(ContractError, match="other stations"):
        PublishedForecast.from_rows(trained.product, other, rows)


def test_a_page_of_a_forecast_whose_model_is_gone_can_still_be_made(trained: Trained) -> None:
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    shutil.rmtree(trained.root / "models")
    forecast = _stored(trained, result)
    ws = trained.workspace
    context = read_report_context(
        forecast, ws.cadence, ws.feed, {}, scores=ws.scores, ledger=ws.ledger, bundles=ws.layout.models
    )
    assert context.champion == ""
    folder, new = publish(forecast, lambda: context, trained.root / "elsewhere")
    assert new
    assert "<html" in (folder / "report.html").read_text()


def test_only_the_formats_of_the_product_are_written(trained: Trained) -> None:
    trained.file.write_text(trained.file.read_text() + "publish: [{kind: parquet}]\n")
    (result,) = jobs.forecast(Workspace(load_product(trained.file), trained.settings), at=trained.end)
    assert sorted(path.name for path in result.folder.iterdir()) == ["forecast.json", "forecast.parquet"]


def test_a_store_that_fails_publishes_nothing(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise StoreError("disk full")

    monkeypatch.setattr(Forecasts, "add", fail)
    with pytest.raises(StoreError):
        jobs.forecast(trained.workspace, at=trained.end)
    assert not (trained.root / "published").exists()


def test_formats_may_stand_in_any_order(trained: Trained) -> None:
    kinds = "publish: [{kind: report}, {kind: zarr}, {kind: netcdf}, {kind: parquet}]\n"
    trained.file.write_text(trained.file.read_text() + kinds)
    (result,) = jobs.forecast(Workspace(load_product(trained.file), trained.settings), at=trained.end)
    assert sorted(path.name for path in result.folder.iterdir()) == sorted([*FILES, "forecast.zarr"])
    page = (result.folder / "report.html").read_text()
    assert ">forecast.nc</a>" in page
    assert ">forecast.parquet</a>" in page
