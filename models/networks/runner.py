"""A network's forward pass in training: in the precision asked for, and compiled where that works."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.precision import Precision, running

log = logging.getLogger(__name__)


class Runner:
    """Calls a network as it is, but for speed; the network and its state stay untouched.

    Args:
        network: what to call; it may be trained meanwhile.
        precision: what it computes in; outputs are in single precision all the same.
        compile: whether to compile it at the first call, for samples shaped alike; others, such as the last of
            an epoch, run as they are. Where that cannot be (no C++ compiler, say), one warning is logged and
            all do.
    """

    def __init__(self, network: nn.Module, *, precision: Precision, compile: bool) -> None:  # noqa: A002 - as the option
        self._network, self._precision, self._compile = network, precision, compile
        self._device = next(network.parameters()).device
        self._compiled: Callable[[Any], Tensor] | None = None

    def __call__(self, sample: Any) -> Tensor:
        """The network's outputs.

        Raises:
            ModelError: the device cannot compute in this precision.
        """
        with running(self._precision, self._device):
            outputs = self._outputs(sample)
        return outputs if self._precision == "float32" else outputs.float()

    def _outputs(self, sample: Any) -> Tensor:
        if self._compile:
            try:
                return self._fast(sample)
            except Exception as error:  # compilers fail in many ways; a fault of the network's own comes again below
                self._compile, self._compiled = False, None
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("the network cannot be compiled here and is trained as it is: %s", first)
        outputs: Tensor = self._network(sample)
        return outputs

    def _fast(self, sample: Any) -> Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._network)
            return self._compiled(sample)
        # To compile again for another shape costs more than its few samples would gain.
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._compiled(sample)
