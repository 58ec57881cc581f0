"""Whether a retrain keeps to `training.budget`: wall-clock time over budget, CPU seconds and peak memory.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.budget [irish-wind ...] [--budget 1min 5min] [--keep DIR]

Each retrain runs in a process of its own, from the stored observations to the recorded decision.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.config.base import parse_duration
from tests.benchmarks.products import CASES, SYNTHETIC, end_of_record, open_product


def retrain_once(case: str, folder: Path, budget: str) -> dict[str, Any]:
    """Retrain a product at the end of its record, and return what it took."""
    from pipeline.jobs.retrain import retrain

    # Another seed for each budget: the same data and options are trained once.
    seed = int(parse_duration(budget).total_seconds())
    ws = open_product(case, folder, training={"budget": budget, "seed": seed})
    at = end_of_record(ws)
    cpu, started = time.process_time(), time.monotonic()
    result = retrain(ws, at=at)
    return {
        "wall": time.monotonic() - started,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "decision": f"{result.verdict.challenger} {result.verdict.decision}",
        "left_out": [f"{one.name}: {one.problem}" for one in result.candidates if one.problem],
    }


def main() -> None:
    """Print the table, a line for each product and budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=[*CASES, SYNTHETIC])
    parser.add_argument("--budget", nargs="+", default=["1min", "5min"])
    parser.add_argument("--keep", type=Path, help="folder of the products, to be used again")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    if options.one:
        print(json.dumps(retrain_once(options.cases[0], folder / options.cases[0], options.budget[0])))
        return
    print("| product | budget, s | wall / budget | CPU s | peak memory, GB | decision |\n|---|---|---|---|---|---|")
    for case in options.cases:
        open_product(case, folder / case)  # ingested before the clock of the retrain starts
        for budget in options.budget:
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.budget", case, "--budget", budget]
            command += ["--keep", str(folder), "--one"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found, seconds = json.loads(done.stdout.splitlines()[-1]), parse_duration(budget).total_seconds()
            words = "; ".join([found["decision"], *found["left_out"]])
            numbers = f"{found['wall'] / seconds:.2f} | {found['cpu']:.0f} | {found['memory']:.1f}"
            print(f"| {case} | {seconds:.0f} | {numbers} | {words} |", flush=True)


if __name__ == "__main__":
    main()
