"""The flow `forecast`."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from prefect import State
from prefect.states import Completed
from prefect.variables import Variable

from flows import artifacts
from flows.artifacts import minute
from flows.running import current_time, make_flow
from pipeline.jobs.forecast import ForecastResult
from pipeline.markdown import inert
from pipeline.workspace import Workspace

PAGES_VARIABLE = "nightcast_pages"
"""Prefect variable with the address of the report pages, if they are served."""
MAX_PLOT_BYTES = 200_000


def describe(title: str, result: ForecastResult) -> tuple[str, str]:
    """Return Markdown of a forecast with its plot and, if pages are served, a link, and one line about it."""
    version = f", version {result.version}" if result.version else ""
    missing = f" Newest values missing at {inert(', '.join(result.missing))}." if result.missing else ""
    pages = Variable.get(PAGES_VARIABLE, default=None)
    name = result.folder.name or "latest"
    periods = f" for {' to '.join(dict.fromkeys((result.periods[0], result.periods[-1])))}" if result.periods else ""
    issued = f"Issued {minute(result.issue_time)}{periods}, {result.fallback_level.title}"
    parts = [
        f"## {inert(title)}",
        _plot(result.folder / "forecast.svg"),
        f"{issued}. Model {inert(result.model)}{version}; input {result.input_age_hours:g} h old.{missing}",
        inert("; ".join(result.notes)),
        f"[Open the report]({pages}/{result.product}/{name}/report.html)" if pages else "",
    ]
    return "\n\n".join(part for part in parts if part), issued


def _plot(path: Path) -> str:
    """Return the plot as part of the text: it stays with the run, and a browser runs no script in it."""
    if not path.is_file() or path.stat().st_size > MAX_PLOT_BYTES:
        return ""
    return f"![Fan chart of the forecast](data:image/svg+xml;base64,{b64encode(path.read_bytes()).decode()})"


def finish(ws: Workspace, results: list[ForecastResult]) -> State[Any]:
    """Publish the last forecast and return the final state."""
    if not results:
        return Completed(message="The range contains no issue time")
    last = results[-1]
    artifacts.publish(ws.product.name, "forecast", *describe(ws.product.title or ws.product.name, last))
    many = f"{len(results)} forecasts, the last " if len(results) > 1 else ""
    repeated = ", published before" if last.repeated else ""
    return Completed(message=f"{many}issued {minute(last.issue_time)}, {last.fallback_level.title}{repeated}")


forecast = make_flow("forecast", finish, now=current_time)
