"""Training loops: clipping, averaged weights, early stopping, a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.base import Epoch, Progress
from models.errors import DivergedError, OutOfTimeError
from models.networks.adversary import Adversary
from models.networks.forward_pass import ForwardPass
from models.networks.schedule import Schedule, TrainingLength, learning_rate
from models.networks.training_batch import TrainingBatch
from models.networks.training_config import TrainingConfig

Tensors = tuple[Tensor, ...] | list[Tensor]

# Steps between checks of the loss on a GPU, since each check waits for the GPU.
_CHECK_EVERY = 16


def train(
    network: nn.Module,
    batches: Callable[[], Iterable[TrainingBatch]],
    validation: Callable[[], Iterable[TrainingBatch]],
    *,
    steps: int,
    config: TrainingConfig,
    name: str,
    deadline: float | None,
    progress: Progress,
) -> tuple[TrainingLength, float]:
    """Train in place, keep the averaged weights with the lowest validation loss, and return their length and loss.

    The untrained network counts as epoch 0, so training never raises the validation loss.

    Args:
        network: the network to train.
        batches: returns the batches of one epoch, shuffled and perturbed anew at each call.
        validation: returns the same validation batches at each call.
        steps: batches in an epoch.
        config: how to train.
        name: name of the model, for errors.
        deadline: `time.monotonic` at which to stop, if need be within an epoch.
        progress: called after each epoch.

    Raises:
        ModelError: the device does not support the precision.
        DivergedError: a training loss was not finite.
    """
    best, best_loss = deepcopy(network.state_dict()), evaluate(network, validation())
    kept, whole = TrainingLength(0, 0.0), TrainingLength(config.epochs, 1.0)
    run = _Run(network, batches, whole, steps=steps, config=config, name=name, deadline=deadline)
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        train_loss = run.train_epoch(epoch)
        validation_loss = evaluate(run.average, validation())
        progress(Epoch(epoch, config.epochs, train_loss, validation_loss, time.monotonic() - started))
        if validation_loss < best_loss:
            best, best_loss = deepcopy(run.average.state_dict()), validation_loss
            kept = TrainingLength(epoch, run.position())
        if epoch - kept.epochs >= config.patience or run.expired():
            break
    network.load_state_dict(best)
    network.eval()
    return kept, best_loss


def train_for(
    network: nn.Module,
    batches: Callable[[], Iterable[TrainingBatch]],
    length: TrainingLength,
    *,
    steps: int,
    config: TrainingConfig,
    name: str,
    deadline: float | None,
    progress: Progress,
) -> None:
    """Train in place for this length, without validation, and keep the averaged weights.

    The other arguments and the errors are those of `train`. The validation loss that `progress` reports is NaN.

    Raises:
        OutOfTimeError: the deadline passed before this length. Without validation, nothing shows what a network that
            was trained for less is worth.
    """
    run = _Run(network, batches, length, steps=steps, config=config, name=name, deadline=deadline)
    for epoch in range(1, length.epochs + 1):
        started = time.monotonic()
        train_loss = run.train_epoch(epoch)
        progress(Epoch(epoch, length.epochs, train_loss, math.nan, time.monotonic() - started))
        if run.completed < 1 and run.expired():
            raise OutOfTimeError(name, run.completed)
    network.load_state_dict(run.average.state_dict())
    network.eval()


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterable[TrainingBatch]) -> float:
    """Return the mean loss over all known values, in float32; infinite where nothing is known."""
    network.eval()
    total, total_weight = 0.0, 0.0
    for batch in batches:
        loss, weight = batch.loss(network(batch.sample))
        total, total_weight = total + float(loss), total_weight + float(weight)
    return total / total_weight if total_weight else math.inf


class _Run:
    """One run of training, epoch by epoch."""

    def __init__(
        self,
        network: nn.Module,
        batches: Callable[[], Iterable[TrainingBatch]],
        length: TrainingLength,
        *,
        steps: int,
        config: TrainingConfig,
        name: str,
        deadline: float | None,
    ) -> None:
        self._network, self._batches, self._config, self._name = network, batches, config, name
        self._step = _TrainStep(network, config)
        self._average = _moving_average(network, config.ema_decay)
        self._done = 0
        self._total = max(1, steps * length.epochs)
        self._schedule = Schedule(time.monotonic(), deadline, self._total, length.position)

    @property
    def average(self) -> nn.Module:
        """The network with averaged weights."""
        return self._average.module

    @property
    def completed(self) -> float:
        """Fraction of the planned steps."""
        return self._done / self._total

    def train_epoch(self, epoch: int) -> float:
        """Train for one epoch, or until the deadline, and return the mean training loss."""
        self._network.train()
        losses = _EpochLoss(self._name, epoch, self._step.device)
        for step, batch in enumerate(self._batches()):
            loss, weight, objective = self._step.objective(batch)
            losses.add(step, loss, weight, objective)
            rate = learning_rate(self.position(), self._config.warmup, self._schedule.step)
            self._step.descend(objective, self._config.learning_rate * rate)
            self._done += 1
            self._average.update_parameters(self._network)
            if self.expired():
                break
        return losses.close()

    def position(self) -> float:
        """Return the completed fraction of the schedule."""
        return self._schedule.position(self._done)

    def expired(self) -> bool:
        """Return whether the deadline has passed."""
        return self._schedule.expired()


class _TrainStep:
    """One optimiser step, in two parts: the objective of a batch, and the descent."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self._config = config
        self._parameters = list(network.parameters())
        self.device = self._parameters[0].device
        self._forward = ForwardPass(network, precision=config.precision, compile=config.compile)
        self._optimiser = _optimiser(network, config)
        self._weights = [parameter for name, parameter in network.named_parameters() if _is_weight(name, parameter)]
        self._adversary: Adversary | None = None
        if config.adversarial:
            self._adversary = Adversary(learning_rate=config.learning_rate, clip=config.clip)

    def objective(self, batch: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of losses, the sum of weights, and the objective: their ratio plus all penalties."""
        config = self._config
        outputs = self._forward(batch.sample)
        loss, weight = batch.loss(outputs)
        objective = loss / weight.clamp(min=1)
        if config.l1:
            objective = objective + config.l1 * torch.stack([one.abs().sum() for one in self._weights]).sum()
        if config.l2:
            objective = objective + config.l2 * torch.stack([one.square().sum() for one in self._weights]).sum()
        if self._adversary is not None:
            objective = objective + config.adversarial * self._adversary(batch.trajectories(outputs))
        return loss.detach(), weight.detach(), objective

    def descend(self, objective: Tensor, rate: float) -> None:
        """Update the weights once, at this learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, self._config.clip)
        self._optimiser.step()


