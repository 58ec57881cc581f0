"""The forward pass in training: in the chosen precision, and compiled where possible."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import first_line
from models.networks.precision import Precision, autocast

log = logging.getLogger(__name__)


class ForwardPass:
    """Calls a network without changing it or its state.

    Args:
        network: the network; its weights may change between calls.
        precision: precision of the computation; outputs are always float32.
        compile: compile at the first call, for samples of that shape; others, such as the last batch of an epoch, run
            uncompiled. If compilation fails (for example without a C++ compiler), one warning is logged and every
            call runs uncompiled.
    """

    def __init__(self, network: nn.Module, *, precision: Precision, compile: bool) -> None:  # noqa: A002 - as the option
        self._network, self._precision, self._compile = network, precision, compile
        self._device = next(network.parameters()).device
        self._compiled: Callable[[Any], Tensor] | None = None

    def __call__(self, sample: Any) -> Tensor:
        """Return the network's outputs.

        Raises:
            ModelError: the device does not support the precision.
        """
        with autocast(self._precision, self._device):
            outputs = self._outputs(sample)
        return outputs if self._precision == "float32" else outputs.float()

    def _outputs(self, sample: Any) -> Tensor:
        if self._compile:
            try:
                return self._compiled_outputs(sample)
            except (
                Exception
            ) as error:  # compilers fail in many ways; an error of the network itself is raised again below
                self._compile, self._compiled = False, None
                log.warning("cannot compile the network, training uncompiled: %s", first_line(error))
        outputs: Tensor = self._network(sample)
        return outputs

    def _compiled_outputs(self, sample: Any) -> Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._network)
            return self._compiled(sample)
        # Compiling again for another shape costs more than its few samples would gain.
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._compiled(sample)
