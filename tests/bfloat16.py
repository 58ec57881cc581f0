"""A mark for tests whose bounds hold only where the processor itself computes in bfloat16."""

from __future__ import annotations

import pytest
import torch

needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor does not compute in bfloat16"
)
