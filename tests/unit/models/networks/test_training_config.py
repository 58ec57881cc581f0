from __future__ import annotations

from typing import Any

import pytest
import torch

from models.errors import ModelError
from models.networks.precision import autocast
from models.networks.training_config import TrainingConfig


@pytest.mark.parametrize(
    "field",
    ["epochs", "patience", "batch", "weight_decay", "l1", "l2", "warmup", "clip", "input_dropout", "adversarial"],
)
def test_an_error_names_the_field_out_of_range(field: Any) -> None:
    options: dict[str, Any] = {field: -1}
    with pytest.raises(ModelError, match=f"{field} must lie within .* found -1"):
        TrainingConfig(**options)


@pytest.mark.parametrize("field", ["optimiser", "precision", "compile"])
def test_an_error_names_the_field_and_its_choices(field: Any) -> None:
    options: dict[str, Any] = {field: "lion"}
    with pytest.raises(ModelError, match=rf"{field} must be one of \[.*\], found 'lion'"):
        TrainingConfig(**options)


def test_batch_may_be_zero() -> None:
    assert TrainingConfig(batch=0).batch == 0


def test_bfloat16_is_refused_where_the_cpu_does_not_support_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(ModelError, match="precision 'bfloat16' is not supported by this cpu; use 'float32'"):
        autocast("bfloat16", torch.device("cpu"))
    with autocast("float32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")
