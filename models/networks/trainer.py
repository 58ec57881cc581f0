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
from models.errors import DivergedError
from models.networks.adversary import Adversary
from models.networks.lesson import Lesson
from models.networks.recipe import Recipe
from models.networks.runner import Runner

# Steps between looks at the loss on a GPU, which must finish its work for each.
_LOOK = 16
# How far time may run ahead of steps, as shares of all, before the schedule follows time.
_LAG = 0.1


def train(
    network: nn.Module,
    lessons: Callable[[], Iterable[Lesson]],
    held: Callable[[], Iterable[Lesson]],
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
        lessons: one epoch of batches, shuffled and perturbed afresh at each call.
        held: the same validation batches at each call.
        steps: batches in an epoch.
        recipe: how to train.
        name: of the model, for errors.
        deadline: `time.monotonic` at which to stop, in the middle of an epoch if need be.
        progress: told of each epoch.

    Raises:
        DivergedError: a training loss was not finite.
        ModelError: the device cannot compute in the precision of the recipe.
    """
    student = _Student(network, recipe)
    average = _Average(network)
    best, best_loss = deepcopy(network.state_dict()), evaluate(network, held())
    total = max(1, steps * recipe.epochs)
    clock = _Clock(time.monotonic(), deadline, total)
    done, stale = 0, 0
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        network.train()
        tally = _Tally(name, epoch, student.device)
        for step, lesson in enumerate(lessons()):
            value, known, goal = student.goal(lesson)
            tally.add(step, value, known, goal)
            student.step(goal, recipe.learning_rate * _rate(clock.share(done), recipe.warmup, total))
            done += 1
            average.follow(min(recipe.average, done / (done + 10)))
            if clock.over():
                break
        train_loss = tally.close()
        validation = evaluate(average.network, held())
        progress(Epoch(epoch, recipe.epochs, train_loss, validation, time.monotonic() - started))
        stale += 1
        if validation < best_loss:
            best, best_loss, stale = deepcopy(average.network.state_dict()), validation, 0
        if stale >= recipe.patience or clock.over():
            break
    network.load_state_dict(best)
    network.eval()
    return best_loss


@torch.no_grad()
def evaluate(network: nn.Module, lessons: Iterable[Lesson]) -> float:
    """Mean loss over all known values, in single precision; infinite where nothing is known."""
    network.eval()
    total, weight = 0.0, 0.0
    for lesson in lessons:
        value, known = lesson.loss(network(lesson.sample))
        total, weight = total + float(value), weight + float(known)
    return total / weight if weight else math.inf


class _Student:
    """The network in training: from a lesson to what is to fall, and a step downwards."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self._recipe = recipe
        # Asking a network for its parameters takes longer than averaging them, so both are listed once.
        self._parameters = list(network.parameters())
        self.device = self._parameters[0].device
        self._run = Runner(network, precision=recipe.precision, compile=recipe.compile)
        self._optimiser = _optimiser(network, recipe)
        self._weights = [parameter for name, parameter in network.named_parameters() if _is_weight(name, parameter)]
        self._adversary: Adversary | None = None
        if recipe.adversarial:
            self._adversary = Adversary(learning_rate=recipe.learning_rate, clip=recipe.clip)

    def goal(self, lesson: Lesson) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of losses, the weight behind it, and what training lowers: their ratio and all penalties."""
        recipe = self._recipe
        outputs = self._run(lesson.sample)
        value, known = lesson.loss(outputs)
        goal = value / known.clamp(min=1)
        if recipe.l1:
            goal = goal + recipe.l1 * torch.stack([weight.abs().sum() for weight in self._weights]).sum()
        if recipe.l2:
            goal = goal + recipe.l2 * torch.stack([weight.square().sum() for weight in self._weights]).sum()
        if self._adversary is not None:
            goal = goal + recipe.adversarial * self._adversary(lesson.trajectories(outputs))
        return value.detach(), known.detach(), goal

    def step(self, goal: Tensor, rate: float) -> None:
        """Go downhill once."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        goal.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        self._optimiser.step()


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, rate = network.parameters(), recipe.learning_rate
    match recipe.optimiser:
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=recipe.weight_decay)
        case "adam":
            return torch.optim.Adam(parameters, lr=rate)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Whether it multiplies what flows through the network: not a bias, a norm's scale, a peephole, an embedding."""
    return "weight" in name.rpartition(".")[2] and parameter.ndim > 1


class _Average:
    """A copy of the network that follows it: parameters, and buffers that belong to its state."""

    def __init__(self, network: nn.Module) -> None:
        self.network = deepcopy(network)
        self._leader = network
        self._pairs = list(zip(self.network.parameters(), network.parameters(), strict=True))
        state = network.state_dict()
        self._buffers = [name for name, _ in network.named_buffers() if name in state]

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Keep this share of the copy, and take the rest from the network; counters are taken over."""
        for slow, fast in self._pairs:
            slow.lerp_(fast, 1 - decay)
        for name in self._buffers:
            kept, now = self.network.get_buffer(name), self._leader.get_buffer(name)
            if kept.is_floating_point():
                kept.copy_(torch.where(kept == now, kept, kept.lerp(now, 1 - decay)))  # equal infinities stay
            else:
                kept.copy_(now)


class _Tally:
    """Adds up the losses of an epoch, and stops training that has diverged."""

    def __init__(self, name: str, epoch: int, device: torch.device) -> None:
        self._name, self._epoch, self._step = name, epoch, 0
        self._every = _LOOK if device.type == "cuda" else 1
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)

    def add(self, step: int, value: Tensor, known: Tensor, goal: Tensor) -> None:
        self._step = step
        # What is not finite stays so in a sum.
        self._sums += torch.stack([part.detach().double() for part in (value, known, goal)])
        if step % self._every == 0:
            self._look()

    def close(self) -> float:
        """The mean loss of all known values, without penalties."""
        self._look()
        value, known, _ = self._sums.tolist()
        return value / known if known else 0.0

    def _look(self) -> None:
        if not bool(self._sums.isfinite().all()):
            raise DivergedError(self._name, epoch=self._epoch, step=self._step)


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
        # A machine that is busy now and then must not make another model: only a clear lag counts.
        return by_time if by_time > by_steps + _LAG else by_steps

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


def _rate(share: float, warmup: float, total: int) -> float:
    """Share of the highest learning rate: a linear rise, then half a cosine down to 0."""
    if share < warmup:
        return (share + 1 / total) / (warmup + 1 / total)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / max(1 - warmup, 1e-9))))
