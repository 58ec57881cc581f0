"""An optional adversarial term that makes forecast trajectories look like observed ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_WIDTH = 32


class Trajectories(NamedTuple):
    """Input of the discriminator; all (n, lead, target, location), in units of the climatic standard deviation.

    Attributes:
        truth: observations, any number where unknown.
        known: 1 where the truth is known, else 0.
        median: median of the forecast.
        base: median of the base, which conditions both.
    """

    truth: Tensor
    known: Tensor
    median: Tensor
    base: Tensor


class Adversary:
    """A discriminator trained beside the network, by least squares (Mao et al. 2017, arXiv:1611.04076).

    It convolves over the leads of one location at a time, all targets together, conditioned on the base. Trajectories
    whose truth has a gap are left out. It draws from torch's global random state.

    Args:
        learning_rate: learning rate of the discriminator.
        clip: maximum norm of its gradient.
    """

    def __init__(self, *, learning_rate: float, clip: float) -> None:
        self._learning_rate, self._clip = learning_rate, clip
        self._parts: tuple[nn.Module, torch.optim.Optimizer] | None = None

    def __call__(self, trajectories: Trajectories) -> Tensor:
        """Train the discriminator for one step, then return the generator loss of the forecasts."""
        critic, optimiser = self._parts = self._parts or self._build(trajectories)
        complete = (trajectories.known > 0).all(dim=2).all(dim=1).flatten().float()
        weight = complete / complete.sum().clamp(min=1)
        truth = _series(torch.where(trajectories.known > 0, trajectories.truth, 0.0))
        forecast, base = _series(trajectories.median), _series(trajectories.base)

        def loss(series: Tensor, label: float) -> Tensor:
            score: Tensor = critic(torch.cat([series, base], dim=1))
            return 0.5 * ((score.squeeze(1) - label).square() * weight).sum()

        optimiser.zero_grad(set_to_none=True)
        (loss(truth, 1.0) + loss(forecast.detach(), 0.0)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(critic.parameters(), self._clip)
        optimiser.step()
        critic.requires_grad_(False)
        generator_loss = loss(forecast, 1.0)
        critic.requires_grad_(True)
        return generator_loss

    def _build(self, trajectories: Trajectories) -> tuple[nn.Module, torch.optim.Optimizer]:
        critic = nn.Sequential(
            nn.Conv1d(2 * trajectories.truth.shape[2], _WIDTH, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(_WIDTH, 1),
        ).to(trajectories.truth.device)
        # Momentum 0.5 is usual in adversarial training (Radford et al. 2016).
        return critic, torch.optim.Adam(critic.parameters(), lr=self._learning_rate, betas=(0.5, 0.999))


def _series(values: Tensor) -> Tensor:
    """Trajectories (n * location, target, lead)."""
    return values.permute(0, 3, 2, 1).flatten(0, 1)
