"""What may be chosen of a network model: its size, and what stands around it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch

from models.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size of the network; each model adds its own parts.

    Attributes:
        hidden: channels of the hidden states.
        layers: layers stacked.
        frames: last context frames that are read; 0 for all.
        dropout: share of the head dropped in training.
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


@dataclass(frozen=True, kw_only=True)
class FieldShape(Shape):
    """Size of a network over fields.

    Attributes:
        size: cells along each side of the latent grid of stations.
        patch: cells along each side of a patch of a regular grid; 1 for fields as fine as the grid.
        kernel: odd width of the convolutions.
    """

    size: int = 5
    patch: int = 1
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ModelError(f"kernel must be odd, found {self.kernel}")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What stands around the network.

    Attributes:
        base: the model that it corrects, by name; `auto`: `ridge-var`, or for grids `pooled-convolution`, or where
            stations are too many `damped-anomaly`.
        head: `quantiles`, `gaussian`, `censored`, or `auto`: as the loss asks for.
        loss: `pinball`, `crps`, `nll`, `mse`, `mae` or `huber`.
        weights: what counts how much in the loss and in the verdict of validation. `none`: every value alike, in units
            of its climatic deviation. `spread`: every value in units of the variable, so that a place where little
            happens counts little. `area`: each location by the cosine of its latitude.
        taken: of the correction, what `validation` shows to gain in CRPS at each lead, or `all` of it, as it is.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
    """

    base: str = "auto"
    head: Literal["auto", "quantiles", "gaussian", "censored"] = "auto"
    loss: Literal["pinball", "crps", "nll", "mse", "mae", "huber"] = "pinball"
    weights: Literal["none", "spread", "area"] = "none"
    taken: Literal["validation", "all"] = "validation"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if self.weights not in ("none", "spread", "area"):
            raise ModelError(f"weights must be none, spread or area, found {self.weights!r}")
        if self.device not in ("auto", "cpu", "cuda") or (self.device == "cuda" and not torch.cuda.is_available()):
            raise ModelError(f"no device {self.device!r} here; want auto, cpu or cuda")
