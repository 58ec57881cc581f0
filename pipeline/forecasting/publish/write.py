"""Publishing: every format of one forecast in one folder that appears whole, then the pointer `latest`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from pipeline import atomic
from pipeline.errors import ConfigError
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.publisher import Publisher
from pipeline.forecasting.publish.report_data import ReportContext
from pipeline.times import stamp

LATEST = "latest"
INDEX = "forecast.json"


def publish(forecast: PublishedForecast, context: Callable[[], ReportContext], root: Path) -> tuple[Path, bool]:
    """Publish a forecast below `root`; return its folder and whether it is new.

    An existing folder is left as it is: an issue time is published once. `latest` then points to the newest published
    issue time, and `forecast.json` in each folder has the SHA-256 of every file.

    Raises:
        ConfigError: an installed format has no publisher.
    """
    folder = root / stamp(forecast.issue_time)
    new = not folder.is_dir()
    if new:
        with atomic.new_folder(folder) as scratch:
            for output in forecast.product.publish:
                if not isinstance(output, Publisher):
                    problem = f"'{output.kind}' is installed without a publisher"
                    raise ConfigError(forecast.product.name, "publish", problem, "see nightcast.publishers")
                output.write(forecast, scratch, context)
            (scratch / INDEX).write_text(json.dumps(_index(forecast, scratch), indent=1), "utf-8")
    _point_to_newest(root)
    return folder, new


def _point_to_newest(root: Path) -> None:
    link = root / LATEST
    while True:  # another process may publish a newer one in between
        newest = max(path.parent.name for path in root.glob(f"[!.]*/{INDEX}") if path.parent != link)
        if link.is_symlink() and link.readlink().name == newest:
            return
        atomic.replace_symlink(link, newest)


def _index(forecast: PublishedForecast, folder: Path) -> dict[str, object]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
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
