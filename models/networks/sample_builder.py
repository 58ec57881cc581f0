"""Inputs and batches of a network, made from windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.baselines.base import Baseline
from models.networks.heads import Head
from models.networks.losses import area_weights
from models.networks.model_config import ModelConfig
from models.networks.sample import Dimensions, Locations, Sample
from models.networks.training_batch import SupervisedBatch
from models.statistics.calendar import cycles
from models.statistics.covariates import Covariates
from models.task import Batch, Inputs, Task


class SampleBuilder:
    """Makes samples and batches, in units of the climate of the base.

    Args:
        task: what to forecast.
        base: the model whose forecast the network corrects.
        covariates: standardises the covariates.
        dims: the dimensions of the network.
        config: says which loss there is, and how to weight it.
        device: where the tensors go.
    """

    def __init__(
        self,
        task: Task,
        base: Baseline,
        covariates: Covariates,
        dims: Dimensions,
        config: ModelConfig,
        device: torch.device,
    ) -> None:
        self._base, self._covariates, self._config, self._device = base, covariates, config, device
        self._recent = slice(-dims.frames, None)
        self._locations = Locations.of(task).to(device)
        self._area_weights = area_weights(torch.tensor(task.latitude)).to(device)

    def sample(self, inputs: Inputs) -> Sample:
        """Return the network's inputs as tensors."""
        anomaly, known = self._base.anomalies(inputs)
        mean, deviation = self._base.core(inputs, anomaly, known)
        covariates, covariate_mask = self._covariates(inputs)
        low, high = self._base.limits(inputs.target_time)
        recent, tensor = self._recent, self._tensor
        return Sample(
            anomaly=tensor(anomaly[:, recent]),
            known=tensor(known[:, recent]),
            calendar=tensor(cycles(inputs.time[:, recent])),
            target_calendar=tensor(cycles(inputs.target_time)),
            covariates=tensor(covariates),
            covariate_mask=tensor(covariate_mask),
            base=tensor(self._base.dress(mean, deviation)),
            deviation=tensor(deviation),
            low=tensor(low),
            high=tensor(high),
            locations=self._locations,
        )

    def supervised(self, head: Head, batch: Batch) -> SupervisedBatch:
        """Return a batch with its truth."""
        truth, known = self._base.target_anomalies(batch)
        weight = self.weight(batch.inputs)
        return SupervisedBatch(head, self.sample(batch.inputs), self._tensor(truth), self._tensor(known), weight)

    def weight(self, inputs: Inputs) -> Tensor:
        """Return the weight of each value in the loss, in a shape that broadcasts to (n, lead, target, location)."""
        if self._config.weights == "area":
            return self._area_weights
        if self._config.weights == "none":
            return torch.ones_like(self._area_weights)
        _, spread = self._base.expected(inputs.target_time)
        return self._tensor(spread) ** (2 if self._config.loss == "mse" else 1)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)
