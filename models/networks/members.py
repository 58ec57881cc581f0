"""The networks of one model: usually one, or several from different random weights whose quantiles are averaged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import EpochCounter, Progress, State, prefixed, scoped, take
from models.errors import DivergedError, ModelError
from models.networks.network import Network
from models.networks.sample import Sample
from models.networks.schedule import TrainingLength

_LOG = logging.getLogger(__name__)


class Member(NamedTuple):
    """A network, and how far it was trained."""

    network: Network
    trained: TrainingLength

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the weights and the length of training, by name."""
        network = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        return {**prefixed("network", network), **prefixed("trained", self.trained.state())}

    @classmethod
    def from_state(cls, network: Network, state: State, epochs: int) -> Member:
        """Return the member stored in `state`, with its weights in `network`.

        Raises:
            ModelError: an array is missing or has the wrong shape.
        """
        trained = TrainingLength.from_state(scoped("trained", state), epochs)
        own = scoped("network", state)
        arrays = {name: take(own, name, tuple(old.shape)) for name, old in network.state_dict().items()}
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return cls(network.eval(), trained)


Members = Mapping[int, Member]
"""The members by number, from 0 on; those that diverged are absent."""


def train_members(
    name: str,
    numbers: Collection[int],
    deadline: float | None,
    progress: Progress,
    train: Callable[[int, float | None, Progress], Member],
) -> Members:
    """Train one member after another, each for an equal share of the time that the others have left.

    A member that diverges is left out. `progress` counts the epochs of all.

    Args:
        name: name of the model, for errors.
        numbers: the members to train.
        deadline: `time.monotonic` at which to stop.
        progress: called after each epoch.
        train: trains the member of a number until a deadline.

    Raises:
        DivergedError: the only member diverged.
        ModelError: every member diverged.
    """
    members: dict[int, Member] = {}
    counter = EpochCounter(progress)
    last: DivergedError | None = None
    for position, number in enumerate(numbers):
        counter.later = len(numbers) - position - 1
        now = time.monotonic()
        share = None if deadline is None else now + (deadline - now) / (counter.later + 1)
        try:
            members[number] = train(number, share, counter)
        except DivergedError as error:
            if len(numbers) == 1:
                raise
            _LOG.warning("%s: network %d of %d is left out: %s", name, position + 1, len(numbers), error)
            last = error
        counter.close()
    if not members:
        raise ModelError(f"{name}: each of its {len(numbers)} networks diverged; the last: {last}") from last
    return members


def members_state(members: Members, count: int) -> dict[str, NDArray[Any]]:
    """Return the members as arrays by name: below `networks` and the number, except the only one of a model."""
    if count == 1:
        return members[0].state()
    state: dict[str, NDArray[Any]] = {}
    for number, member in members.items():
        state |= prefixed(f"networks.{number}", member.state())
    return state


def load_members(state: State, count: int, new: Callable[[], Network], epochs: int) -> Members:
    """Return the members that `members_state` stored.

    Args:
        state: the arrays by name.
        count: number of members, including those that diverged.
        new: returns an untrained network.
        epochs: those of a member whose length of training is not stored.

    Raises:
        ModelError: an array is missing or has the wrong shape.
    """
    if count == 1:
        return {0: Member.from_state(new(), state, epochs)}
    own = {number: scoped(f"networks.{number}", state) for number in range(count)}
    members = {number: Member.from_state(new(), part, epochs) for number, part in own.items() if part}
    if not members:
        raise ModelError("state: 'networks' is missing")
    return members


def mean_quantiles(members: Members, sample: Sample) -> Tensor:
    """Return the mean of the members' quantiles at each level (n, lead, target, location, level).

    The mean of ordered quantiles is ordered, and as sharp as the members are on average (Vincentization; Lichtendahl,
    Grushka-Cockayne and Winkler 2013, doi:10.1287/mnsc.1120.1667).
    """
    first, *others = (member.network for member in members.values())
    total = first.head.quantiles(first(sample), sample)
    for network in others:
        total = total + network.head.quantiles(network(sample), sample)
    return total if not others else total / len(members)
