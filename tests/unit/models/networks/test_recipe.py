from __future__ import annotations

import pytest
import torch

from models.errors import ModelError
from models.networks.precision import running
from models.networks.recipe import Recipe


@pytest.mark.parametrize(
    "field",
    ["epochs", "patience", "batch", "weight_decay", "l1", "l2", "warmup", "clip", "outage", "adversarial"],
)
def test_numbers_out_of_range_name_the_field(field):
    with pytest.raises(ModelError, match=f"{field} must lie within .* found -1"):
        Recipe(**{field: -1})


@pytest.mark.parametrize("field", ["optimiser", "precision", "compile"])
def test_unknown_choices_name_the_field_and_what_would_do(field):
    with pytest.raises(ModelError, match=rf"{field} must be one of \[.*\], found 'lion'"):
        Recipe(**{field: "lion"})


def test_a_batch_of_zero_is_left_to_the_model():
    assert Recipe(batch=0).batch == 0


def test_a_cpu_without_bfloat16_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(ModelError, match="precision 'bfloat16' is beyond this cpu; want 'float32'"):
        running("bfloat16", torch.device("cpu"))
    with running("float32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")
