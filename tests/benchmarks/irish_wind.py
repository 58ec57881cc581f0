"""Accuracy on the shipped Irish wind: fitted 1961-69, chosen 1970, tested once on 1971-78. Run: make accuracy

    python tests/benchmarks/irish_wind.py [MODEL ...] [--seeds 3]

The protocol of the table in models/README.md: 12 stations, m/s, issue at 07:00 for the three days ahead, seven levels;
RMSE and MAE of the median, CRPS by the trapezoidal rule of `pipeline.training.metrics`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from models.baselines.base import Baseline
from models.catalogue import MODELS, build
from pipeline.config import Settings, load_product
from pipeline.features.windows import IssueWindows
from pipeline.jobs.ingest import ingest
from pipeline.paths import deploy_folder
from pipeline.training.evaluate import evaluate
from pipeline.workspace import Workspace
from tests.world import take_snapshot

END = datetime(1979, 1, 2, tzinfo=UTC)
FOLDS = {"train": (1961, 1969), "validation": (1970, 1970), "test": (1971, 1978)}


TABLE = "persistence climatology damped-anomaly ridge-var gradient-boosting attention-convlstm blend"


def main(names: list[str], seeds: int) -> None:
    """Print a row a model, and a row a seed for those that are random."""
    product = load_product(deploy_folder() / "products" / "ireland-wind.yaml")
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        ingest(Workspace(product, settings))
        snapshot = take_snapshot(Workspace(product, settings), known_by=END)
    cut = {}
    for name, (first, last) in FOLDS.items():
        since, until = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 28, 12, tzinfo=UTC)
        issues = list(snapshot.cadence.issues(since, until))
        cut[name] = IssueWindows(snapshot.task, snapshot.cadence, snapshot.frames, issues, truth_at=END)
    print(f"{'model':<20}{'RMSE':>20}{'MAE':>20}{'CRPS':>20}{'90 % covers':>17}{'fit':>7}")
    for name in names:
        for seed in range(1 if issubclass(MODELS[name].load(), Baseline) else seeds):
            model = build(name, snapshot.task)
            started = time.perf_counter()
            model.fit(cut["train"], cut["validation"], seed=seed)
            seconds = time.perf_counter() - started
            scores = evaluate(model, cut["test"])
            by_lead = scores.by_lead()
            cells = [_join(by_lead["rmse"]), _join(by_lead["mae"]), _join(scores.crps_by_lead)]
            covers = "/".join(f"{one:.1%}"[:-1] for one in by_lead["coverage"])
            print(
                f"{name:<20}" + "".join(f"{cell:>20}" for cell in cells) + f"{covers:>17}{seconds:>6.1f}s", flush=True
            )


def _join(values: tuple[float, ...]) -> str:
    return "/".join(f"{one:.3f}" for one in values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="one of " + ", ".join(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    main(given.models or TABLE.split(), given.seeds)
