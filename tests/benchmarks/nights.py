"""What nightly retrains gain: nights of virtual time, with a retrain every night and without one after the first.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.nights [irish-wind ...] [--nights 60] [--keep DIR]

Both homes start from the same first retrain and publish forecasts for the same issue times; one is retrained every
night by the job `retrain`, gate and checks included. The CRPS is that of the published forecasts, as observed at the
end; the interval of the skill is a block bootstrap over issue times. Records too short for that give fewer nights. With
`--retrain-every N`, only every N-th night is retrained.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.snapshot import take_snapshot
from pipeline.jobs.forecast import forecast
from pipeline.jobs.retrain import retrain
from pipeline.times import Cadence
from pipeline.training import metrics
from pipeline.training.backtest.bootstrap import SkillBootstrap, block_length
from pipeline.training.evaluate import published_truth
from pipeline.workspace import Workspace
from tests.benchmarks.products import CASES, end_of_record, open_product

QUICK = {
    "irish-wind": ["ridge-var"],
    "era5": ["pooled-convolution"],
    "auckland": ["ridge-var"],
    "metr-la": ["ridge-var"],
    "agulhas": ["pooled-convolution"],
}
"""Candidates of each product: the best that a machine without a GPU fits in seconds."""
PER_NIGHT = 8
"""Most issue times forecast each night, evenly spread over the day."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Lived:
    """The published forecasts of one home."""

    quantiles: NDArray[np.float32]
    """(issue, lead, target, location, quantile)"""
    decisions: Counter[str]


def live(ws: Workspace, issues: list[datetime], nights: list[datetime]) -> Lived:
    """Forecast every issue time, with the retrains that come before it."""
    decisions: Counter[str] = Counter()
    waiting = list(nights)
    for issue in issues:
        while waiting and waiting[0] <= issue:
            result = retrain(ws, at=waiting.pop(0))
            decisions[(result.refresh or result.verdict).decision] += 1
        forecast(ws, at=issue)
    rows = [_quantiles(ws, issue) for issue in issues]
    return Lived(np.stack(rows), decisions)


def _quantiles(ws: Workspace, issue: datetime) -> NDArray[np.float32]:
    """Return the published quantiles of one issue time (lead, target, location, quantile)."""
    table = ws.forecasts.read(issue)
    flat = table.filter(table["published"])["quantiles"].combine_chunks()
    values = flat.flatten().to_numpy().astype(np.float32)
    product = ws.product
    shape = (product.forecast.horizon, len(product.forecast.targets), len(ws.feed.locations))
    quantiles: NDArray[np.float32] = values.reshape(*shape, len(product.forecast.quantiles))
    return quantiles


def compare(case: str, folder: Path, nights: int, every: int, budget: str) -> list[str]:
    """Return the lines of one product."""
    start = open_product(
        case,
        folder / "refreshed",
        training={"candidates": QUICK[case], "budget": budget},
        publish=[{"kind": "parquet"}],
    )
    end = end_of_record(start)
    span = min(nights * DAY, (end - _first(start)) / 3)
    begin = end - span
    retrain(start, at=begin)
    shutil.copytree(folder / "refreshed", folder / "never", symlinks=True, dirs_exist_ok=True)
    never = open_product(case, folder / "never")
    cadence = start.cadence
    issues = [issue for issue in cadence.issues(begin, end) if issue > begin and _is_due(cadence, issue, end)]
    issues = [issue for number, issue in enumerate(issues) if number % max(1, len(issues) // (PER_NIGHT * nights)) == 0]
    count = max(2, round(span / DAY)) if span >= 4 * DAY else 12
    times = [begin + number * span / count for number in range(1, count, every)]
    refreshed, fixed = live(start, issues, times), live(never, issues, [])
    snapshot = take_snapshot(start.product, start.cadence, start.feed, {}, known_by=end)
    truth = published_truth(snapshot.windows(issues, truth_at=end), np.arange(len(issues)))
    levels = start.product.forecast.quantiles
    ours, theirs = (metrics.crps(one.quantiles, truth, levels) for one in (refreshed, fixed))
    draws = SkillBootstrap(len(issues), block_length([start.cadence.lead_times(issue) for issue in issues]), seed=0)
    leads = sorted({1, (1 + ours.shape[1]) // 2, ours.shape[1]})
    lines = []
    for name, chosen in [("all", slice(None)), *((str(lead), slice(lead - 1, lead)) for lead in leads)]:
        both = [np.nan_to_num(scores[:, chosen]).sum(axis=(1, 2, 3)) for scores in (ours, theirs)]
        interval = draws.interval(*both)
        means = [np.nanmean(scores[:, chosen]) for scores in (ours, theirs)]
        bounds = f"{interval[0]:+.1%} to {interval[1]:+.1%}" if interval else "too few blocks"
        made = ", ".join(f"{number} {word}" for word, number in sorted(refreshed.decisions.items()))
        skill = 1 - means[0] / means[1]
        head = f"{case} | {len(times)} ({made})" if name == "all" else " | "
        lines.append(f"| {head} | {name} | {means[1]:.4g} | {means[0]:.4g} | {skill:+.1%} ({bounds}) | ")
    cover = [_coverage(refreshed.quantiles, truth, levels, inner) for inner in (0.5, 0.8, 0.9)]
    lines[0] += " / ".join(f"{one:.0%}" for one in cover)
    return [f"{line} |" for line in lines]


def _is_due(cadence: Cadence, issue: datetime, end: datetime) -> bool:
    return cadence.lead_times(issue)[-1] + cadence.delay <= end


def _first(ws: Workspace) -> datetime:
    snapshot = take_snapshot(ws.product, ws.cadence, ws.feed, {}, known_by=end_of_record(ws))
    first: datetime = snapshot.frames.times[0].astype("datetime64[s]").item().replace(tzinfo=end_of_record(ws).tzinfo)
    return first


def _coverage(
    quantiles: NDArray[np.float32], truth: NDArray[np.float32], levels: tuple[float, ...], nominal: float
) -> float:
    """Return the fraction of observations inside a central interval."""
    low, high = (int(np.argmin(np.abs(np.array(levels) - (0.5 + side * nominal / 2)))) for side in (-1, 1))
    known = np.isfinite(truth)
    inside = (truth >= quantiles[..., low]) & (truth <= quantiles[..., high])
    return float(inside[known].mean())


def main() -> None:
    """Print the table, lines of each product."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--retrain-every", type=int, default=1)
    parser.add_argument("--budget", default="5min", help="training.budget; 15min on the currents")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.keep or Path(tempfile.mkdtemp())
    print("| product | retrains | lead | CRPS never refreshed | refreshed | skill (95 %) | covered by 50 / 80 / 90 % |")
    print("|---|---|---|---|---|---|---|")
    for case in options.cases:
        for line in compare(case, folder / case, options.nights, options.retrain_every, options.budget):
            print(line, flush=True)


if __name__ == "__main__":
    main()
