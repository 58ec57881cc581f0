"""Coverage of the intervals on five real records, with the online correction and without it.

For each record and model: how far the held-out coverage of the 50, 80 and 90 % intervals is from that, in percentage
points, overall and at the worst lead, season and hour of the day; and the mean CRPS. Folds and corrections are those of
a retrain. Hours and seasons are those of the valid time in UTC. Of the grids, every second row and column is used.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.coverage [CASE ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.statistics.conformal import target_limits
from pipeline.features.snapshot import Snapshot
from pipeline.training.backtest.sums import GroupSums, Sums, seasons_and_hours
from pipeline.training.evaluate import forecast_windows
from pipeline.training.fit import FittedModel, fit_model
from pipeline.training.folds import Folds, split
from pipeline.training.metrics import nominal_coverages
from pipeline.training.recalibration import score_recalibrated
from pipeline.training.recipe import Recipe
from tests.benchmarks.products import end_of_record, open_product
from tests.real.cases import data_folder
from tests.world import take_snapshot

CASES: dict[str, dict[str, Any]] = {
    "irish-wind": {"gate": {"issues": 730}},
    "era5": {
        "feed": {
            "locations": {
                "kind": "grid",
                "latitude": {"start": 58.0, "step": -0.5, "count": 17},
                "longitude": {"start": -10.0, "step": 0.5, "count": 25},
            }
        },
        "forecast": {"horizon": 12},
        "schedule": {"forecast": "5 * * * *"},
    },
    "auckland": {"feed": {"delay": "30min"}, "training": {"window": "2y"}},
    "metr-la": {"schedule": {"forecast": "*/5 * * * *"}},
    "agulhas": {
        "feed": {
            "locations": {
                "kind": "grid",
                "latitude": {"start": -40.125, "step": 0.5, "count": 21},
                "longitude": {"start": 14.875, "step": 0.5, "count": 41},
            }
        },
        "forecast": {"targets": ["eastward_sea_water_velocity"], "context": 14},
    },
}
"""What differs from the products of `products.py`, by the name in the table."""
STATIONS = ("ridge-var", "damped-anomaly", "climatology")
GRID = ("pooled-convolution", "damped-anomaly", "climatology")
BOOSTED = ("irish-wind",)
"""Records on which boosting is fitted too; it takes minutes on the others."""
KINDS = ("overall", "lead", "season", "hour")
FEWEST = 0.02
"""Share of the forecasts below which a season or an hour of the day is not a group."""


@dataclass(frozen=True)
class Scored:
    """Scores of one model, with or without the correction, on all held-out forecasts."""

    sums: Sums
    nominal: NDArray[np.float64]

    @property
    def crps(self) -> float:
        """Mean CRPS."""
        return self.sums.groups("overall")[0].mean("crps")

    def deviations(self, kind: str) -> tuple[float, ...]:
        """Return the largest deviation of each interval over the groups of a kind, in points, the narrowest first."""
        total = self.sums.groups("overall")[0].count
        rows = [self._deviation(group) for group in self.sums.groups(kind) if group.count >= FEWEST * total]
        columns = np.array(rows)[:, ::-1].T
        return tuple(float(column[np.abs(column).argmax()]) for column in columns)

    def _deviation(self, group: GroupSums) -> NDArray[np.float64]:
        return 100 * (np.array(group.coverage) - self.nominal)


def score(snapshot: Snapshot, folds: Folds, fitted: FittedModel) -> tuple[Scored, Scored]:
    """Return the scores on the held-out issue times, without the correction and with it."""
    task = snapshot.task
    _, recalibrations = score_recalibrated(fitted.models, snapshot, folds)
    plain, corrected = (Sums.empty(task, snapshot.cadence.horizon) for _ in range(2))
    for model, fold in zip(fitted.models, folds.folds, strict=True):
        for part in forecast_windows(model, fold.windows(snapshot, "holdout")):
            issues = [fold.holdout[number] for number in part.numbers]
            groups = seasons_and_hours([snapshot.cadence.lead_times(issue) for issue in issues])
            better = np.concatenate(
                [
                    recalibrations.at(issue)(
                        part.quantiles[row : row + 1], part.valid_time[row : row + 1], target_limits(task)
                    )
                    for row, issue in enumerate(issues)
                ]
            )
            truth = part.truth[:, :, 0]
            for sums, quantiles in ((plain, part.quantiles), (corrected, better)):
                sums.add(quantiles[:, :, 0], truth, np.isfinite(truth), *groups)
    nominal = np.array(nominal_coverages(task.quantile_levels))
    return Scored(plain, nominal), Scored(corrected, nominal)


def main(names: list[str]) -> None:
    """Print two rows a record and model."""
    if data_folder() is None:
        raise SystemExit("set NIGHTCAST_REAL_DATA to the folder of the data sets")
    print("| record | model | correction | overall | worst lead | worst season | worst hour | CRPS |")
    print("|---|---|---|---|---|---|---|---|")
    started = time.process_time()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            ws = open_product(name, Path(folder), **CASES[name])
            measure(name, take_snapshot(ws, known_by=end_of_record(ws)))
    print(f"{time.process_time() - started:.0f} CPU seconds")


def measure(name: str, snapshot: Snapshot) -> None:
    """Print the rows of one record."""
    folds = split(snapshot)
    models = (*(GRID if snapshot.task.grid else STATIONS), *(("gradient-boosting",) if name in BOOSTED else ()))
    for model in models:
        fitted = fit_model(model, Recipe(model), snapshot, folds)
        for label, scored in zip(("no", "yes"), score(snapshot, folds, fitted), strict=True):
            cells = ["/".join(f"{one:+.1f}" for one in scored.deviations(kind)) for kind in KINDS]
            print(f"| {name} | {model} | {label} | {' | '.join(cells)} | {scored.crps:.4f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="one of " + ", ".join(CASES))
    main(parser.parse_args().cases or list(CASES))
