"""How often, and after how many nights, the gate's tests promote a challenger: the sequential test and Diebold-Mariano.

    python -m tests.benchmarks.sequential [--products 1000] [--gate]

Simulated products, all with the same true gain: a batch of 365 cases, then two years of nights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.training.gate import diebold_mariano
from pipeline.training.nightly_test import nightly_p_values
from pipeline.training.sequential import compare_sequentially
from tests.score_simulation import BATCH, NOISE, simulate_gains

SIGNIFICANCE = 0.05
YEAR = 365
YEARS = 2
CHUNK = 100
GATE = {"daily, 3 leads": (3, 1, BATCH), "hourly, 24 leads, scored every 6 h": (5, 4, 4 * YEAR)}
"""Overlap, cases of a night, and cases of the first night."""
CHALLENGERS = (1, 4)
"""Numbers of recipes that share the level in the gate; 4 are the default candidates and baselines of stations."""
NIGHTLY_PRODUCTS = 20
"""Products of a chunk on which the Diebold-Mariano test is repeated every night, which takes long."""
NEVER = np.iinfo(np.int64).max
CASES: dict[str, dict[str, float]] = {
    "equal": {},
    "equal, regimes of 3 %": {"regimes": 0.03},
    "0.5 % worse": {"gain": -0.005},
    "1 % better": {"gain": 0.01},
    "2 % better": {"gain": 0.02},
    "2 % better, noise of 15 %": {"gain": 0.02, "noise": 0.15},
    "3 % better": {"gain": 0.03},
}
FORECASTS = {"daily, 3 leads, one case a night": (3, 1), "hourly, 24 leads, 24 cases a night": (25, 24)}


def main(products: int) -> None:
    """Print a table for each kind of forecast."""
    print(f"Significance {SIGNIFICANCE}; standard deviation of the gain per case {NOISE:.1%}; {products} products.")
    for title, (overlap, nightly) in FORECASTS.items():
        print(f"\n{title} (overlap {overlap})\n")
        print("| challenger | test | batch | 1 year | 2 years | nights, median | 90th percentile | debt |")
        print("|---|---|---|---|---|---|---|---|")
        for name, options in CASES.items():
            nights: dict[str, list[NDArray[np.int64]]] = {"sequential": [], **{test: [] for test in DIEBOLD_MARIANO}}
            debts = []
            for seed in range(products // CHUNK):
                gains = simulate_gains(CHUNK, BATCH + YEARS * YEAR * nightly, overlap, seed=seed, **options)
                result = compare_sequentially(-gains, np.zeros_like(gains), overlap, significance=SIGNIFICANCE)
                nights["sequential"].append(_first_night(result.e_values >= 1 / SIGNIFICANCE, nightly))
                debts.append(result.debt.mean())
                for test, run in DIEBOLD_MARIANO.items():
                    nights[test].append(run(gains, overlap, nightly))
            for test, parts in nights.items():
                debt = f"{np.mean(debts):.2f}" if test == "sequential" else ""
                print(f"| {name} | {test} | {_row(np.concatenate(parts))} | {debt} |", flush=True)


def gate(products: int) -> None:
    """Print the table of the gate's whole test."""
    print("| forecasts | challenger | sharing | first night | 1 year | 2 years | nights, median | 90th percentile |")
    print("|---|---|---|---|---|---|---|---|")
    for title, (overlap, nightly, batch) in GATE.items():
        for name, options in CASES.items():
            chunks = [
                simulate_gains(CHUNK, batch + YEARS * YEAR * nightly, overlap, seed=seed, **options)
                for seed in range(products // CHUNK)
            ]
            for count in CHALLENGERS:
                nights = []
                for gains in chunks:
                    p_values = nightly_p_values(
                        -gains, np.zeros_like(gains), batch, overlap, significance=SIGNIFICANCE, challengers=count
                    )
                    nights.append(_first_night(p_values <= SIGNIFICANCE, nightly, batch))
                print(f"| {title} | {name} | {count} | {_row(np.concatenate(nights))} |", flush=True)


def _first_night(reached: NDArray[np.bool_], nightly: int, batch: int = BATCH) -> NDArray[np.int64]:
    """Return the first night with a case (product, case) at which the test decides, 0 for the batch: (product,)."""
    nights = np.maximum(-(-(reached.argmax(axis=1) + 1 - batch) // nightly), 0)
    return np.where(reached.any(axis=1), nights, NEVER)


def _once(gains: NDArray[np.float64], overlap: int, nightly: int) -> NDArray[np.int64]:
    """Return 0 where the Diebold-Mariano test promotes on the batch."""
    return np.array([0 if _beaten(row[:BATCH], overlap) else NEVER for row in gains])


def _every_night(gains: NDArray[np.float64], overlap: int, nightly: int) -> NDArray[np.int64]:
    """Return the first night on which the Diebold-Mariano test promotes on the latest 365 cases."""
    nights = range(YEARS * YEAR + 1)
    ends = [BATCH + night * nightly for night in nights]
    return np.array(
        [
            next((night for night in nights if _beaten(row[ends[night] - BATCH : ends[night]], overlap)), NEVER)
            for row in gains[:NIGHTLY_PRODUCTS]
        ]
    )


def _beaten(gains: NDArray[np.float64], overlap: int) -> bool:
    return diebold_mariano(-gains, overlap) < SIGNIFICANCE


DIEBOLD_MARIANO: dict[str, Callable[[NDArray[np.float64], int, int], NDArray[np.int64]]] = {
    "Diebold-Mariano once": _once,
    "Diebold-Mariano every night": _every_night,
}


def _row(nights: NDArray[np.int64]) -> str:
    shares = [f"{(nights <= limit).mean():.1%}" for limit in (0, YEAR, YEARS * YEAR)]
    quantiles = np.quantile(nights, (0.5, 0.9), method="inverted_cdf")
    return " | ".join([*shares, *(f"{night}" if night < NEVER else "never" for night in quantiles)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=1000, help="simulated products, a multiple of 100")
    parser.add_argument("--gate", action="store_true", help="the whole test of the gate, not its parts")
    options = parser.parse_args()
    (gate if options.gate else main)(options.products)
