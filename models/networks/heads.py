"""From features to a forecast: ordered quantiles, a point, or a normal distribution, each correcting a base."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from statistics import NormalDist
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import ModelError
from models.networks import losses
from models.networks.sample import Sample, Sizes
from models.statistics.dressing import level_widths

Kind = Literal["auto", "quantiles", "gaussian", "censored"]
Loss = Literal["pinball", "mse", "mae", "huber", "crps", "nll"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOSSES: tuple[Loss, ...] = get_args(Loss)

# softplus of this is 1: what it scales starts unscaled.
_UNSCALED = math.log(math.e - 1)
# Least spread of a normal, in units of the climatic deviation: a base may be sure.
_LEAST_SPREAD = 1e-3

_POINT = {"mse": losses.squared, "mae": losses.absolute, "huber": losses.huber}
_NORMAL = {"crps": losses.normal_crps, "nll": losses.normal_log_score}
_CENSORED = {"crps": losses.censored_crps, "nll": losses.censored_log_score}


class Head(nn.Module, ABC):
    """Makes a forecast of what the network found.

    `forward` gives raw numbers, all that is learnt; `quantiles` and `loss` read them beside the base. The
    last layer starts at zero, so an untrained head returns the base.

    Args:
        features: width of what it sees.
        sizes: lengths of the axes.
        outputs: raw numbers per value that is forecast.
        width: width of its hidden layer.
        dropout: share of the hidden layer dropped in training.
    """

    levels: Tensor
    widths: Tensor

    def __init__(self, features: int, sizes: Sizes, outputs: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.targets, self.outputs, self.middle = sizes.targets, outputs, sizes.median
        self.register_buffer("levels", torch.tensor(sizes.levels, dtype=torch.float32), persistent=False)
        self.register_buffer("widths", torch.from_numpy(level_widths(sizes.levels)), persistent=False)
        self.body = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout))
        self.last = nn.Linear(width, sizes.targets * outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, sample: Sample) -> Tensor:
        """Raw numbers (n, lead, target, location, outputs) of features (n, lead, location, features)."""
        raw: Tensor = self.last(self.body(features))
        return raw.view(*raw.shape[:-1], self.targets, self.outputs).transpose(2, 3)

    @abstractmethod
    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """The forecast, (n, lead, target, location, level), non-decreasing along levels."""

    @abstractmethod
    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Loss of each value, shaped as `truth`: (n, lead, target, location); finite where the arguments are."""

    def median(self, outputs: Tensor, sample: Sample) -> Tensor:
        """The middle of the forecast, (n, lead, target, location)."""
        return self.quantiles(outputs, sample)[..., self.middle]


