"""The flagship: a linear base, and a network that may only improve on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.base import Model, Progress, State, prefixed, scoped, silent, take
from models.baselines.base import Baseline, Floats
from models.baselines.plain import DampedAnomaly
from models.baselines.ridge import RidgeVar
from models.errors import ModelError, NotFittedError
from models.layers.setconv import unit_square
from models.networks.forecaster import Forecaster, Sample, Shape
from models.networks.losses import pinball
from models.networks.outage import Outages
from models.networks.trainer import Loss, Recipe
from models.networks.trainer import train as fit_network
from models.statistics.calendar import cycles
from models.statistics.calibration import choose_share
from models.statistics.dressing import level_widths
from models.task import Batch, Inputs, Task, Windows

_MOST_VALIDATION = 2048
_MOST_RIDGE = 750
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SPREADS = tuple(0.8 * 1.03**step for step in range(31))
# Issue times forecast at once: memory does not grow with their number.
_CHUNK = 256

Lesson = tuple[Sample, Tensor, Tensor]
"""What the network sees, the standardised truth, and where it is known."""


class AttentionConvLSTM(Model):
    """Residual on a linear highway: `ridge-var`, corrected by a ConvLSTM encoder-forecaster.

    The base is fitted first. The network sees anomalies, gaps and calendar, and moves the median and the
    gaps between quantiles; untrained, it returns the base. Validation windows then widen the corrected
    forecast where it is too sure, and choose for each lead how much of it replaces the base: none, unless
    the gain is larger than its standard error. So a network that learnt nothing costs nothing.

    Args:
        task: what to forecast.
        base: `ridge-var`, `damped-anomaly`, or `auto`: the former unless locations are too many.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
        options: fields of `Shape` and of `Recipe`, by name.

    Raises:
        ModelError: an option is unknown or out of range.
    """

    name: ClassVar[str] = "attention-convlstm"

    def __init__(self, task: Task, *, base: str = "auto", device: str = "auto", **options: Any) -> None:
        super().__init__(task)
        shape_names, recipe_names = ({field.name for field in fields(kind)} for kind in (Shape, Recipe))
        if unknown := sorted(set(options) - shape_names - recipe_names):
            raise ModelError(f"{self.name}: unknown options {unknown}")
        self._shape = Shape(**{name: value for name, value in options.items() if name in shape_names})
        self._recipe = Recipe(**{name: value for name, value in options.items() if name in recipe_names})
        self._given = {"base": base, "device": device}
        self._base = _base(task, base)
        self._device = _device(device)
        self._network: Forecaster | None = None
        self._share, self._spread = np.zeros(task.leads, np.float32), 1.0
        self._median = task.quantiles.index(0.5)
        self._levels = torch.tensor(task.quantiles, dtype=torch.float32, device=self._device)
        self._widths = torch.from_numpy(level_widths(task.quantiles)).to(self._device)

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return {**self._given, **asdict(self._shape), **asdict(self._recipe)}

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
        self._network = None  # a training that fails must not leave a model behind
        with self._own_random_state(seed):
            network = self._build()
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
            parts = [self._quantiles(network, chunk) for chunk in inputs.chunks(_CHUNK)]
        return self._base.physical(np.concatenate(parts), inputs.target_time)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, by name.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        network = {name: tensor.cpu().numpy() for name, tensor in self._fitted().state_dict().items()}
        return {
            **prefixed("base", self._base.state()),
            **prefixed("network", network),
            "share": self._share,
            "spread": np.array([self._spread]),
        }

    def load_state(self, state: State) -> None:
        """Take over a state; see `Model.load_state`."""
        share, spread = take(state, "share", (self.task.leads,)), take(state, "spread", (1,))
        with self._own_random_state(0):
            network = self._build()
        own = scoped("network", state)
        arrays = {name: take(own, name, tuple(old.shape)) for name, old in network.state_dict().items()}
        self._base.load_state(scoped("base", state))
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self._network, self._share, self._spread = network.eval(), share, float(spread[0])

    def _fitted(self) -> Forecaster:
        if self._network is None:
            raise NotFittedError(self.name)
        return self._network

    @contextmanager
    def _own_random_state(self, seed: int) -> Iterator[None]:
        """Random numbers from `seed` within, the caller's generator untouched after."""
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def _build(self) -> Forecaster:
        task = self.task
        network = Forecaster(
            self._shape,
            channels=len(task.channels),
            targets=len(task.targets),
            leads=task.leads,
            levels=len(task.quantiles),
            median=self._median,
            positions=torch.from_numpy(unit_square(task.longitude, task.latitude)),
        )
        return network.to(self._device)

    def _train(
        self,
        network: Forecaster,
        windows: Windows,
        validation: Windows,
        rng: np.random.Generator,
        deadline: float | None,
        progress: Progress,
    ) -> None:
        size = self._recipe.batch
        chosen = np.arange(len(windows), dtype=np.intp)
        judges: Windows = validation
        judged = np.arange(len(validation), dtype=np.intp)
        if not len(validation):
            gap = self.task.context + self.task.leads
            cut = len(windows) - max(1, len(windows) // 10)
            judges, judged, chosen = windows, chosen[cut:], chosen[: max(1, cut - gap)]
        if len(judged) > _MOST_VALIDATION:
            judged = judged[np.linspace(0, len(judged) - 1, _MOST_VALIDATION).astype(np.intp)]
        held = [self._lesson(judges.batch(part)) for part in _split(judged, 4 * size)]
        outages = Outages.of(self.task, self._recipe.outage)

        def lessons() -> Iterator[Loss]:
            for part in _split(rng.permutation(chosen), size):
                batch = windows.batch(part)
                yield partial(self._loss, self._lesson(replace(batch, inputs=outages(batch.inputs, rng))))

        fit_network(
            network,
            lessons,
            lambda: (partial(self._loss, lesson) for lesson in held),
            steps=-(-len(chosen) // size),
            recipe=self._recipe,
            name=self.name,
            deadline=deadline,
            progress=progress,
        )
        self._calibrate(network, held)

    def _calibrate(self, network: Forecaster, held: list[Lesson]) -> None:
        """Learn from validation how much wider the correction must be, and how much of it each lead takes."""
        needed, rows = np.zeros((2, len(_SPREADS))), []
        with torch.inference_mode():
            pairs = [(sample.base, network(sample)) for sample, _, _ in held]
            for pair, (_, truth, known) in zip(pairs, held, strict=True):
                for which, forecast in enumerate(pair):
                    for step, spread in enumerate(_SPREADS):
                        loss = self._score(self._widen(forecast, spread), truth) * known
                        needed[which, step] += float(loss.sum())
            # The base is calibrated already: the corrected forecast need only become as wide.
            base, corrected = (_SPREADS[int(row.argmin())] for row in needed)
            self._spread = max(1.0, corrected / base)
            for (base_forecast, forecast), (_, truth, known) in zip(pairs, held, strict=True):
                wide = self._widen(forecast, self._spread)
                mixed = (torch.lerp(base_forecast, wide, share) for share in _SHARES)
                losses = torch.stack([self._score(one, truth) * known for one in mixed])
                rows.append(losses.sum((-2, -1)).cpu().numpy())
        self._share = choose_share(np.concatenate(rows, axis=1), _SHARES)

    def _widen(self, quantiles: Tensor, spread: float) -> Tensor:
        median = quantiles[..., self._median : self._median + 1]
        return median + spread * (quantiles - median)

    def _score(self, quantiles: Tensor, truth: Tensor) -> Tensor:
        return pinball(quantiles, truth, self._levels, self._widths)

    def _loss(self, lesson: Lesson, network: nn.Module) -> tuple[Tensor, Tensor]:
        sample, truth, known = lesson
        return (self._score(network(sample), truth) * known).sum(), known.sum()

    def _lesson(self, batch: Batch) -> Lesson:
        truth, known = self._base.target_anomalies(batch)
        return self._sample(batch.inputs), self._tensor(truth), self._tensor(known)

    def _quantiles(self, network: Forecaster, inputs: Inputs) -> Floats:
        """Quantiles of the standardised anomaly, the correction taken as far as it proved itself."""
        sample = self._sample(inputs)
        share = self._tensor(self._share)[:, None, None, None]
        corrected = self._widen(network(sample), self._spread)
        mixed: Floats = torch.lerp(sample.base, corrected, share).cpu().numpy()
        return mixed

    def _sample(self, inputs: Inputs) -> Sample:
        """What the network sees, as tensors."""
        anomaly, known = self._base.anomalies(inputs)
        mean, deviation = self._base.core(inputs, anomaly, known)
        base = self._base.dress(mean, deviation)
        parts = (anomaly, known, cycles(inputs.time), cycles(inputs.target_time), base, deviation)
        return Sample(*(self._tensor(part) for part in parts))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)


def _base(task: Task, kind: str) -> Baseline:
    if kind == "auto":
        kind = "ridge-var" if len(task.channels) * len(task.locations) <= _MOST_RIDGE else "damped-anomaly"
    if kind == "ridge-var":
        return RidgeVar(task)
    if kind == "damped-anomaly":
        return DampedAnomaly(task)
    raise ModelError(f"attention-convlstm: base must be auto, ridge-var or damped-anomaly, found {kind!r}")


def _device(name: str) -> torch.device:
    gpu = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not gpu):
        raise ModelError(f"attention-convlstm: no device {name!r} here; want auto, cpu or cuda")
    return torch.device("cuda" if gpu and name != "cpu" else "cpu")


def _split(index: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(index), size):
        yield index[start : start + size]
