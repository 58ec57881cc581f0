"""How a network is trained: numbers and choices, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from models.errors import ModelError
from models.networks.precision import PRECISIONS, Precision

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
    "average": (0.0, 1.0),
    "outage": (0.0, 1.0),
    "adversarial": (0.0, math.inf),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: most passes over the training set; the learning rate falls to 0 over them.
        patience: epochs without a better validation loss before training stops.
        batch: windows per step; 0 for a number that suits the size of the forecast.
        optimiser: `adamw`, `adam`, `rmsprop`, or `sgd` with momentum 0.9.
        learning_rate: highest rate of the optimiser.
        weight_decay: of AdamW; the other optimisers have none, see `l2`.
        l1: weight of the sum of absolute weights in the loss; biases, norms and scales go free.
        l2: weight of the sum of squared weights, alike.
        warmup: share of all steps in which the rate rises from 0.
        clip: largest norm of a gradient.
        average: decay per step of the averaged weights, which are what is kept.
        outage: share of batches in which sensors are hidden, or the latest frame of all.
        adversarial: weight of the adversarial term in the loss; see `adversary`.
        precision: of the network in training; the loss, validation and forecasts are in single precision.
        compile: whether training steps are compiled. Where that cannot be, training goes on without.

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
    average: float = 0.99
    outage: float = 0.3
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
