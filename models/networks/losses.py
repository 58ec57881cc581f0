"""The pinball loss of quantile forecasts; masks are the caller's, by multiplication."""

from __future__ import annotations

import torch
from torch import Tensor


def pinball(quantiles: Tensor, truth: Tensor, levels: Tensor, widths: Tensor) -> Tensor:
    """Twice the pinball loss, integrated over levels: the continuous ranked probability score, (...).

    Finite wherever its arguments are, so a masked entry times zero teaches nothing.

    Args:
        quantiles: (..., level).
        truth: (...), any finite number where unknown.
        levels: (level,), ascending in (0, 1).
        widths: (level,), weight of each level in the integral; see `dressing.level_widths`.
    """
    error = truth.unsqueeze(-1) - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error) @ widths
