"""Options of a network model: the size of its network, and the model around it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch

from models.errors import ModelError
from models.search_space import Choice, FloatRange, IntRange, SearchSpace
from models.task import Task


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of a network; each model adds its own fields.

    Attributes:
        hidden: channels of the hidden states.
        layers: number of stacked layers.
        frames: number of latest context frames that the network reads; 0 for all.
        dropout: dropout rate in the head.

    Raises:
        ModelError: a field is out of range.
    """

    hidden: int = 16
    layers: int = 1
    frames: int = 12
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name in ("frames", "dropout") else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < lowest:
                raise ModelError(f"{field.name} must be at least {lowest}, found {value}")
        if self.hidden % 4:
            raise ModelError(f"hidden must be a multiple of 4, found {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ModelError(f"dropout must lie in [0, 1), found {self.dropout}")

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the fields worth a search."""
        return {
            "hidden": IntRange(8, 64, step=8),
            "layers": IntRange(1, 4),
            "frames": IntRange(min(2, task.context), min(24, task.context)),
            "dropout": FloatRange(0.0, 0.5),
        }


@dataclass(frozen=True, kw_only=True)
class FieldNetworkConfig(NetworkConfig):
    """Size of a network over fields.

    Attributes:
        size: cells along each side of the latent grid that stations are mapped to.
        patch: cells along each side of a patch of a regular grid; 1 keeps the resolution of the grid.
        kernel: odd width of the convolutions.
    """

    size: int = 5
    patch: int = 1
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ModelError(f"kernel must be odd, found {self.kernel}")

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the fields worth a search; the latent grid is that of stations."""
        latent = {} if task.grid else {"size": IntRange(3, 9)}
        return {**super().search_space(task), "kernel": Choice((3, 5)), **latent}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The parts around the network.

    Attributes:
        base: name of the model whose forecast the network corrects. `auto` means `ridge-var` for stations,
            `damped-anomaly` where there are too many stations, and `pooled-convolution` for grids.
        head: `quantiles`, `gaussian`, `censored`, or `auto` for the one that fits the loss.
        loss: `pinball`, `crps`, `nll`, `mse`, `mae` or `huber`.
        weights: weight of each value in the loss and on validation. `none`: all equal, in units of the climatic
            standard deviation. `spread`: in units of the variable, so locations with little variability count
            less. `area`: the cosine of latitude.
        correction: how much of the network's correction enters the forecast. `validation`: at each lead the part that
            lowers the CRPS on validation. `all`: the whole correction, unchanged.
        seeds: number of networks, trained from different random weights, whose quantiles are averaged.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.

    Raises:
        ModelError: a field is out of range, or the device is not available.
    """

    base: str = "auto"
    head: Literal["auto", "quantiles", "gaussian", "censored"] = "auto"
    loss: Literal["pinball", "crps", "nll", "mse", "mae", "huber"] = "pinball"
    weights: Literal["none", "spread", "area"] = "none"
    correction: Literal["validation", "all"] = "validation"
    seeds: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ModelError(f"seeds must be at least 1, found {self.seeds}")
        if self.weights not in ("none", "spread", "area"):
            raise ModelError(f"weights must be none, spread or area, found {self.weights!r}")
        if self.device not in ("auto", "cpu", "cuda") or (self.device == "cuda" and not torch.cuda.is_available()):
            raise ModelError(f"device must be auto, cpu or cuda and available on this machine, found {self.device!r}")
