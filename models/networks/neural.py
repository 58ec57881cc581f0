"""A network that corrects the forecast of a linear base, as far as validation shows a gain."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.base import AttentionMap, Model, Progress, State, prefixed, scoped, silent
from models.baselines.base import Baseline, Floats
from models.catalogue import build
from models.errors import ModelError, NotFittedError
from models.networks.attention_weights import attention_weights
from models.networks.correction import CorrectionWeights, choose_weights
from models.networks.members import (
    Member,
    Members,
    load_members,
    mean_quantiles,
    members_state,
    train_members,
)
from models.networks.model_config import ModelConfig, NetworkConfig
from models.networks.network import Network
from models.networks.sample import Dimensions
from models.networks.sample_builder import SampleBuilder
from models.networks.schedule import TrainingLength
from models.networks.trainer import train as train_network
from models.networks.trainer import train_for
from models.networks.training_batch import SupervisedBatch
from models.networks.training_config import TrainingConfig
from models.networks.window_batches import WindowBatches, divide
from models.options import check_options
from models.search_space import SearchSpace
from models.statistics.covariates import Covariates
from models.task import Inputs, Task, Windows

# Series (channels times locations) up to which ridge-var is the default base.
_MAX_RIDGE = 750
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

    With the option `seeds`, so many networks are trained one after another on the same base, from different random
    weights and with an equal share of the time. The mean of their quantiles is the corrected forecast, for which
    spread and weights are chosen. A network that diverges is left out, with a remark.

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
        self._members: Members = {}
        none = CorrectionWeights(np.zeros(task.leads, np.float32), 1.0, self._dims.median)
        self._correction, self._without_covariates = none, none
        self._builder = SampleBuilder(task, self._base, self._covariates, self._dims, self._model_config, self._device)
        with self._own_random_state(0):  # fail now and not after hours of training
            head = self.network().head
        self._batches = WindowBatches(task, self._builder, head, self._training_config)

    @classmethod
    def search_space(cls, task: Task) -> SearchSpace:
        """Return the options of the network and of its training that are worth a search."""
        return {**cls.config_class.search_space(task), **TrainingConfig.search_space()}

    @abstractmethod
    def trunk(self, dims: Dimensions) -> tuple[nn.Module, int]:
        """Return the module that maps a `Sample` to features (n, lead, location, width), and that width."""

    def parts(self) -> Mapping[str, Model]:
        """Return the base."""
        return {_BASE: self._base}

    def options(self) -> dict[str, Any]:
        """Return the constructor options, ready for JSON."""
        options = {**asdict(self._model_config), **asdict(self._config), **asdict(self._training_config)}
        if self._model_config.seeds == 1:
            del options["seeds"]  # recipes and checkpoints from before there was a choice stay equal
        return options

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
            DivergedError: the loss of the network is not finite; a ModelError where each of several diverged.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._check_windows(train, validation)
        self._members = {}  # failed training leaves the model unfitted
        if parts is None:
            self._base.fit(train, validation)
        else:
            self._copy_part(_BASE, self._base, parts)
        self._covariates.fit(train)
        index, held_out, held_out_index = divide(self.task, train, validation)
        held_out_batches, origins = self._batches.validation(held_out, held_out_index)

        def train_one(number: int, deadline: float | None, progress: Progress) -> Member:
            with self._own_random_state(seed + number):
                network = self.network()
                batches, steps = self._batches.training(train, index, np.random.default_rng(seed + number))
                how = self._how_to_train(steps, deadline, progress)
                trained, _ = train_network(network, batches, lambda: held_out_batches, **how)
            return Member(network, trained)

        members = train_members(self.name, range(self._model_config.seeds), deadline, progress, train_one)
        self._correction = self._without_covariates = self._choose_weights(members, held_out_batches, origins)
        if self.task.covariates:
            blind = [replace(batch, sample=batch.sample.without_covariates()) for batch in held_out_batches]
            self._without_covariates = self._choose_weights(members, blind, origins)
        self._members = members

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
        """Refit the base, then train each network for as long as that of `judged`; see `Model.refit`.

        It stays untrained where `judged` does not use its correction. With the trained network of `start`, training
        continues from there, for a quarter of the epochs but at least one. The global random state is restored.

        Raises:
            ModelError: there is nothing to learn from, the windows belong to another task, or `judged` or `start` has
                another name, task or options.
            NotFittedError: `judged` or `start` is not fitted.
            DivergedError: the loss is not finite.
            OutOfTimeError: the budget ends before the planned length of training.
        """
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        recipe = self._same_recipe(judged)
        judged_members = recipe._fitted()
        former = {} if start is None else self._same_recipe(start)._fitted()
        self._check_windows(windows)
        self._members = {}  # failed training leaves the model unfitted
        if parts is None:
            self._base.refit(recipe._base, windows)
        else:
            self._copy_part(_BASE, self._base, parts)
        self._covariates.fit(windows)
        self._correction, self._without_covariates = recipe._correction, recipe._without_covariates
        used = self._correction.weight.any() or self._without_covariates.weight.any()

        def train_one(number: int, _: float | None, progress: Progress) -> Member:
            trained = judged_members[number].trained if used else TrainingLength(0, 0.0)
            with self._own_random_state(seed + number):
                network = self.network()
                if not trained.epochs:
                    return Member(network.eval(), trained)
                length = trained
                if number in former and former[number].trained.epochs:
                    network.load_state_dict(former[number].network.state_dict())
                    length = TrainingLength(max(1, round(_WARM_START * trained.epochs)), 1.0)
                index = np.arange(len(windows), dtype=np.intp)
                batches, steps = self._batches.training(windows, index, np.random.default_rng(seed + number))
                train_for(network, batches, length, **self._how_to_train(steps, deadline, progress))
            return Member(network, trained)

        # No shares: each network trains for a known length and may take all the time that is left.
        self._members = train_members(self.name, list(judged_members), None, progress, train_one)

    def predict(self, inputs: Inputs) -> Floats:
        """Return quantiles (n, lead, target, location, quantile) in physical units.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        members = self._fitted()
        with torch.inference_mode():
            parts = [self._quantiles(members, chunk) for chunk in inputs.chunks(self._batches.chunk)]
        return self._base.physical(np.concatenate(parts), inputs.target_time)

    def attention(self, inputs: Inputs) -> AttentionMap | None:
        """Return the mean attention weights over the inputs; None without attention, or where the base forecasts alone.

        Of several networks, the mean over all.

        Raises:
            NotFittedError: the model is not fitted.
            ModelError: the arrays do not fit the task.
        """
        inputs.check(self.task)
        networks = [member.network for member in self._fitted().values()]
        used = self._correction.weight.any() or self._without_covariates.weight.any()
        if not used or not len(inputs):
            return None
        frames, locations = [], []
        with torch.inference_mode():
            for one in inputs.chunks(1):
                sample = self._builder.sample(one)
                for network in networks:
                    over_frames, over_locations = attention_weights(network, sample)
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
        """Return the weight of the correction at each lead, if it has any, and how many networks diverged, as text.

        Raises:
            NotFittedError: the model is not fitted.
        """
        left_out = self._model_config.seeds - len(self._fitted())
        weight = f"weight of the correction of {self._base.name}: {self._correction.describe()}"
        if not self._correction.weight.any() and not self._without_covariates.weight.any():
            weight = f"the network adds nothing to {self._base.name}: on validation its correction gains nothing"
        if not left_out:
            return (weight,)
        return weight, f"{left_out} of {self._model_config.seeds} networks diverged and are left out"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything learnt, by name.

        Raises:
            NotFittedError: the model is not fitted.
        """
        members = members_state(self._fitted(), self._model_config.seeds)
        return {
            **prefixed("base", self._base.state()),
            **prefixed("covariates", self._covariates.state()),
            **prefixed("correction", self._correction.state()),
            **prefixed("without_covariates", self._without_covariates.state()),
            **members,
        }

    def load_state(self, state: State) -> None:
        """Load a state; see `Model.load_state`."""
        correction = CorrectionWeights.from_state(self.task, scoped("correction", state))
        without_covariates = CorrectionWeights.from_state(self.task, scoped("without_covariates", state))
        with self._own_random_state(0):
            members = load_members(state, self._model_config.seeds, self.network, self._training_config.epochs)
        self._base.load_state(scoped("base", state))
        self._covariates.load_state(scoped("covariates", state))
        self._correction, self._without_covariates = correction, without_covariates
        self._members = members

    def _fitted(self) -> Members:
        if not self._members:
            raise NotFittedError(self.name)
        return self._members

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

    def _how_to_train(self, steps: int, deadline: float | None, progress: Progress) -> dict[str, Any]:
        """Return the arguments that both training loops take."""
        own = {"config": self._training_config, "name": self.name}
        return {**own, "steps": steps, "deadline": deadline, "progress": progress}

    def _choose_weights(
        self, members: Members, batches: list[SupervisedBatch], origins: NDArray[np.int64]
    ) -> CorrectionWeights:
        if self._model_config.correction == "all":
            return CorrectionWeights(np.ones(self.task.leads, np.float32), 1.0, self._dims.median)
        with torch.inference_mode():
            return choose_weights(
                self.task,
                (
                    (one.sample.base, mean_quantiles(members, one.sample), one.truth, one.known * one.weight)
                    for one in batches
                ),
                origins,
            )

    def _quantiles(self, members: Members, inputs: Inputs) -> Floats:
        """Return quantiles of the standardised anomaly, with the weighted correction."""
        sample = self._builder.sample(inputs)
        corrected = mean_quantiles(members, sample) if len(inputs) else sample.base
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
