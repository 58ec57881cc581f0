"""Recurrent convolutional layer (Liang and Hu 2015, CVPR, doi 10.1109/CVPR.2015.7298958)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class RecurrentConv(nn.Module):
    """A convolution applied repeatedly to its own output, which widens the receptive field with every step.

    `x[t] = relu(norm[t](Wf * u + Wr * x[t-1] + b))`, with the same weights at every step. It uses GroupNorm instead of
    the paper's local response normalisation.

    Args:
        inputs: channels of u.
        outputs: channels of x.
        kernel: odd width of both convolutions.
        steps: number of recurrent steps.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, steps: int = 3) -> None:
        super().__init__()
        self.feed_forward = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(1, outputs) for _ in range(steps + 1))

    def forward(self, u: Tensor) -> Tensor:
        """From u (n, inputs, height, width) to x (n, outputs, height, width)."""
        fed: Tensor = self.feed_forward(u)
        x = functional.relu(self.norms[0](fed))
        for norm in list(self.norms)[1:]:
            x = functional.relu(norm(fed + self.recurrent(x)))
        return x
