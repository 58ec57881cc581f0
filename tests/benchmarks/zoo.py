"""Every model in one markdown table: its source, what it is for, its parameters and its arithmetic.

    python -m tests.benchmarks.zoo

Parameters are those of the trunk, what the model adds to the shared parts. Multiply-adds are those of the whole network
for one issue time with default options: products of matrices, convolutions and attention, as torch counts them.
Baselines have no trunk; where the task fixes how many numbers they learn, that is their count, else it is left out.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.catalogue import MODELS, build
from models.networks.neural import NeuralModel
from models.networks.sample import Locations, Sample
from models.task import Task

SOURCES = {
    "persistence": "",
    "climatology": "",
    "rolling-climatology": "",
    "seasonal-naive": "",
    "damped-anomaly": "",
    "ridge-var": "Hoerl & Kennard 1970",
    "pooled-convolution": "",
    "linear-inverse": "Penland & Sardeshmukh 1995",
    "arima": "Box & Jenkins 1970; statsmodels",
    "ets": "Hyndman et al. 2002; statsmodels",
    "gradient-boosting": "Ke et al. 2017; LightGBM",
    "prophet": "Taylor & Letham 2018; Prophet",
    "blend": "Bates & Granger 1969, Lichtendahl et al. 2013",
    "attention-convlstm": "Shi et al. 2015, Lin et al. 2020, Gordon et al. 2020",
    "lstm": "Hochreiter & Schmidhuber 1997, Gers et al. 2000",
    "peephole-lstm": "Gers et al. 2002",
    "bilstm": "Schuster & Paliwal 1997",
    "gru": "Cho et al. 2014",
    "attention-lstm": "Bahdanau et al. 2015, Luong et al. 2015, Vaswani et al. 2017",
    "attention-gru": "Bahdanau et al. 2015, Luong et al. 2015, Vaswani et al. 2017",
    "dlinear": "Zeng et al. 2023",
    "lstm-cnn-fusion": "Hochreiter & Schmidhuber 1997, Bai et al. 2018",
    "cnn-lstm": "Donahue et al. 2015",
    "convlstm": "Shi et al. 2015",
    "convgru": "Ballas et al. 2016",
    "rcnn": "Liang & Hu 2015",
    "stcn": "Tran et al. 2018, Bai et al. 2018",
    "res-stcn": "Tran et al. 2018, He et al. 2016",
    "stn": "Jaderberg et al. 2015",
    "attention-cnn": "Vaswani et al. 2017, Bertasius et al. 2021",
    "simvp": "Gao et al. 2022, Tan et al. 2022",
    "graph-conv": "Wu et al. 2019",
}
"""Where a model was published; nothing for what has no one source."""

PLACES = {
    "arima": "up to 200 series",
    "ets": "up to 200 series",
    "prophet": "up to 200 series",
    "graph-conv": "up to 2048 locations",
}
"""Where a model goes, if not everywhere."""

TOLD = {"gradient-boosting": "yes", "blend": "by its members"}
"""Which models besides the networks use covariates."""

LEARNT = {
    "persistence": "18 a location / 25 a cell",
    "climatology": "0",
    "damped-anomaly": "18 a location / 25 a cell",
}
"""How many numbers a baseline learns besides what all share, their climate and their spread, where that is
fixed: a correlation with every lag from 0 to context and leads together."""


def task_of(*, grid: tuple[int, int] | None, context: int, leads: int) -> Task:
    """A task of one variable: 12 stations, or a grid."""
    count = grid[0] * grid[1] if grid else 12
    rows, columns = grid or (3, 4)
    return Task(
        channels=("x",),
        targets=("x",),
        context=context,
        leads=leads,
        quantile_levels=(0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95),
        step_seconds=3600,
        locations=tuple(f"l{i}" for i in range(count)),
        longitude=tuple((np.arange(count) % columns * 0.25).tolist()),
        latitude=tuple((50 + np.arange(count) // columns % rows * 0.25).tolist()),
        transforms=("identity",),
        limits=((None, None),),
        grid=grid,
    )


def sample_of(task: Task, frames: int) -> Sample:
    """One issue time of which nothing is known; only shapes matter."""
    count, leads = len(task.locations), task.leads
    blank = torch.zeros(1, leads, 1, count)
    position = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    return Sample(
        anomaly=torch.zeros(1, frames, 1, count),
        known=torch.zeros(1, frames, 1, count),
        calendar=torch.zeros(1, frames, 6),
        target_calendar=torch.zeros(1, leads, 6),
        covariates=torch.zeros(1, leads, 0, count),
        covariate_mask=torch.zeros(1, leads, 0, count),
        base=torch.zeros(1, leads, 1, count, len(task.quantile_levels)),
        deviation=torch.ones_like(blank),
        low=torch.full_like(blank, -torch.inf),
        high=torch.full_like(blank, torch.inf),
        locations=Locations(position, torch.zeros(count, 0), torch.arange(count), task.grid),
    )


def cost(name: str, task: Task) -> tuple[int, int]:
    """Parameters of the trunk, and multiply-adds of one forecast."""
    model = build(name, task, base="climatology", device="cpu")
    assert isinstance(model, NeuralModel)
    network = model.network().eval()
    frames = min(int(model.options()["frames"]) or task.context, task.context)
    sample, counter = sample_of(task, frames), FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration", UserWarning)
        # oneDNN runs an LSTM, and fused attention, as one step that nothing is counted in.
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), torch.inference_mode(), counter:
            network(sample)
    return sum(parameter.numel() for parameter in network.trunk.parameters()), counter.get_total_flops() // 2


def row(name: str, tasks: list[Task]) -> list[str]:
    """What the table says of one model."""
    kind, source = MODELS[name].load(), SOURCES.get(name) or "—"
    if not issubclass(kind, NeuralModel):
        covariates, learnt = TOLD.get(name, "no"), LEARNT.get(name, "—")
        return [f"`{name}`", source, PLACES.get(name, "both"), "yes", covariates, learnt, "—"]
    costs = [cost(name, task) for task in tasks]
    parameters = " / ".join(f"{parameters:,}" for parameters, _ in costs)
    arithmetic = " / ".join(f"{flops / 1e6:.2f} M" if flops < 1e7 else f"{flops / 1e6:.0f} M" for _, flops in costs)
    return [f"`{name}`", source, PLACES.get(name, "both"), "yes", "yes", parameters, arithmetic]


def main() -> None:
    stations = task_of(grid=None, context=14, leads=3)
    grid = task_of(grid=(32, 32), context=12, leads=12)
    head = [
        "model",
        "source",
        "for",
        "quantiles",
        "covariates",
        "parameters of the trunk, stations / grid",
        "multiply-adds a forecast, 12 stations, 14 frames, 3 leads / 32 x 32 cells, 12 frames, 12 leads",
    ]
    rows = [row(name, [stations, grid]) for name in MODELS]
    for line in [head, ["---"] * len(head), *rows]:
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
