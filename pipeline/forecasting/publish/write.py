"""Publishing: every form of one forecast in one folder that appears whole, then the pointer `latest`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import atomic
from pipeline.errors import NightcastError
from pipeline.forecasting.publish.netcdf import write_netcdf
from pipeline.forecasting.publish.page import Background, report_data
from pipeline.forecasting.publish.table import PublishedForecast
from pipeline.report import ReportData, fan_svg, render
from pipeline.times import stamp

log = logging.getLogger(__name__)
LATEST = "latest"
INDEX = "forecast.json"


def publish(forecast: PublishedForecast, background: Callable[[], Background], root: Path) -> tuple[Path, bool]:
    """Publish a forecast below `root`; return its folder and whether it is new.

    A folder that is there already stays as it is: an issue time is published once. `latest` then leads to the newest
    issue time that is published, and `forecast.json` in each folder names the files with their SHA-256.
    """
    folder = root / stamp(forecast.issue_time)
    fresh = not folder.is_dir()
    if fresh:
        kinds = [output.kind for output in forecast.product.publish]
        with atomic.new_folder(folder) as scratch:
            if "parquet" in kinds:
                table = pa.Table.from_pandas(forecast.tidy(), preserve_index=False)
                pq.write_table(table, scratch / "forecast.parquet")
            if "netcdf" in kinds:
                write_netcdf(forecast, scratch / "forecast.nc")
            if "report" in kinds:
                _write_page(forecast, background, scratch)
            (scratch / INDEX).write_text(json.dumps(_index(forecast, scratch), indent=1), "utf-8")
    _lead_to_newest(root)
    return folder, fresh


def _write_page(forecast: PublishedForecast, background: Callable[[], Background], folder: Path) -> None:
    """Write page and picture; a store that cannot be read costs the page, not the forecast."""
    links = tuple((path.name, path.name) for path in sorted(folder.iterdir()))
    try:
        page = report_data(forecast, background(), links)
    except NightcastError as error:
        log.error("%s: the forecast is published without its page: %s", forecast.product.name, error)
        return
    (folder / "report.html").write_text(render(page), "utf-8")
    (folder / "forecast.svg").write_text(picture(page), "utf-8")


def _lead_to_newest(root: Path) -> None:
    link = root / LATEST
    while True:  # another process may publish a newer one between the look and the pointing
        newest = max(path.parent.name for path in root.glob(f"[!.]*/{INDEX}") if path.parent != link)
        if link.is_symlink() and link.readlink().name == newest:
            return
        atomic.replace_symlink(link, newest)


def picture(page: ReportData) -> str:
    """Return the fan charts of the first target variable as one SVG picture."""
    return fan_svg(page.variables[0], issue_time=page.issue_time, step=page.step, time_label=page.time_label)


def _index(forecast: PublishedForecast, folder: Path) -> dict[str, object]:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    return {
        "product": forecast.product.name,
        "issue_time": forecast.issue_time.isoformat(),
        "valid_times": [instant.isoformat() for instant in forecast.valid_times],
        "model": forecast.model,
        "version": forecast.version,
        "digest": forecast.digest,
        "fallback_level": forecast.fallback_level,
        "code_version": forecast.code_version,
        "files": files,
    }
