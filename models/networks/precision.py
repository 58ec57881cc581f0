"""Precision of the network in training; losses and forecasts stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from models.errors import ModelError

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context to run a network in: PyTorch's autocast for bfloat16, nothing for float32.

    Raises:
        ModelError: the device does not support the precision.
    """
    if precision == "float32":
        return nullcontext()
    if not _has_bfloat16(device):
        raise ModelError(f"precision 'bfloat16' is not supported by this {device.type}; use 'float32'")
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # The check that PyTorch makes before it uses bfloat16 kernels of oneDNN; without them products are emulated.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.amp.is_autocast_available(device.type)
