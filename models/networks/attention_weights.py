"""Attention weights of a network, computed beside a forward pass, so that forecasts do not pay for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.network import Network
from models.networks.sample import Sample
from models.networks.trunks import FieldTrunk


def attention_weights(network: Network, sample: Sample) -> tuple[Tensor | None, Tensor | None]:
    """Return the mean weights (lead, frame) of frames and (location,) of locations; None where there is no attention.

    Layers with attention have a method `frame_weights` or `cell_weights` with the arguments of their `forward`. The
    weights of several layers are averaged. The frames are those that the network reads.
    """
    over_frames: list[Tensor] = []
    over_cells: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(_recorder(getattr(module, method), found))
        for method, found in (("frame_weights", over_frames), ("cell_weights", over_cells))
        for module in network.modules()
        if hasattr(module, method)
    ]
    if not handles:
        return None, None
    try:
        network(sample)
    finally:
        for handle in handles:
            handle.remove()
    frames = torch.stack(over_frames).mean(0) if over_frames else None
    trunk = network.trunk
    if not over_cells or not isinstance(trunk, FieldTrunk):
        return frames, None
    weights = trunk.at_locations(torch.stack(over_cells).mean(0), sample.locations)
    return frames, weights / weights.sum()


def _recorder(weights: Callable[..., Tensor], found: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        found.append(weights(*arguments))

    return record
