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
from models.networks.sample import Dimensions, Sample
from models.statistics.dressing import level_widths

Kind = Literal["auto", "quantiles", "gaussian", "censored"]
Loss = Literal["pinball", "mse", "mae", "huber", "crps", "nll"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOSSES: tuple[Loss, ...] = get_args(Loss)

# softplus of this is 1, so scale factors start at 1.
_UNSCALED = math.log(math.e - 1)
# Minimum spread of a normal distribution, in units of the climatic standard deviation.
_LEAST_SPREAD = 1e-3

_POINT = {"mse": losses.squared, "mae": losses.absolute, "huber": losses.huber}
_NORMAL = {"crps": losses.normal_crps, "nll": losses.normal_log_score}
_CENSORED = {"crps": losses.censored_crps, "nll": losses.censored_log_score}


class Head(nn.Module, ABC):
    """Maps features of the network to a forecast.

    `forward` returns raw outputs, and holds all learnt parameters; `quantiles` and `loss` combine the outputs with the
    base. The last layer starts at zero, so an untrained head returns the base.

    Args:
        features: width of the input.
        dims: axis lengths of the task.
        outputs: raw outputs per forecast value.
        width: width of the hidden layer.
        dropout: dropout rate of the hidden layer.
    """

    levels: Tensor
    widths: Tensor

    def __init__(self, features: int, dims: Dimensions, outputs: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.targets, self.outputs, self.middle = dims.targets, outputs, dims.median
        self.register_buffer("levels", torch.tensor(dims.levels, dtype=torch.float32), persistent=False)
        self.register_buffer("widths", torch.from_numpy(level_widths(dims.levels)), persistent=False)
        self.body = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout))
        self.last = nn.Linear(width, dims.targets * outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, sample: Sample) -> Tensor:
        """Return raw outputs (n, lead, target, location, outputs) of features (n, lead, location, features)."""
        raw: Tensor = self.last(self.body(features))
        return raw.view(*raw.shape[:-1], self.targets, self.outputs).transpose(2, 3)

    @abstractmethod
    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return the forecast, (n, lead, target, location, level), non-decreasing along levels."""

    @abstractmethod
    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Return the loss of each value, (n, lead, target, location) like `truth`; finite where the arguments are."""

    def median(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return the median of the forecast, (n, lead, target, location)."""
        return self.quantiles(outputs, sample)[..., self.middle]


class OrderedQuantiles(Head):
    """Shifts the median of the base and scales each gap between neighbouring quantiles.

    Scale factors are positive, so quantiles stay ordered. Trained with the pinball loss.
    """

    def __init__(self, features: int, dims: Dimensions, *, width: int, dropout: float) -> None:
        super().__init__(features, dims, len(dims.levels), width=width, dropout=dropout)

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return the shifted median, with the scaled gaps added up on either side."""
        shift, stretch = outputs[..., :1], functional.softplus(outputs[..., 1:] + _UNSCALED)
        median = sample.base[..., self.middle, None] + sample.deviation.unsqueeze(-1) * shift
        gaps = sample.base.diff(dim=-1) * stretch
        below = gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.middle :].cumsum(-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Return the pinball loss over all levels."""
        return losses.pinball(self.quantiles(outputs, sample), truth, self.levels, self.widths)


class Point(Head):
    """Shifts all quantiles of the base alike and keeps its spread. Trained on the error of the shifted median.

    Args:
        features: width of the input.
        dims: axis lengths of the task.
        loss: `mse`, `mae` or `huber`.
        width: width of the hidden layer.
        dropout: dropout rate of the hidden layer.
    """

    def __init__(self, features: int, dims: Dimensions, *, loss: str, width: int, dropout: float) -> None:
        super().__init__(features, dims, 1, width=width, dropout=dropout)
        self.error = _POINT[loss]

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return the shifted base."""
        return sample.base + sample.deviation.unsqueeze(-1) * outputs

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Return the error of the median."""
        return self.error(self.median(outputs, sample), truth)


class Gaussian(Head):
    """A normal distribution that shifts the median of the base and scales its spread.

    Untrained, it is the normal distribution nearest to the base: the same median, and the spread that fits the base's
    quantiles by least squares. Trained with the CRPS or the log score.

    Args:
        features: width of the input.
        dims: axis lengths of the task.
        loss: `crps` or `nll`.
        width: width of the hidden layer.
        dropout: dropout rate of the hidden layer.
    """

    normal: Tensor

    def __init__(self, features: int, dims: Dimensions, *, loss: str, width: int, dropout: float) -> None:
        super().__init__(features, dims, 2, width=width, dropout=dropout)
        normal = [NormalDist().inv_cdf(level) for level in dims.levels]
        self.register_buffer("normal", torch.tensor(normal, dtype=torch.float32), persistent=False)
        self.kind = loss

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return quantiles of the normal distribution."""
        mean, deviation = self.moments(outputs, sample)
        return mean.unsqueeze(-1) + deviation.unsqueeze(-1) * self.normal

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Return the score of the normal distribution."""
        return _NORMAL[self.kind](*self.moments(outputs, sample), truth)

    def moments(self, outputs: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation, each (n, lead, target, location)."""
        shift, stretch = outputs[..., 0], functional.softplus(outputs[..., 1] + _UNSCALED)
        middle = sample.base[..., self.middle]
        spread = sample.deviation
        if len(self.normal) > 1:
            spread = (sample.base - middle.unsqueeze(-1)) @ self.normal / self.normal.square().sum()
        return middle + sample.deviation * shift, spread.clamp(min=_LEAST_SPREAD) * stretch


class Censored(Gaussian):
    """A normal distribution censored at the physical limits, for variables such as rain or irradiance.

    The mass beyond a limit lies on it. Arguments as for `Gaussian`.
    """

    def quantiles(self, outputs: Tensor, sample: Sample) -> Tensor:
        """Return quantiles of the normal distribution, clipped to the limits."""
        low, high = sample.low.unsqueeze(-1), sample.high.unsqueeze(-1)
        return super().quantiles(outputs, sample).clamp(low, high)

    def loss(self, outputs: Tensor, truth: Tensor, sample: Sample) -> Tensor:
        """Return the score of the censored normal distribution."""
        return _CENSORED[self.kind](*self.moments(outputs, sample), truth, sample.low, sample.high)


def make_head(kind: str, loss: str, features: int, dims: Dimensions, *, width: int, dropout: float) -> Head:
    """Return a head of this kind, trained with this loss.

    Args:
        kind: one of `KINDS`; `auto` follows the loss: quantiles for `pinball`, a point for `mse`, `mae` and
            `huber`, a normal distribution for `crps` and `nll`.
        loss: one of `LOSSES`.
        features: width of the input.
        dims: axis lengths of the task.
        width: width of the hidden layer.
        dropout: dropout rate of the hidden layer.

    Raises:
        ModelError: the head or the loss is unknown, or the two do not fit together.
    """
    check_head(kind, loss)
    if loss == "pinball":
        return OrderedQuantiles(features, dims, width=width, dropout=dropout)
    head = Point if loss in _POINT else Censored if kind == "censored" else Gaussian
    return head(features, dims, loss=loss, width=width, dropout=dropout)


def check_head(kind: str, loss: str) -> None:
    """Raise ModelError unless a head of this kind can be trained with this loss."""
    if kind not in KINDS:
        raise ModelError(f"head must be one of {list(KINDS)}, found {kind!r}")
    if loss not in LOSSES:
        raise ModelError(f"loss must be one of {list(LOSSES)}, found {loss!r}")
    allowed = {"auto": LOSSES, "quantiles": ("pinball",)}.get(kind, tuple(_NORMAL))
    if loss not in allowed:
        raise ModelError(f"loss of head {kind!r} must be one of {list(allowed)}, found {loss!r}")
