from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from models.networks.forward_pass import ForwardPass
from tests.bfloat16 import needs_bfloat16


@pytest.fixture
def network() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 2))


def test_plain_it_is_the_network(network: Any) -> None:
    x = torch.randn(5, 6)
    assert torch.equal(ForwardPass(network, precision="float32", compile=False)(x), network(x))


@needs_bfloat16
def test_bfloat16_is_close_and_hands_out_single_precision(network: Any) -> None:
    x = torch.randn(50, 6)
    half, single = ForwardPass(network, precision="bfloat16", compile=False)(x), network(x)
    assert half.dtype == torch.float32
    assert (half != single).any()
    torch.testing.assert_close(half, single, rtol=0.02, atol=0.02)


def test_compiled_it_gives_the_same_and_leaves_the_network_alone(
    network: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = []

    def backend(graph: Any, inputs: Any) -> Any:
        """Stands in for the C++ compiler, which takes half a minute."""
        made.append(inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    names, run = list(network.state_dict()), ForwardPass(network, precision="float32", compile=True)
    for size in (4, 4, 3, 4, 2):
        x = torch.randn(size, 6)
        torch.testing.assert_close(run(x), network(x))
    assert len(made) == 1
    assert list(network.state_dict()) == names
    assert not [record for record in caplog.records if record.name == "models.networks.forward_pass"]


def refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("no compiler\nat all")


@pytest.mark.parametrize("when", ["at once", "at the first call"])
def test_failed_compilation_logs_one_warning_and_runs_uncompiled(
    network: Any, when: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", refuse if when == "at once" else lambda _: refuse)
    with caplog.at_level(logging.WARNING):
        run = ForwardPass(network, precision="float32", compile=True)
        for size in (4, 3):
            x = torch.randn(size, 6)
            assert torch.equal(run(x), network(x))
    assert [record.getMessage() for record in caplog.records] == [
        "cannot compile the network, training uncompiled: no compiler"
    ]


def test_an_error_of_the_network_itself_is_raised(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda one: one)
    run = ForwardPass(network, precision="float32", compile=True)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(torch.randn(2, 5))
