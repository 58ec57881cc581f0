"""The demo: load the history, train, then replay two weeks with a nightly retrain among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.config import Product, Settings
from pipeline.demo.sample_feed import DAYS, FAULTS, RETRAIN_AFTER, SampleFeed
from pipeline.errors import UsageError
from pipeline.jobs.forecast import ForecastResult, forecast
from pipeline.jobs.ingest import IngestResult, ingest
from pipeline.jobs.job import OnProgress, ignore_progress
from pipeline.jobs.retrain import RetrainResult, retrain
from pipeline.jobs.verify import VerifyResult, verify
from pipeline.workspace import Workspace

INGEST, FORECAST, RETRAIN = timedelta(hours=6, minutes=15), timedelta(hours=7, minutes=30), timedelta(hours=2)
"""Time of day of each job; verification runs with the forecast."""


@dataclass(frozen=True)
class Day:
    """The results of one day of the demo."""

    number: int
    fault: str
    """What went wrong in the feed, or empty."""
    ingest: IngestResult
    forecast: ForecastResult
    verify: VerifyResult


@dataclass(frozen=True)
class Outcome:
    """The results of the demo."""

    product: Product
    history: IngestResult
    retrains: tuple[RetrainResult, ...]
    days: tuple[Day, ...]
    refused: dict[str, int]
    """Number of rows in quarantine, by reason."""
    page: Path
    home: Path
    seconds: float

    def as_data(self) -> dict[str, Any]:
        """Return the outcome as JSON data."""
        return {
            "product": self.product.name,
            "seconds": round(self.seconds, 1),
            "home": str(self.home),
            "report": str(self.page),
            "refused": self.refused,
            "history": self.history.model_dump(mode="json"),
            "retrains": [one.model_dump(mode="json") for one in self.retrains],
            "forecasts": [day.forecast.model_dump(mode="json") for day in self.days],
            "verification": self.days[-1].verify.model_dump(mode="json"),
        }


def run_demo(
    settings: Settings,
    *,
    report: Callable[[str], None],
    on_progress: OnProgress = ignore_progress,
    budget: timedelta = timedelta(minutes=1),
) -> Outcome:
    """Run the demo in this home; `report` is called with a line of Rich markup for each event.

    Each retrain takes at most about `budget`.

    A second run finds everything done and changes nothing.

    Raises:
        UsageError: the home holds observations of this product that are not from the demo.
    """
    started = time.monotonic()
    sample = SampleFeed(settings.home / "demo" / "inbox", budget=budget)
    ws = Workspace(sample.product, settings)
    _check_home(ws, sample)

    report(f"[bold]{sample.starts:%Y-%m-%d}[/]  the history is delivered")
    sample.deliver_history()
    history = ingest(ws, at=sample.starts)
    report(f"            {_ingest_text(history)}; training the first models …")
    retrains = [retrain(ws, at=sample.starts, on_progress=on_progress)]
    report(f"            {_verdict_text(retrains[0])}")

    days = []
    for number in range(DAYS):
        if number == RETRAIN_AFTER:
            report(f"[bold]{sample.day(number):%Y-%m-%d}[/]  02:00, the nightly retrain …")
            retrains.append(retrain(ws, at=sample.day(number) + RETRAIN, on_progress=on_progress))
            report(f"            {_verdict_text(retrains[-1])}")
        days.append(_run_day(sample, ws, number))
        report(_day_line(sample, days[-1]))
    return Outcome(
        product=ws.product,
        history=history,
        retrains=tuple(retrains),
        days=tuple(days),
        refused=ws.feed.quarantine.reasons(),
        page=days[-1].forecast.folder.parent / "latest" / "report.html",
        home=settings.home,
        seconds=time.monotonic() - started,
    )


def _run_day(sample: SampleFeed, ws: Workspace, number: int) -> Day:
    day = sample.day(number)
    sample.deliver(number)
    ingested = ingest(ws, at=day + INGEST)
    (issued,) = forecast(ws, at=day + FORECAST)
    verified = verify(ws, at=day + FORECAST)
    return Day(number, FAULTS.get(number, ""), ingested, issued, verified)


def _check_home(ws: Workspace, sample: SampleFeed) -> None:
    since = ws.feed.observations.table.property("live_since")
    if since not in (None, sample.starts.isoformat()):
        raise UsageError(
            f"{ws.settings.home} holds observations of {ws.product.name} that are not from the demo; "
            "use another home, e.g. NIGHTCAST_HOME=.nightcast-demo nightcast demo"
        )


def _ingest_text(result: IngestResult) -> str:
    parts = [f"{result.added:,} new row{'' if result.added == 1 else 's'}"]
    parts += [f"{result.revised} revised"] if result.revised else []
    parts += [f"[yellow]{result.refused} refused[/]"] if result.refused else []
    return ", ".join(parts) if result.payloads else "nothing new"


def _verdict_text(result: RetrainResult) -> str:
    again = "trained before: " if result.repeated else ""
    lines = (
        f"{verdict.challenger} [{'yellow' if verdict.objections else 'green'}]{verdict.decision}[/]: {verdict.reason}"
        for verdict in result.verdicts
    )
    return again + "\n            ".join(lines)


def _day_line(sample: SampleFeed, day: Day) -> str:
    one = day.forecast
    colour = ("green", "green", "yellow", "red", "red")[one.fallback_level]
    again = " (published before)" if one.repeated else ""
    level = f"[{colour}]{one.fallback_level.label}[/]"
    text = f"[bold]{sample.day(day.number):%Y-%m-%d}[/]  {_ingest_text(day.ingest)}; forecast by {level}{again}"
    return text + (f"\n            [dim]{day.fault}[/]" if day.fault else "")
