"""Published forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.markup import escape

from pipeline.cli.console import minute, out
from pipeline.jobs.forecast import ForecastResult


def show(results: Sequence[ForecastResult]) -> None:
    """Print a line for each forecast, and the folder of the last one."""
    for one in results:
        repeated = ", published before" if one.repeated else ""
        missing = f", newest values missing at {', '.join(one.missing)}" if one.missing else ""
        hours = one.input_age_hours
        age = f"input {hours:.0f} h old" if isfinite(hours) else "no recent input"
        periods = f" for {' to '.join(dict.fromkeys((one.periods[0], one.periods[-1])))}" if one.periods else ""
        out.print(
            f"{one.product} {minute(one.issue_time)}{periods}: {one.fallback_level.title}, {one.model}, "
            f"{age}{escape(missing)}{repeated}"
        )
        for note in one.notes:
            out.print(f"  [yellow]note[/] {escape(note)}")
    out.print(f"published in {results[-1].folder}")
