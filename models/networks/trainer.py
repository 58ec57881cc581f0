"""The training loop: warm-up and cosine schedule, clipping, averaged weights, early stopping, a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.base import Epoch, Progress
from models.errors import DivergedError
from models.networks.adversary import Adversary
from models.networks.forward_pass import ForwardPass
from models.networks.training_batch import TrainingBatch
from models.networks.training_config import TrainingConfig

Tensors = tuple[Tensor, ...] | list[Tensor]

# Steps between checks of the loss on a GPU, since each check waits for the GPU.
_CHECK_EVERY = 16
# Lead of elapsed time over steps, as fractions of the whole, beyond which the schedule follows time.
_LAG = 0.1


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
) -> float:
    """Train in place, keep the averaged weights with the lowest validation loss, and return that loss.

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
        DivergedError: a training loss was not finite.
        ModelError: the device does not support the precision.
    """
    train_step = _TrainStep(network, config)
    average = _moving_average(network, config.ema_decay)
    best, best_loss = deepcopy(network.state_dict()), evaluate(network, validation())
    total = max(1, steps * config.epochs)
    schedule = _Schedule(time.monotonic(), deadline, total)
    done, stale = 0, 0
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        network.train()
        losses = _EpochLoss(name, epoch, train_step.device)
        for step, batch in enumerate(batches()):
            loss, weight, objective = train_step.objective(batch)
            losses.add(step, loss, weight, objective)
            train_step.descend(objective, config.learning_rate * _rate(schedule.position(done), config.warmup, total))
            done += 1
            average.update_parameters(network)
            if schedule.expired():
                break
        train_loss = losses.close()
        validation_loss = evaluate(average.module, validation())
        progress(Epoch(epoch, config.epochs, train_loss, validation_loss, time.monotonic() - started))
        stale += 1
        if validation_loss < best_loss:
            best, best_loss, stale = deepcopy(average.module.state_dict()), validation_loss, 0
        if stale >= config.patience or schedule.expired():
            break
    network.load_state_dict(best)
    network.eval()
    return best_loss


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterable[TrainingBatch]) -> float:
    """Return the mean loss over all known values, in float32; infinite where nothing is known."""
    network.eval()
    total, total_weight = 0.0, 0.0
    for batch in batches:
        loss, weight = batch.loss(network(batch.sample))
        total, total_weight = total + float(loss), total_weight + float(weight)
    return total / total_weight if total_weight else math.inf


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


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Progress of training: by steps, or by time where the deadline will end it sooner."""

    start: float
    deadline: float | None
    total: int

    def position(self, done: int) -> float:
        """Return the completed fraction of training after `done` steps."""
        by_steps = done / self.total
        if self.deadline is None or done == 0:
            return by_steps
        by_time = (time.monotonic() - self.start) / max(self.deadline - self.start, 1e-9)
        # A briefly busy machine must not change the model: only a clear lag counts.
        return by_time if by_time > by_steps + _LAG else by_steps

    def expired(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def _rate(position: float, warmup: float, total: int) -> float:
    """Return the learning rate relative to its peak: a linear rise, then half a cosine down to 0."""
    if position < warmup:
        return (position + 1 / total) / (warmup + 1 / total)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (position - warmup) / max(1 - warmup, 1e-9))))
