"""The demo: load the history, train, then live through two weeks with one nightly retrain among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.config import Product, Settings
from pipeline.demo.world import DAYS, RETRAIN_AFTER, TROUBLES, World
from pipeline.errors import UsageError
from pipeline.jobs.forecast import ForecastResult, forecast
from pipeline.jobs.ingest import IngestResult, ingest
from pipeline.jobs.job import OnProgress, ignore_progress
from pipeline.jobs.retrain import RetrainResult, retrain
from pipeline.jobs.verify import VerifyResult, verify
from pipeline.workspace import Workspace

INGEST, VERIFY, NIGHT = timedelta(hours=6, minutes=15), timedelta(hours=7, minutes=30), timedelta(hours=2)


@dataclass(frozen=True)
class Day:
    """What one day of the demo brought."""

    number: int
    trouble: str
    ingest: IngestResult
    forecast: ForecastResult
    verify: VerifyResult


@dataclass(frozen=True)
class Outcome:
    """What the demo leaves behind."""

    product: Product
    history: IngestResult
    retrains: tuple[RetrainResult, ...]
    days: tuple[Day, ...]
    refused: dict[str, int]
    """All rows in quarantine, by reason."""
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
    settings: Settings, *, report: Callable[[str], None], on_progress: OnProgress = ignore_progress
) -> Outcome:
    """Run the demo in this home; `report` is called with a line of markup for each thing that happens.

    Run again, it finds everything done and changes nothing.

    Raises:
        UsageError: the home holds observations of this product that the demo did not make.
    """
    started = time.monotonic()
    world = World(settings.home / "demo" / "inbox")
    ws = Workspace(world.product, settings)
    _own(ws, world)

    report(f"[bold]{world.starts:%Y-%m-%d}[/]  the history arrives")
    world.deliver_history()
    history = ingest(ws, at=world.starts)
    report(f"            {_intake(history)}; training the first models …")
    retrains = [retrain(ws, at=world.starts, on_progress=on_progress)]
    report(f"            {_verdict(retrains[0])}")

    days = []
    for number in range(DAYS):
        if number == RETRAIN_AFTER:
            report(f"[bold]{world.day(number):%Y-%m-%d}[/]  02:00, the nightly retrain …")
            retrains.append(retrain(ws, at=world.day(number) + NIGHT, on_progress=on_progress))
            report(f"            {_verdict(retrains[-1])}")
        days.append(_live(world, ws, number))
        report(_line(world, days[-1]))
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


def _live(world: World, ws: Workspace, number: int) -> Day:
    day = world.day(number)
    world.deliver(number)
    ingested = ingest(ws, at=day + INGEST)
    (issued,) = forecast(ws, at=day + VERIFY)
    verified = verify(ws, at=day + VERIFY)
    return Day(number, TROUBLES.get(number, ""), ingested, issued, verified)


def _own(ws: Workspace, world: World) -> None:
    since = ws.feed.observations.table.property("live_since")
    if since not in (None, world.starts.isoformat()):
        raise UsageError(
            f"{ws.settings.home} holds observations of {ws.product.name} that the demo did not make; "
            "use another home, e.g. NIGHTCAST_HOME=.nightcast-demo nightcast demo"
        )


def _intake(result: IngestResult) -> str:
    parts = [f"{result.accepted:,} new row{'' if result.accepted == 1 else 's'}"]
    parts += [f"{result.revised} revised"] if result.revised else []
    parts += [f"[yellow]{result.refused} refused[/]"] if result.refused else []
    return ", ".join(parts) if result.payloads else "nothing new"


def _verdict(result: RetrainResult) -> str:
    colour, word = ("green", "promoted") if result.verdict.promoted else ("yellow", "refused, the champion stays")
    again = "as before: " if result.repeated else ""
    return f"{again}{result.verdict.challenger} version {result.version} [{colour}]{word}[/]: {result.verdict.reason}"


def _line(world: World, day: Day) -> str:
    one = day.forecast
    colour = ("green", "green", "yellow", "red", "red")[one.fallback_level]
    again = " (published before)" if one.repeated else ""
    level = f"[{colour}]{one.fallback_level.label}[/]"
    text = f"[bold]{world.day(day.number):%Y-%m-%d}[/]  {_intake(day.ingest)}; forecast by {level}{again}"
    return text + (f"\n            [dim]{day.trouble}[/]" if day.trouble else "")
