"""The table of all models, and `build`, which makes a model from its name and options."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from models.base import Model
from models.errors import ModelError, first_line
from models.options import check_options
from models.task import Task


class Entry(NamedTuple):
    """One row of the table. The class is imported on first use, so listing models does not import torch.

    Attributes:
        target: import path of the class, as `module:class`.
        description: the model in one line.
        is_baseline: whether every retrain fits the model beside the candidates and the gate compares challengers
            with it.
        grids_only: whether it is a baseline only for grids.
    """

    target: str
    description: str
    is_baseline: bool
    grids_only: bool = False

    def load(self) -> type[Model]:
        """Import and return the class."""
        module, name = self.target.split(":")
        model: type[Model] = getattr(import_module(module), name)
        return model


MODELS: dict[str, Entry] = {
    "persistence": Entry("models.baselines.reference:Persistence", "the last known value persists", True),
    "climatology": Entry("models.baselines.reference:Climatology", "the mean for the time of year, day and week", True),
    "damped-anomaly": Entry("models.baselines.reference:DampedAnomaly", "the last anomaly, damped with lead", True),
    "seasonal-naive": Entry("models.baselines.seasonal:SeasonalNaive", "the value a day, week or year before", True),
    "rolling-climatology": Entry("models.baselines.rolling:RollingClimatology", "climatology of recent years", False),
    "ridge-var": Entry(
        "models.baselines.ridge:RidgeVar", "ridge regression on the latest frames of all locations", True
    ),
    "pooled-convolution": Entry(
        "models.baselines.pooled_convolution:PooledConvolution",
        "one linear convolution over the latest frames, shared by all locations",
        True,
        grids_only=True,
    ),
    "linear-inverse": Entry(
        "models.baselines.linear_inverse_model:LinearInverseModel",
        "linear inverse model: vector autoregression of EOF amplitudes",
        False,
    ),
    "arima": Entry("models.baselines.arima:Arima", "ARIMA of each location's anomaly, order chosen by AIC", False),
    "ets": Entry("models.baselines.exponential:ExponentialSmoothing", "exponential smoothing of each anomaly", False),
    "gradient-boosting": Entry(
        "models.baselines.boosting:GradientBoosting", "damped-anomaly plus boosted trees shared by all locations", False
    ),
    "prophet": Entry(
        "models.baselines.prophet:Prophet", "trend and seasonality by Prophet; ignores recent values", False
    ),
    "attention-convlstm": Entry(
        "models.zoo.attention_convlstm:AttentionConvLSTM",
        "ConvLSTM over a grid or set-convolved stations, with optional attention",
        False,
    ),
    "blend": Entry("models.blend:Blend", "weighted mean of different models, with weights chosen on validation", False),
    "lstm": Entry("models.zoo.series:LstmModel", "LSTM encoder-forecaster over the series of each location", False),
    "peephole-lstm": Entry("models.zoo.series:PeepholeLstm", "LSTM encoder-forecaster whose gates see the cell", False),
    "bilstm": Entry("models.zoo.series:BiLstm", "LSTM encoder-forecaster with a bidirectional encoder", False),
    "gru": Entry("models.zoo.series:GruModel", "GRU encoder-forecaster over the series of each location", False),
    "attention-lstm": Entry("models.zoo.series:AttentionLstm", "LSTM whose leads attend to all frames", False),
    "attention-gru": Entry("models.zoo.series:AttentionGru", "GRU whose leads attend to all frames", False),
    "lstm-cnn-fusion": Entry("models.zoo.fusion:Fusion", "LSTM and temporal convolutions, fused by a gate", False),
    "cnn-lstm": Entry("models.zoo.cnn_lstm:CnnLstm", "convolutions in time or space, then an LSTM", False),
    "convlstm": Entry("models.zoo.convrecurrent:ConvLstmModel", "ConvLSTM encoder-forecaster over fields", False),
    "convgru": Entry("models.zoo.convrecurrent:ConvGruModel", "ConvGRU encoder-forecaster over fields", False),
    "dlinear": Entry("models.zoo.dlinear:LinearModel", "linear maps from trend and remainder to all leads", False),
    "rcnn": Entry("models.zoo.convolutional:Rcnn", "recurrent convolutional layers over stacked frames", False),
    "stcn": Entry("models.zoo.convolutional:Stcn", "spatial convolutions and causal convolutions in time", False),
    "res-stcn": Entry("models.zoo.convolutional:ResStcn", "stcn with residual connections and GroupNorm", False),
    "stn": Entry("models.zoo.convolutional:Stn", "frames aligned by a spatial transformer", False),
    "attention-cnn": Entry(
        "models.zoo.attention_cnn:AttentionCnn",
        "CNN with attention over space, over time and from leads to frames",
        False,
    ),
    "simvp": Entry("models.zoo.simvp:SimVp", "SimVP with gated attention over stacked frames, no recurrence", False),
    "graph-conv": Entry(
        "models.zoo.graph:GraphConvModel", "Graph WaveNet: diffusion over distance and learnt graphs", False
    ),
}


def build(name: str, task: Task, **options: Any) -> Model:
    """Return an unfitted model.

    Raises:
        ModelError: the model or an option is unknown, or the model cannot be built for this task.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}; models are {', '.join(MODELS)}")
    model = MODELS[name].load()
    parameters = inspect.signature(model).parameters.values()
    if all(one.kind is not one.VAR_KEYWORD for one in parameters):  # a model with **options checks them itself
        hints = get_type_hints(model.__init__)
        options = check_options(name, options, {one.name: hints[one.name] for one in parameters if one.name != "task"})
    try:
        return model(task, **options)
    except (TypeError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{name}: cannot be built: {first_line(error)}") from error