class OrderedQuantiles(Head):
    """Moves the median of the base and scales each gap between neighbouring quantiles.

    Gaps keep their sign, so ordered stays ordered. Trained by the pinball loss.
    """

    def __init__(self, features: int, sizes: Sizes, *, width: int, dropout: float) -> None:
        super().__init__(features, sizes, len(sizes.levels), width=width, dropout=dropout)

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """The moved median, and the scaled gaps added up on either side."""
        shift, stretch = outputs[..., :1], functional.softplus(outputs[..., 1:] + _UNSCALED)
        median = sample.base[..., self.middle, None] + sample.deviation.unsqueeze(-1) * shift
        gaps = sample.base.diff(dim=-1) * stretch
        below = gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.middle :].cumsum(-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """The pinball loss over all levels."""
        return losses.pinball(self.quantiles(outputs, sample), truth, self.levels, self.widths)


class Point(Head):
    """Moves the whole base by one amount; its spread stays. Trained by the error of the moved median.

    Args:
        features: width of what it sees.
        sizes: lengths of the axes.
        loss: `mse`, `mae` or `huber`.
        width: width of its hidden layer.
        dropout: share of the hidden layer dropped in training.
    """

    def __init__(self, features: int, sizes: Sizes, *, loss: str, width: int, dropout: float) -> None:
        super().__init__(features, sizes, 1, width=width, dropout=dropout)
        self.error = _POINT[loss]

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """The moved base."""
        return sample.base + sample.deviation.unsqueeze(-1) * outputs

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """The error of the median."""
        return self.error(self.median(outputs, sample), truth)


class Gaussian(Head):
    """A normal distribution: moves the median of the base and scales its spread.

    Untrained it is the normal nearest to the base: its median, and the spread that fits its quantiles best
    by least squares. Trained by the continuous ranked probability score or the log score.

    Args:
        features: width of what it sees.
        sizes: lengths of the axes.
        loss: `crps` or `nll`.
        width: width of its hidden layer.
        dropout: share of the hidden layer dropped in training.
    """

    normal: Tensor

    def __init__(self, features: int, sizes: Sizes, *, loss: str, width: int, dropout: float) -> None:
        super().__init__(features, sizes, 2, width=width, dropout=dropout)
        normal = [NormalDist().inv_cdf(level) for level in sizes.levels]
        self.register_buffer("normal", torch.tensor(normal, dtype=torch.float32), persistent=False)
        self.kind = loss

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Quantiles of the normal."""
        mean, deviation = self.moments(outputs, sample)
        return mean.unsqueeze(-1) + deviation.unsqueeze(-1) * self.normal

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """The score of the normal."""
        return _NORMAL[self.kind](*self.moments(outputs, sample), truth)

    def moments(self, outputs: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """Mean and deviation, each (n, lead, target, location)."""
        shift, stretch = outputs[..., 0], functional.softplus(outputs[..., 1] + _UNSCALED)
        middle = sample.base[..., self.middle]
        spread = sample.deviation
        if len(self.normal) > 1:
            spread = (sample.base - middle.unsqueeze(-1)) @ self.normal / self.normal.square().sum()
        return middle + sample.deviation * shift, spread.clamp(min=_LEAST_SPREAD) * stretch


class Censored(Gaussian):
    """A normal distribution whose mass beyond the physical limits lies on them: rain or irradiance at 0.

    Arguments as those of `Gaussian`.
    """

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Quantiles of the normal, clipped to the limits."""
        low, high = sample.low.unsqueeze(-1), sample.high.unsqueeze(-1)
        return super().quantiles(outputs, sample).clamp(low, high)

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """The score of the censored normal."""
        return _CENSORED[self.kind](*self.moments(outputs, sample), truth, sample.low, sample.high)


def make_head(kind: str, loss: str, features: int, sizes: Sizes, *, width: int, dropout: float) -> Head:
    """The head of this kind, trained by this loss.

    Args:
        kind: one of `KINDS`; `auto` follows from the loss: quantiles for `pinball`, a point for `mse`, `mae` and
            `huber`, a normal for `crps` and `nll`.
        loss: one of `LOSSES`.
        features: width of what it sees.
        sizes: lengths of the axes.
        width: width of its hidden layer.
        dropout: share of the hidden layer dropped in training.

    Raises:
        ModelError: no such head or loss, or the two do not go together.
    """
    check_head(kind, loss)
    if loss == "pinball":
        return OrderedQuantiles(features, sizes, width=width, dropout=dropout)
    made = Point if loss in _POINT else Censored if kind == "censored" else Gaussian
    return made(features, sizes, loss=loss, width=width, dropout=dropout)


def check_head(kind: str, loss: str) -> None:
    """Raise ModelError unless there is a head of this kind with this loss."""
    if kind not in KINDS:
        raise ModelError(f"head must be one of {list(KINDS)}, found {kind!r}")
    if loss not in LOSSES:
        raise ModelError(f"loss must be one of {list(LOSSES)}, found {loss!r}")
    fitting = {"auto": LOSSES, "quantiles": ("pinball",)}.get(kind, tuple(_NORMAL))
    if loss not in fitting:
        raise ModelError(f"head {kind!r} is trained by one of {list(fitting)}, found loss {loss!r}")
