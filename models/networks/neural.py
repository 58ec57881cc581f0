"""A forecaster with a linear base, and a network that may only improve on it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.base import Model, Progress, State, prefixed, scoped, silent, take
from models.baselines.base import Baseline, Floats
from models.catalogue import build
from models.errors import ModelError, NotFittedError
from models.layers.setconv import unit_square
from models.networks.heads import Head
from models.networks.lesson import Supervised
from models.networks.losses import area_weights
from models.networks.network import Network
from models.networks.outage import Outages
from models.networks.recipe import Recipe
from models.networks.sample import Places, Sample, Sizes
from models.networks.shape import Setup, Shape
from models.networks.trainer import train as fit_network
from models.networks.verdict import Verdict, judge
from models.options import fitting
from models.statistics.calendar import cycles
from models.statistics.covariates import Covariates
from models.task import Batch, Inputs, Task, Windows

_MOST_RIDGE = 750
_MOST_VALIDATION = 2048
# Numbers of a forecast held at once: memory grows neither with issue times nor with the size of a grid.
_MOST_NUMBERS = 24_000_000
# Leads and locations of an automatic batch, all issue times together.
_USUAL_BATCH = 64
_MOST_CELLS = 131_072


class NeuralModel(Model):
    """Residual on a linear highway: a base, corrected by a network.

    The base is fitted first. The network sees anomalies, gaps, calendar, static fields and covariates, and moves the
    median and the gaps between quantiles; untrained, it returns the base. Validation windows then widen the corrected
    forecast where it is too sure, and choose for each lead how much of it replaces the base: none, unless the gain is
    larger than its standard error. So a network that learnt nothing costs nothing. Where a task has covariates, this is
    judged once more as if none had arrived, and that verdict holds on the days when none does.

    Subclasses say what the network is made of: `shape` and `trunk`.

    Args:
        task: what to forecast.
        options: fields of `Setup`, of the model's `Shape` and of `Recipe`, by name.

    Raises:
        ModelError: an option is unknown or out of range, or the base cannot forecast this task.
    """

    shape: ClassVar[type[Shape]] = Shape

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        kinds = type(self).shape, Setup, Recipe
        wanted = [{field.name: get_type_hints(kind)[field.name] for field in fields(kind)} for kind in kinds]
        options = fitting(self.name, options, wanted[0] | wanted[1] | wanted[2])
        parts = [{name: value for name, value in options.items() if name in known} for known in wanted]
        try:
            self._shape, self._setup, self._recipe = type(self).shape(**parts[0]), Setup(**parts[1]), Recipe(**parts[2])
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from error
        frames = min(self._shape.frames or task.context, task.context)
        self._sizes = Sizes.of(task, frames)
        self._base = _base(task, self._setup.base, self.name)
        self._covariates = Covariates(task)
        self._device = _device(self._setup.device)
        self._network: Network | None = None
        none = Verdict(np.zeros(task.leads, np.float32), 1.0, self._sizes.median)
        self._verdict, self._unsaid = none, none
        self._places = _places(task).on(self._device)
        self._areas = area_weights(torch.tensor(task.latitude)).to(self._device)
        with self._own_random_state(0):  # what cannot be built is refused now, not after hours of training
            self.network()

    @abstractmethod
    def trunk(self, sizes: Sizes) -> tuple[nn.Module, int]:
        """What turns a `Sample` into features (n, lead, location, width), and that width."""

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {**asdict(self._setup), **asdict(self._shape), **asdict(self._recipe)}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit the base, then the network; see `Model.fit`. Global random state is left as it was.

        Without validation windows the last tenth of the training windows stands in for them.

        Raises:
            ModelError: there is nothing to learn from, or the windows are of another task.
            DivergedError: the loss is not finite.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._check_windows(train, validation)
        self._base.fit(train, validation)
        self._covariates.fit(train)
        self._network = None  # a training that fails must not leave a model behind
        with self._own_random_state(seed):
            network = self.network()
            self._train(network, train, validation, np.random.default_rng(seed), deadline, progress)
        self._network = network

    def predict(self, inputs: Inputs) -> Floats:
        """Quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: nothing has been learnt yet.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        network = self._fitted()
        with torch.inference_mode():
            parts = [self._quantiles(network, chunk) for chunk in inputs.chunks(self._at_once())]
        return self._base.physical(np.concatenate(parts), inputs.target_time)

    def remarks(self) -> tuple[str, ...]:
        """How much of the network's correction is taken at each lead.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        self._fitted()
        return (f"of its correction of {self._base.name} {self._verdict.told()} is taken",)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, by name.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        network = {name: tensor.cpu().numpy() for name, tensor in self._fitted().state_dict().items()}
        return {
            **prefixed("base", self._base.state()),
            **prefixed("covariates", self._covariates.state()),
            **prefixed("network", network),
            **prefixed("verdict", self._verdict.state()),
            **prefixed("unsaid", self._unsaid.state()),
        }

    def load_state(self, state: State) -> None:
        """Take over a state; see `Model.load_state`."""
        verdict, unsaid = (Verdict.from_state(self.task, scoped(name, state)) for name in ("verdict", "unsaid"))
        with self._own_random_state(0):
            network = self.network()
        own = scoped("network", state)
        arrays = {name: take(own, name, tuple(old.shape)) for name, old in network.state_dict().items()}
        self._base.load_state(scoped("base", state))
        self._covariates.load_state(scoped("covariates", state))
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self._network, self._verdict, self._unsaid = network.eval(), verdict, unsaid

    def _fitted(self) -> Network:
        if self._network is None:
            raise NotFittedError(self.name)
        return self._network

    @contextmanager
    def _own_random_state(self, seed: int) -> Iterator[None]:
        """Random numbers from `seed` within, the caller's generator untouched after."""
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def network(self) -> Network:
        """A fresh network, as it is before it has learnt anything."""
        trunk, width = self.trunk(self._sizes)
        setup = self._setup
        network = Network(trunk, width, self._sizes, head=setup.head, loss=setup.loss, dropout=self._shape.dropout)
        return network.to(self._device)

    def _numbers(self) -> int:
        """Numbers in the forecast of one issue time."""
        task = self.task
        return task.leads * len(task.targets) * len(task.locations) * len(task.quantiles)

    def _at_once(self) -> int:
        return max(1, min(256, _MOST_NUMBERS // self._numbers()))

    def _batch(self) -> int:
        cells = self.task.leads * len(self.task.locations)
        return self._recipe.batch or max(4, min(_USUAL_BATCH, _MOST_CELLS // cells))

    def _train(
        self,
        network: Network,
        windows: Windows,
        validation: Windows,
        rng: np.random.Generator,
        deadline: float | None,
        progress: Progress,
    ) -> None:
        size = self._batch()
        chosen = np.arange(len(windows), dtype=np.intp)
        judges: Windows = validation
        judged = np.arange(len(validation), dtype=np.intp)
        if not len(validation):
            gap = self.task.context + self.task.leads
            cut = len(windows) - max(1, len(windows) // 10)
            judges, judged, chosen = windows, chosen[cut:], chosen[: max(1, cut - gap)]
        most = max(1, min(_MOST_VALIDATION, _MOST_NUMBERS // self._numbers()))
        if len(judged) > most:
            judged = judged[np.linspace(0, len(judged) - 1, most).astype(np.intp)]
        head = network.head
        held = [self._lesson(head, judges.batch(part)) for part in _split(judged, 4 * size)]
        outages = Outages.of(self.task, self._recipe.outage)

        def lessons() -> Iterator[Supervised]:
            for part in _split(rng.permutation(chosen), size):
                batch = windows.batch(part)
                yield self._lesson(head, replace(batch, inputs=outages(batch.inputs, rng)))

        fit_network(
            network,
            lessons,
            lambda: held,
            steps=-(-len(chosen) // size),
            recipe=self._recipe,
            name=self.name,
            deadline=deadline,
            progress=progress,
        )
        self._verdict = self._unsaid = self._judge(network, held)
        if self.task.covariates:
            self._unsaid = self._judge(network, [replace(one, sample=_unsaid(one.sample)) for one in held])

    def _judge(self, network: Network, held: list[Supervised]) -> Verdict:
        if self._setup.taken == "all":
            return Verdict(np.ones(self.task.leads, np.float32), 1.0, self._sizes.median)
        with torch.inference_mode():
            return judge(
                self.task,
                (
                    (one.sample.base, self._corrected(network, one.sample), one.truth, one.known * one.weight)
                    for one in held
                ),
            )

    def _corrected(self, network: Network, sample: Sample) -> Tensor:
        return network.head.quantiles(network(sample), sample)

    def _quantiles(self, network: Network, inputs: Inputs) -> Floats:
        """Quantiles of the standardised anomaly, the correction taken as far as it proved itself."""
        sample = self._sample(inputs)
        corrected = self._corrected(network, sample) if len(inputs) else sample.base
        mixed = self._verdict(sample.base, corrected)
        if self.task.covariates:
            heard = sample.said.flatten(1).any(1)[:, None, None, None, None]
            mixed = torch.where(heard, mixed, self._unsaid(sample.base, corrected))
        quantiles: Floats = mixed.cpu().numpy()
        return quantiles

    def _lesson(self, head: Head, batch: Batch) -> Supervised:
        truth, known = self._base.target_anomalies(batch)
        weight = self._weight(batch.inputs)
        return Supervised(head, self._sample(batch.inputs), self._tensor(truth), self._tensor(known), weight)

    def _weight(self, inputs: Inputs) -> Tensor:
        """How much each value counts: (n, lead, target, location), or as much as broadcasts to it."""
        if self._setup.weights == "area":
            return self._areas
        if self._setup.weights == "none":
            return torch.ones_like(self._areas)
        _, spread = self._base.expected(inputs.target_time)
        return self._tensor(spread) ** (2 if self._setup.loss == "mse" else 1)

    def _sample(self, inputs: Inputs) -> Sample:
        """What the network sees, as tensors."""
        anomaly, known = self._base.anomalies(inputs)
        mean, deviation = self._base.core(inputs, anomaly, known)
        covariates, said = self._covariates(inputs)
        low, high = self._base.limits(inputs.target_time)
        recent, tensor = slice(-self._sizes.frames, None), self._tensor
        return Sample(
            anomaly=tensor(anomaly[:, recent]),
            known=tensor(known[:, recent]),
            calendar=tensor(cycles(inputs.time[:, recent])),
            ahead=tensor(cycles(inputs.target_time)),
            covariates=tensor(covariates),
            said=tensor(said),
            base=tensor(self._base.dress(mean, deviation)),
            deviation=tensor(deviation),
            low=tensor(low),
            high=tensor(high),
            places=self._places,
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)


def _unsaid(sample: Sample) -> Sample:
    """The same issue times, had no covariate arrived."""
    return sample._replace(covariates=torch.zeros_like(sample.covariates), said=torch.zeros_like(sample.said))


def _base(task: Task, kind: str, name: str) -> Baseline:
    if kind == "auto":
        few = len(task.channels) * len(task.locations) <= _MOST_RIDGE
        kind = "pooled-convolution" if task.grid else "ridge-var" if few else "damped-anomaly"
    base = build(kind, task)
    if not isinstance(base, Baseline):
        raise ModelError(f"{name}: base must be a baseline such as ridge-var or damped-anomaly, found {kind!r}")
    return base


def _places(task: Task) -> Places:
    static = np.array(task.static_values, np.float32).reshape(len(task.static), len(task.locations))
    spread = static.std(1, keepdims=True)
    static = (static - static.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return Places(
        position=torch.from_numpy(unit_square(task.longitude, task.latitude)),
        static=torch.from_numpy(static.T.astype(np.float32)),
        row=torch.arange(len(task.locations)),
        grid=task.grid,
    )


def _device(name: str) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and name != "cpu" else "cpu")


def _split(index: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(index), size):
        yield index[start : start + size]
