"""An optional adversarial term: forecast trajectories should look like observed ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_WIDTH = 32


class Trajectories(NamedTuple):
    """What a discriminator compares; all (n, lead, target, location), in units of the climatic deviation.

    Attributes:
        truth: what happened, any number where unknown.
        known: 1 where the truth is known, else 0.
        median: of the forecast.
        base: median of the base, which both come with.
    """

    truth: Tensor
    known: Tensor
    median: Tensor
    base: Tensor


class Adversary:
    """A discriminator trained beside the network, by least squares (Mao et al. 2017, arXiv:1611.04076).

    It sees the trajectory of one location at a time: convolutions over leads, all targets together, beside
    the base. Where a truth has a gap, neither it nor the forecast of it takes part. Its random numbers are torch's.

    Args:
        learning_rate: of the discriminator.
        clip: largest norm of its gradient.
    """

    def __init__(self, *, learning_rate: float, clip: float) -> None:
        self._learning_rate, self._clip = learning_rate, clip
        self._parts: tuple[nn.Module, torch.optim.Optimizer] | None = None

    def __call__(self, shown: Trajectories) -> Tensor:
        """Teach the discriminator one step, then say how far the forecasts are from passing for truths."""
        critic, optimiser = self._parts = self._parts or self._build(shown)
        whole = (shown.known > 0).all(dim=2).all(dim=1).flatten().float()
        share = whole / whole.sum().clamp(min=1)
        truth = _series(torch.where(shown.known > 0, shown.truth, 0.0))
        forecast, base = _series(shown.median), _series(shown.base)

        def far(series: Tensor, wanted: float) -> Tensor:
            verdict: Tensor = critic(torch.cat([series, base], dim=1))
            return 0.5 * ((verdict.squeeze(1) - wanted).square() * share).sum()

        optimiser.zero_grad(set_to_none=True)
        (far(truth, 1.0) + far(forecast.detach(), 0.0)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(critic.parameters(), self._clip)
        optimiser.step()
        critic.requires_grad_(False)
        passing = far(forecast, 1.0)
        critic.requires_grad_(True)
        return passing

    def _build(self, shown: Trajectories) -> tuple[nn.Module, torch.optim.Optimizer]:
        critic = nn.Sequential(
            nn.Conv1d(2 * shown.truth.shape[2], _WIDTH, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(_WIDTH, 1),
        ).to(shown.truth.device)
        # Momentum 0.5: the usual choice where two networks chase each other (Radford et al. 2016).
        return critic, torch.optim.Adam(critic.parameters(), lr=self._learning_rate, betas=(0.5, 0.999))


def _series(values: Tensor) -> Tensor:
    """Trajectories (n * location, target, lead)."""
    return values.permute(0, 3, 2, 1).flatten(0, 1)
