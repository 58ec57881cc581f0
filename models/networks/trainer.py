"""The training loop: warm-up and cosine, clipping, averaged weights, early stopping, a wall-clock budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.base import Epoch, Progress
from models.errors import DivergedError, ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: most passes over the training set; the learning rate falls to 0 over them.
        patience: epochs without a better validation loss before training stops.
        batch: windows per step.
        learning_rate: highest rate of AdamW.
        weight_decay: of AdamW.
        warmup: share of all steps in which the rate rises from 0.
        clip: largest norm of a gradient.
        average: decay per step of the averaged weights, which are what is kept.
        outage: share of batches in which sensors are hidden, or the latest frame of all.
    """

    epochs: int = 8
    patience: int = 3
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip: float = 1.0
    average: float = 0.99
    outage: float = 0.3

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 0, math.inf),
            ("patience", 1, math.inf),
            ("batch", 1, math.inf),
            ("learning_rate", 1e-9, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("warmup", 0.0, 1.0),
            ("clip", 1e-9, math.inf),
            ("average", 0.0, 1.0),
            ("outage", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ModelError(f"{name} must lie within {low:g}..{high:g}, found {value}")


Loss = Callable[[nn.Module], tuple[Tensor, Tensor]]
"""Sum of the losses of one batch under a network, and how many values were known."""


def train(
    network: nn.Module,
    train_batches: Callable[[], Iterable[Loss]],
    validation_batches: Callable[[], Iterable[Loss]],
    *,
    steps: int,
    recipe: Recipe,
    name: str,
    deadline: float | None,
    progress: Progress,
) -> float:
    """Train in place; leave the network with its best averaged weights and return their validation loss.

    The untrained network takes part as epoch 0: training never makes validation worse.

    Args:
        network: what to train.
        train_batches: one epoch of batches, shuffled and perturbed afresh at each call.
        validation_batches: the same validation batches at each call.
        steps: batches in an epoch.
        recipe: how to train.
        name: of the model, for errors.
        deadline: `time.monotonic` at which to stop, in the middle of an epoch if need be.
        progress: told of each epoch.

    Raises:
        DivergedError: a training loss was not finite.
    """
    averaged = deepcopy(network)
    best, best_loss = deepcopy(network.state_dict()), evaluate(network, validation_batches())
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = max(1, steps * recipe.epochs)
    clock = _Clock(time.monotonic(), deadline, total)
    done, stale = 0, 0
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        network.train()
        loss_sum, count = 0.0, 0
        for step, batch in enumerate(train_batches()):
            value, known = batch(network)
            loss = value / known.clamp(min=1)
            number = float(loss.detach())
            if not math.isfinite(number):
                raise DivergedError(name, epoch=epoch, step=step)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _rate(clock.share(done), recipe.warmup, total)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimiser.step()
            done += 1
            _follow(averaged, network, min(recipe.average, done / (done + 10)))
            loss_sum, count = loss_sum + number * int(known), count + int(known)
            if clock.over():
                break
        validation = evaluate(averaged, validation_batches())
        seconds = time.monotonic() - started
        progress(Epoch(epoch, recipe.epochs, loss_sum / max(count, 1), validation, seconds))
        stale += 1
        if validation < best_loss:
            best, best_loss, stale = deepcopy(averaged.state_dict()), validation, 0
        if stale >= recipe.patience or clock.over():
            break
    network.load_state_dict(best)
    network.eval()
    return best_loss


def evaluate(network: nn.Module, batches: Iterable[Loss]) -> float:
    """Mean loss over all known values; infinite where nothing is known."""
    network.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            value, known = batch(network)
            total, count = total + float(value), count + int(known)
    return total / count if count else math.inf


@dataclass(frozen=True, slots=True)
class _Clock:
    """How far training has come: by steps, or by time where the budget will end it sooner."""

    start: float
    deadline: float | None
    total: int

    def share(self, done: int) -> float:
        by_steps = done / self.total
        if self.deadline is None or done == 0:
            return by_steps
        by_time = (time.monotonic() - self.start) / max(self.deadline - self.start, 1e-9)
        return max(by_steps, by_time)

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


def _rate(share: float, warmup: float, total: int) -> float:
    """Share of the highest learning rate: a linear rise, then half a cosine down to 0."""
    if share < warmup:
        return (share + 1 / total) / (warmup + 1 / total)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / max(1 - warmup, 1e-9))))


@torch.no_grad()
def _follow(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(averaged.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
