"""Dimensions for cores, and cores that have left the zeros that they start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from models.networks.sample import Dimensions


def make_sizes(**changes: Any) -> Dimensions:
    sizes = Dimensions(
        channels=1,
        targets=1,
        covariates=0,
        static=0,
        frames=4,
        leads=3,
        levels=(0.1, 0.5, 0.9),
        locations=5,
        scattered=False,
    )
    return replace(sizes, **changes)


def perturb(net: nn.Module) -> nn.Module:
    """Move every parameter off its start."""
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return net


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def sizes_of() -> Callable[..., Dimensions]:
    return make_sizes


@pytest.fixture(scope="session")
def perturbed() -> Callable[[nn.Module], nn.Module]:
    return perturb
