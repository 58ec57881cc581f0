"""Options of network training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from models.errors import ModelError
from models.networks.precision import PRECISIONS, Precision
from models.search_space import FloatRange, IntRange, SearchSpace

Optimiser = Literal["adamw", "adam", "sgd", "rmsprop"]
OPTIMISERS: tuple[Optimiser, ...] = get_args(Optimiser)

_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (0, math.inf),
    "patience": (1, math.inf),
    "batch": (0, math.inf),
    "learning_rate": (1e-9, 1.0),
    "weight_decay": (0.0, 1.0),
    "l1": (0.0, math.inf),
    "l2": (0.0, math.inf),
    "warmup": (0.0, 1.0),
    "clip": (1e-9, math.inf),
    "ema_decay": (0.0, 1.0),
    "input_dropout": (0.0, 1.0),
    "adversarial": (0.0, math.inf),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How to train a network.

    Attributes:
        epochs: maximum number of epochs; the learning rate falls to 0 over them.
        patience: epochs without a lower validation loss before training stops.
        batch: windows per step; 0 chooses a number by the size of the forecast.
        optimiser: `adamw`, `adam`, `rmsprop`, or `sgd` with momentum 0.9.
        learning_rate: peak learning rate.
        weight_decay: weight decay of AdamW; for the other optimisers use `l2`.
        l1: L1 penalty on weights; biases, norms and scales are exempt.
        l2: L2 penalty on the same weights.
        warmup: fraction of all steps over which the learning rate rises from 0.
        clip: maximum gradient norm.
        ema_decay: decay per step of the exponential moving average of weights, which is what the model keeps.
        input_dropout: probability that a batch loses some of its inputs; see `InputDropout`.
        adversarial: weight of the adversarial term in the loss; see `Adversary`.
        precision: precision of the network in training; the loss, validation and forecasts use float32.
        compile: compile training steps with torch.compile; without a working compiler training runs uncompiled.

    Raises:
        ModelError: a field is out of range.
    """

    epochs: int = 8
    patience: int = 3
    batch: int = 0
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    l1: float = 0.0
    l2: float = 0.0
    warmup: float = 0.1
    clip: float = 1.0
    ema_decay: float = 0.99
    input_dropout: float = 0.3
    adversarial: float = 0.0
    precision: Precision = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ModelError(f"{name} must lie within {low:g}..{high:g}, found {value}")
        choices: tuple[tuple[str, tuple[Any, ...]], ...] = (
            ("optimiser", OPTIMISERS),
            ("precision", PRECISIONS),
            ("compile", (False, True)),
        )
        for name, allowed in choices:
            if (value := getattr(self, name)) not in allowed:
                raise ModelError(f"{name} must be one of {list(allowed)}, found {value!r}")

    @classmethod
    def search_space(cls) -> SearchSpace:
        """Return the fields worth a search."""
        return {
            "learning_rate": FloatRange(1e-4, 1e-2, log=True),
            "weight_decay": FloatRange(1e-4, 0.1, log=True),
            "epochs": IntRange(4, 24, log=True),
            "input_dropout": FloatRange(0.0, 0.5),
        }
