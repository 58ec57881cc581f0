"""The precision that a network computes in; losses and forecasts stay in single precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from models.errors import ModelError

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def running(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """What to run a network in: bfloat16 where it is safe and pays, chosen by PyTorch (autocast), or nothing.

    Raises:
        ModelError: the device cannot compute in this precision.
    """
    if precision == "float32":
        return nullcontext()
    if not _has_bfloat16(device):
        raise ModelError(f"precision 'bfloat16' is beyond this {device.type}; want 'float32'")
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # What PyTorch itself asks before it gives bfloat16 to oneDNN; without it each product is emulated.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.amp.is_autocast_available(device.type)