def _optimiser(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters, rate = network.parameters(), config.learning_rate
    match config.optimiser:
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=config.weight_decay)
        case "adam":
            return torch.optim.Adam(parameters, lr=rate)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a weight matrix, and not a bias, a norm's scale, a peephole or an embedding."""
    return "weight" in name.rpartition(".")[2] and parameter.ndim > 1


def _moving_average(network: nn.Module, ema_decay: float) -> AveragedModel:
    """Return a moving average of parameters and buffers, whose decay rises to `ema_decay` over the first steps."""

    @torch.no_grad()
    def update(averages: Tensors, currents: Tensors, count: Tensor | int) -> None:
        steps = int(average.n_averaged)  # unlike `count` always on the CPU, so training need not wait for a GPU
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, 1 - min(ema_decay, steps / (steps + 10)))
        else:
            torch._foreach_copy_(averages, currents)

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    average.update_parameters(network)  # the first update copies, so the average starts at the untrained network
    return average


class _EpochLoss:
    """Sums the losses of an epoch, and raises when training has diverged."""

    def __init__(self, name: str, epoch: int, device: torch.device) -> None:
        self._name, self._epoch, self._step = name, epoch, 0
        self._every = _CHECK_EVERY if device.type == "cuda" else 1
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)

    def add(self, step: int, loss: Tensor, weight: Tensor, objective: Tensor) -> None:
        self._step = step
        # A value that is not finite makes the sum not finite for good.
        self._sums += torch.stack([part.detach().double() for part in (loss, weight, objective)])
        if step % self._every == 0:
            self._check()

    def close(self) -> float:
        """Return the mean loss of all known values, without penalties."""
        self._check()
        loss, weight, _ = self._sums.tolist()
        return loss / weight if weight else 0.0

    def _check(self) -> None:
        if not bool(self._sums.isfinite().all()):
            raise DivergedError(self._name, epoch=self._epoch, step=self._step)
