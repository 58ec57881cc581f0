"""From a name and options to a model: the one table of all models."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from models.base import Model
from models.errors import ModelError
from models.options import fitting
from models.task import Task


class Entry(NamedTuple):
    """One row of the table; the class is imported on first use, so that listing models needs no torch.

    Attributes:
        target: where the class is, as `module:class`.
        description: what it does, in one line.
        is_baseline: whether it is fitted at each retrain beside the candidates, and the gate compares every
            challenger with it.
        grids_only: whether it is such a baseline only where the locations are the cells of a grid.
    """

    target: str
    description: str
    is_baseline: bool
    grids_only: bool = False

    def load(self) -> type[Model]:
        """The class."""
        module, name = self.target.split(":")
        found: type[Model] = getattr(import_module(module), name)
        return found


MODELS: dict[str, Entry] = {
    "persistence": Entry("models.baselines.plain:Persistence", "the last known value stays", True),
    "climatology": Entry("models.baselines.plain:Climatology", "what the calendar says: year, day and week", True),
    "damped-anomaly": Entry("models.baselines.plain:DampedAnomaly", "the last anomaly, fading with lead", True),
    "seasonal-naive": Entry("models.baselines.seasonal:SeasonalNaive", "the value a day, week or year before", True),
    "rolling-climatology": Entry("models.baselines.rolling:RollingClimatology", "climatology of the last years", False),
    "ridge-var": Entry("models.baselines.ridge:RidgeVar", "ridge regression on the last frames of all locations", True),
    "pooled-convolution": Entry(
        "models.baselines.pooled_convolution:PooledConvolution",
        "one linear convolution over the last frames, shared by all locations",
        True,
        grids_only=True,
    ),
    "linear-inverse": Entry(
        "models.baselines.inverse:LinearInverse", "patterns that drive each other, leftovers damped", False
    ),
    "arima": Entry("models.baselines.arima:Arima", "ARIMA of each location's anomaly, the order by AIC", False),
    "ets": Entry("models.baselines.exponential:ExponentialSmoothing", "exponential smoothing of each anomaly", False),
    "gradient-boosting": Entry(
        "models.baselines.boosting:GradientBoosting", "damped-anomaly plus boosted trees, pooled over locations", False
    ),
    "prophet": Entry("models.baselines.prophet:Prophet", "trend and seasons by Prophet; no recent value", False),
    "attention-convlstm": Entry(
        "models.zoo.flagship:AttentionConvLSTM",
        "ridge-var plus what a set-convolution ConvLSTM, with or without attention, can add",
        False,
    ),
    "blend": Entry("models.blend:Blend", "the mean of unlike models, weighted by what validation says", False),
    "lstm": Entry("models.zoo.series:LstmModel", "LSTM encoder-forecaster over the series of each location", False),
    "peephole-lstm": Entry("models.zoo.series:PeepholeLstm", "LSTM encoder-forecaster whose gates see the cell", False),
    "bilstm": Entry("models.zoo.series:BiLstm", "LSTM encoder-forecaster that reads frames both ways", False),
    "gru": Entry("models.zoo.series:GruModel", "GRU encoder-forecaster over the series of each location", False),
    "attention-lstm": Entry("models.zoo.series:AttentionLstm", "LSTM whose leads look back at all frames", False),
    "attention-gru": Entry("models.zoo.series:AttentionGru", "GRU whose leads look back at all frames", False),
    "lstm-cnn-fusion": Entry("models.zoo.fusion:Fusion", "LSTM and convolutions along time, joined by a gate", False),
    "cnn-lstm": Entry("models.zoo.cnn_lstm:CnnLstm", "convolutions along time or in space, then an LSTM", False),
    "convlstm": Entry("models.zoo.convrecurrent:ConvLstmModel", "ConvLSTM encoder-forecaster over fields", False),
    "convgru": Entry("models.zoo.convrecurrent:ConvGruModel", "ConvGRU encoder-forecaster over fields", False),
    "dlinear": Entry("models.zoo.dlinear:LinearModel", "linear maps of trend and remainder to all leads", False),
    "rcnn": Entry("models.zoo.convolutional:Rcnn", "recurrent convolutional layers over all frames at once", False),
    "stcn": Entry("models.zoo.convolutional:Stcn", "convolutions over space and causally along time", False),
    "res-stcn": Entry("models.zoo.convolutional:ResStcn", "the same as stcn, with residual links and GroupNorm", False),
    "stn": Entry("models.zoo.convolutional:Stn", "frames moved into place by a spatial transformer", False),
    "attention-cnn": Entry(
        "models.zoo.attention_cnn:AttentionCnn", "CNN with attention over space, over time and from leads", False
    ),
    "simvp": Entry("models.zoo.simvp:SimVp", "SimVP with gated attention over stacked frames; no recurrence", False),
    "graph-conv": Entry(
        "models.zoo.graph:GraphConvModel", "diffusion over graphs of distance and learnt ones, all locations", False
    ),
}


def build(name: str, task: Task, **options: Any) -> Model:
    """An unfitted model.

    Raises:
        ModelError: no model has this name, or it does not take these options.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    kind = MODELS[name].load()
    taken = inspect.signature(kind).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in taken):  # else it checks them itself
        hints = get_type_hints(kind.__init__)
        options = fitting(name, options, {one.name: hints[one.name] for one in taken if one.name != "task"})
    try:
        return kind(task, **options)
    except (TypeError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{name}: cannot be built: {str(error).splitlines()[0]}") from error
