"""A network that corrects the forecast of a linear base, as far as validation shows a gain."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.base import AttentionMap, Model, Progress, State, prefixed, scoped, silent, take
from models.baselines.base import Baseline, Floats
from models.catalogue import build
from models.errors import ModelError, NotFittedError
from models.networks.attention_weights import attention_weights
from models.networks.correction import CorrectionWeights, choose_weights
from models.networks.input_dropout import InputDropout
from models.networks.model_config import ModelConfig, NetworkConfig
from models.networks.network import Network
from models.networks.sample import Dimensions, Sample
from models.networks.sample_builder import SampleBuilder
from models.networks.schedule import TrainingLength
from models.networks.trainer import train as train_network
from models.networks.trainer import train_for
from models.networks.training_batch import SupervisedBatch
from models.networks.training_config import TrainingConfig
from models.options import check_options
from models.statistics.covariates import Covariates
from models.task import Inputs, Task, Windows

# Series (channels times locations) up to which ridge-var is the default base.
_MAX_RIDGE = 750
_MAX_VALIDATION = 2048
# Forecast values in memory at a time, so that memory depends neither on the issue times nor on the size of a grid.
_MAX_VALUES = 24_000_000
# Default batch size, and the maximum of windows times leads times locations in a batch.
_DEFAULT_BATCH = 64
_MAX_BATCH_CELLS = 131_072
_BASE = "base"
# Fraction of the epochs of the judged model for which a refit continues training from former weights.
_WARM_START = 0.25


class NeuralModel(Model):
    """A base forecast, corrected by a network.

    The base is fitted first. The network reads anomalies, their mask, the calendar, static fields and covariates, and
    corrects the quantiles of the base; untrained, it returns the base. Validation windows then widen the corrected
    forecast where it is overconfident, and choose its weight at each lead: 0 unless the gain exceeds its standard
    error. So a network that learns nothing does no harm. For a task with covariates the weights are chosen a second
    time without them, and these apply at issue times when no covariate is available.

    Subclasses define the network by `config_class` and `trunk`.

    Args:
        task: what to forecast.
        options: fields of `ModelConfig`, of the model's `NetworkConfig` and of `TrainingConfig`, by name.

    Raises:
        ModelError: an option is unknown or out of range, or the base cannot forecast this task.
    """

    keeps_to_budget: ClassVar[bool] = True
    config_class: ClassVar[type[NetworkConfig]] = NetworkConfig

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        classes = type(self).config_class, ModelConfig, TrainingConfig
        types = [{field.name: get_type_hints(each)[field.name] for field in fields(each)} for each in classes]
        options = check_options(self.name, options, types[0] | types[1] | types[2])
        parts = [{name: value for name, value in options.items() if name in known} for known in types]
        try:
            self._config = type(self).config_class(**parts[0])
            self._model_config = ModelConfig(**parts[1])
            self._training_config = TrainingConfig(**parts[2])
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from error
        frames = min(self._config.frames or task.context, task.context)
        self._dims = Dimensions.of(task, frames)
        self._base = _build_base(task, self._model_config.base, self.name)
        self._covariates = Covariates(task)
        self._device = _device(self._model_config.device)
        self._network: Network | None = None
        none = CorrectionWeights(np.zeros(task.leads, np.float32), 1.0, self._dims.median)
        self._correction, self._without_covariates = none, none
        self._trained = TrainingLength(0, 0.0)
        self._builder = SampleBuilder(task, self._base, self._covariates, self._dims, self._model_config, self._device)
        with self._own_random_state(0):  # fail now and not after hours of training
            self.network()

    @abstractmethod
    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return the module that maps a `Sample` to features (n, lead, location, width), and that width."""

    def parts(self) -> Mapping[str, Model]:
        """Return the base."""
        return {_BASE: self._base}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        return {**asdict(self._model_config), **asdict(self._config), **asdict(self._training_config)}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fit the base, then the network; see `Model.fit`. The global random state is restored.

        Without validation windows the last tenth of the training windows is used for validation.

        Raises:
            ModelError: there is nothing to learn from, or the windows belong to another task.
            DivergedError: the loss is not finite.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._check_windows(train, validation)
        if parts is None:
            self._base.fit(train, validation)
        else:
            self._copy_part(_BASE, self._base, parts)
        self._covariates.fit(train)
        self._network = None  # failed training leaves the model unfitted
        with self._own_random_state(seed):
            network = self.network()
            self._train(network, train, validation, np.random.default_rng(seed), deadline, progress)
        self._network = network

    def refit(
        self,
        judged: Model,
        windows: Windows,
        *,
        start: Model | None = None,
        seed: int = 0,
        budget_seconds: float | None = None,
        parts: Mapping[str, Model] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Refit the base, then train the network for as long as that of `judged`; see `Model.refit`.

        It stays untrained where `judged` does not use its correction. With the trained network of `start`, training
        continues from there, for a quarter of the epochs but at least one. The global random state is restored.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or `judged` or `start` has
                another name, task or options.
            NotFittedError: `judged` or `start` is not fitted.
            DivergedError: the loss is not finite.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        recipe = self._same_recipe(judged)
        recipe._fitted()
        former = None if start is None else self._same_recipe(start)._trained_weights()
        self._check_windows(windows)
        self._network = None  # failed training leaves the model unfitted
        if parts is None:
            self._base.refit(recipe._base, windows)
        else:
            self._copy_part(_BASE, self._base, parts)
        self._covariates.fit(windows)
        self._correction, self._without_covariates = recipe._correction, recipe._without_covariates
        used = self._correction.weight.any() or self._without_covariates.weight.any()
        self._trained = length = recipe._trained if used else TrainingLength(0, 0.0)
        with self._own_random_state(seed):
            network = self.network()
            if length.epochs:
                if former is not None:
                    network.load_state_dict(former)
                    length = TrainingLength(max(1, round(_WARM_START * length.epochs)), 1.0)
                index = np.arange(len(windows), dtype=np.intp)
                batches, steps = self._batches(network, windows, index, np.random.default_rng(seed))
                train_for(
                    network,
                    batches,
                    length,
                    steps=steps,
                    config=self._training_config,
                    name=self.name,
                    deadline=deadline,
                    progress=progress,
                )
        self._network = network.eval()

    def predict(self, inputs: Inputs) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        network = self._fitted()
        with torch.inference_mode():
            parts = [self._quantiles(network, chunk) for chunk in inputs.chunks(self._chunk_size())]
        return self._base.physical(np.concatenate(parts), inputs.target_time)

    def attention(self, inputs: Inputs) -> AttentionMap | None:
        """Return the mean attention weights over the inputs; None without attention, or where the base forecasts alone.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        network = self._fitted()
        used = self._correction.weight.any() or self._without_covariates.weight.any()
        if not used or not len(inputs):
            return None
        frames, locations = [], []
        with torch.inference_mode():
            for one in inputs.chunks(1):
                over_frames, over_locations = attention_weights(network, self._builder.sample(one))
                frames += [] if over_frames is None else [over_frames.cpu().numpy()]
                locations += [] if over_locations is None else [over_locations.cpu().numpy()]
        if not frames and not locations:
            return None
        unread = self.task.context - self._dims.frames
        return AttentionMap(
            np.pad(np.mean(frames, axis=0), ((0, 0), (unread, 0))) if frames else None,
            np.mean(locations, axis=0) if locations else None,
        )

    def remarks(self) -> tuple[str, ...]:
        """Return the weight of the network's correction at each lead, as text.

        Raises:
            NotFittedError: the model is not fitted.
        """
        self._fitted()
        return (f"weight of the correction of {self._base.name}: {self._correction.describe()}",)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything learnt, by name.

        Raises:
            NotFittedError: the model is not fitted.
        """
        network = {name: tensor.cpu().numpy() for name, tensor in self._fitted().state_dict().items()}
        return {
            **prefixed("base", self._base.state()),
            **prefixed("covariates", self._covariates.state()),
            **prefixed("network", network),
            **prefixed("correction", self._correction.state()),
            **prefixed("without_covariates", self._without_covariates.state()),
            **prefixed("trained", self._trained.state()),
        }

    def load_state(self, state: State) -> None:
        """Load a state; see `Model.load_state`."""
        correction = CorrectionWeights.from_state(self.task, scoped("correction", state))
        without_covariates = CorrectionWeights.from_state(self.task, scoped("without_covariates", state))
        trained = TrainingLength.from_state(scoped("trained", state), self._training_config.epochs)
        with self._own_random_state(0):
            network = self.network()
        own = scoped("network", state)
        arrays = {name: take(own, name, tuple(old.shape)) for name, old in network.state_dict().items()}
        self._base.load_state(scoped("base", state))
        self._covariates.load_state(scoped("covariates", state))
        network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self._correction, self._without_covariates = correction, without_covariates
        self._network, self._trained = network.eval(), trained

    def _fitted(self) -> Network:
        if self._network is None:
            raise NotFittedError(self.name)
        return self._network

    def _trained_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the network; None where it is untrained."""
        weights = self._fitted().state_dict()
        return weights if self._trained.epochs else None

    @contextmanager
    def _own_random_state(self, seed: int) -> Iterator[None]:
        """Seed torch's random state, and restore it on exit."""
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def network(self) -> Network:
        """Return a new, untrained network."""
        trunk, width = self.trunk(self._dims)
        config = self._model_config
        network = Network(trunk, width, self._dims, head=config.head, loss=config.loss, dropout=self._config.dropout)
        return network.to(self._device)

    def _forecast_size(self) -> int:
        """Return the number of values in the forecast of one issue time."""
        task = self.task
        return task.leads * len(task.targets) * len(task.locations) * len(task.quantile_levels)

    def _chunk_size(self) -> int:
        return max(1, min(256, _MAX_VALUES // self._forecast_size()))

    def _batch_size(self) -> int:
        cells = self.task.leads * len(self.task.locations)
        return self._training_config.batch or max(4, min(_DEFAULT_BATCH, _MAX_BATCH_CELLS // cells))

    def _train(
        self,
        network: Network,
        windows: Windows,
        validation: Windows,
        rng: np.random.Generator,
        deadline: float | None,
        progress: Progress,
    ) -> None:
        training_index = np.arange(len(windows), dtype=np.intp)
        validation_index = np.arange(len(validation), dtype=np.intp)
        if not len(validation):
            validation = windows
            gap = self.task.context + self.task.leads
            cut = len(windows) - max(1, len(windows) // 10)
            validation_index, training_index = training_index[cut:], training_index[: max(1, cut - gap)]
        most = max(1, min(_MAX_VALIDATION, _MAX_VALUES // self._forecast_size()))
        if len(validation_index) > most:
            validation_index = validation_index[np.linspace(0, len(validation_index) - 1, most).astype(np.intp)]
        held_out, origins = [], np.empty(0, np.int64)
        for part in _split(validation_index, 4 * self._batch_size()):
            batch = validation.batch(part)
            held_out.append(self._builder.supervised(network.head, batch))
            origins = np.append(origins, _origins(self.task, batch.inputs))
        batches, steps = self._batches(network, windows, training_index, rng)
        self._trained, _ = train_network(
            network,
            batches,
            lambda: held_out,
            steps=steps,
            config=self._training_config,
            name=self.name,
            deadline=deadline,
            progress=progress,
        )
        self._correction = self._without_covariates = self._choose_weights(network, held_out, origins)
        if self.task.covariates:
            blind = [replace(batch, sample=batch.sample.without_covariates()) for batch in held_out]
            self._without_covariates = self._choose_weights(network, blind, origins)

    def _batches(
        self, network: Network, windows: Windows, index: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[Callable[[], Iterator[SupervisedBatch]], int]:
        """Return what makes the batches of one epoch, shuffled and perturbed anew at each call, and their number."""
        size = self._batch_size()
        input_dropout = InputDropout.of(self.task, self._training_config.input_dropout)

        def batches() -> Iterator[SupervisedBatch]:
            for part in _split(rng.permutation(index), size):
                batch = windows.batch(part)
                yield self._builder.supervised(network.head, replace(batch, inputs=input_dropout(batch.inputs, rng)))

        return batches, -(-len(index) // size)

    def _choose_weights(
        self, network: Network, batches: list[SupervisedBatch], origins: NDArray[np.int64]
    ) -> CorrectionWeights:
        if self._model_config.correction == "all":
            return CorrectionWeights(np.ones(self.task.leads, np.float32), 1.0, self._dims.median)
        with torch.inference_mode():
            return choose_weights(
                self.task,
                (
                    (one.sample.base, self._corrected(network, one.sample), one.truth, one.known * one.weight)
                    for one in batches
                ),
                origins,
            )

    def _corrected(self, network: Network, sample: Sample) -> Tensor:
        return network.head.quantiles(network(sample), sample)

    def _quantiles(self, network: Network, inputs: Inputs) -> Floats:
        """Return quantiles of the standardised anomaly, with the weighted correction."""
        sample = self._builder.sample(inputs)
        corrected = self._corrected(network, sample) if len(inputs) else sample.base
        mixed = self._correction(sample.base, corrected)
        if self.task.covariates:
            available = sample.covariate_mask.flatten(1).any(1)[:, None, None, None, None]
            mixed = torch.where(available, mixed, self._without_covariates(sample.base, corrected))
        quantiles: Floats = mixed.cpu().numpy()
        return quantiles


def _build_base(task: Task, kind: str, name: str) -> Baseline:
    if kind == "auto":
        few = len(task.channels) * len(task.locations) <= _MAX_RIDGE
        kind = "pooled-convolution" if task.grid else "ridge-var" if few else "damped-anomaly"
    base = build(kind, task)
    if not isinstance(base, Baseline):
        raise ModelError(f"{name}: base must be a baseline such as ridge-var or damped-anomaly, found {kind!r}")
    return base


def _device(name: str) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and name != "cpu" else "cpu")


def _origins(task: Task, inputs: Inputs) -> NDArray[np.int64]:
    """Return the number of the last context frame of each issue."""
    return task.frame_numbers(inputs.time[:, -1])


def _split(index: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(index), size):
        yield index[start : start + size]
