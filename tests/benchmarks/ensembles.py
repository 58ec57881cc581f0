"""One network against three whose quantiles are averaged, at equal training in all and at equal training of each.

    NIGHTCAST_REAL_DATA=... python -m tests.benchmarks.ensembles irish-wind|metr-la [OPTION=VALUE ...]

Three rolling folds before the last fifth of the record, each trained on everything before. Training is counted in
epochs and not in seconds, because the machine is shared: three networks get a third of the epochs of one, or as many
each. Mean CRPS over all scored forecasts in the unit of the data; of single networks, the mean and the range of three
seeds.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from models.catalogue import build
from models.task import Task
from pipeline.paths import deploy_folder
from pipeline.training.metrics import crps
from tests.records import Record

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
SEEDS = 3
FOLDS = 3
KNOT = 0.514444


class Case(NamedTuple):
    """A record and how it is forecast; of the issue times to train on, every `thin`-th is used."""

    task: Task
    values: NDArray[np.float32]
    time: NDArray[np.datetime64]
    thin: int


def irish_wind() -> Case:
    """Daily wind of 12 stations, 3 days ahead."""
    folder = deploy_folder() / "samples" / "irish_wind_daily"
    return _case(folder / "wind.parquet", pd.read_csv(folder / "stations.csv"), 86_400, 14, 3, KNOT, "sqrt", 2)


def metr_la() -> Case:
    """Speed of traffic at 207 sensors every 5 minutes, an hour ahead."""
    folder = Path(os.environ["NIGHTCAST_REAL_DATA"]) / "metr_la_week_losloop"
    places = pd.read_csv(folder / "graph_sensor_locations.csv").rename(columns={"sensor_id": "id"})
    return _case(folder / "los_speed_2012-03-01_07.parquet", places, 300, 12, 12, 1.0, "identity", 3)


def _case(
    file: Path, places: pd.DataFrame, step: int, context: int, leads: int, unit: float, transform: str, thin: int
) -> Case:
    frame = pd.read_parquet(file)
    start = np.datetime64(pd.to_datetime(frame.pop("time").iloc[0]).tz_localize(None), "s")
    frame.columns = frame.columns.astype(str)
    places = places.assign(id=places["id"].astype(str)).set_index("id").loc[list(frame.columns)]
    task = Task(
        channels=("value",),
        targets=("value",),
        context=context,
        leads=leads,
        quantile_levels=LEVELS,
        step_seconds=step,
        locations=tuple(frame.columns),
        longitude=tuple(places["longitude"]),
        latitude=tuple(places["latitude"]),
        transforms=(transform,),
        limits=((0.0, None),),
    )
    values = (frame.to_numpy() * unit).astype(np.float32)[:, None]
    return Case(task, values, start + np.arange(len(values)) * np.timedelta64(step, "s"), thin)


def folds(case: Case) -> list[tuple[Record, Record, Record]]:
    """Return train, validation and scored windows of each fold, with a gap of one window between them."""
    task, gap = case.task, case.task.context + case.task.leads
    issues = np.arange(task.context - 1, int(0.8 * len(case.values)) - task.leads)
    found = []
    for scored in np.array_split(issues[len(issues) // 2 :], FOLDS):
        before = issues[issues < scored[0] - gap]
        cut = int(0.8 * len(before))
        parts = before[: cut - gap : case.thin], before[cut :: case.thin], scored[:: case.thin]
        found.append(tuple(Record(task, case.time, case.values, np.isfinite(case.values), part) for part in parts))
    return found  # type: ignore[return-value]


def score(case: Case, model: str, options: dict[str, Any], seed: int) -> tuple[float, float, list[str]]:
    """Return the mean CRPS over the folds, CPU seconds, and the remarks of the fits."""
    began, scores, remarks = time.process_time(), [], []
    for train, validation, scored in folds(case):
        fitted = build(model, case.task, **options)
        fitted.fit(train, validation, seed=seed)
        batch = scored.all()
        scores.append(crps(fitted.predict(batch.inputs), batch.target, LEVELS).mean())
        remarks.append(fitted.remarks()[0].partition(": ")[2])
    return float(np.mean(scores)), time.process_time() - began, remarks


def main(case: Case, model: str, epochs: int, options: dict[str, Any]) -> None:
    """Print a row for each kind of training."""
    print(f"{model} {options}, {[len(part) for part in folds(case)[-1]]} windows in the last fold")
    options = {**options, "patience": epochs}
    single = []
    for seed in range(SEEDS):
        mean, seconds, remarks = score(case, model, {**options, "epochs": epochs}, seed)
        single.append(mean)
        print(
            f"1 network, {epochs} epochs, seed {seed}: {mean:.4f}, {seconds:.0f} CPU s, weights {remarks}", flush=True
        )
    print(f"1 network, {epochs} epochs: {np.mean(single):.4f} ({min(single):.4f}-{max(single):.4f})")
    for each in (epochs // SEEDS, epochs):
        mean, seconds, remarks = score(case, model, {**options, "epochs": each, "seeds": SEEDS}, 0)
        print(f"{SEEDS} networks, {each} epochs each: {mean:.4f}, {seconds:.0f} CPU s, weights {remarks}", flush=True)
    mean, seconds, _ = score(case, model, {**options, "epochs": 0}, 0)
    print(f"the base alone: {mean:.4f}, {seconds:.0f} CPU s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["irish-wind", "metr-la"])
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    parser.add_argument("--model", default="attention-convlstm")
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    pairs = (one.partition("=") for one in given.options)
    found = {name: yaml.safe_load(value) for name, _, value in pairs}
    main(irish_wind() if given.case == "irish-wind" else metr_la(), given.model, given.epochs, found)
