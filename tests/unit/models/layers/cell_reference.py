"""The recurrent layers once more, in plain loops from the published equations. Slow, and made for float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tests.unit.models.gradients import gradient_of

Module = TypeVar("Module", bound=nn.Module)
Run = Callable[[Any, Tensor, Any], tuple[Tensor, Any]]


def convolve(weight: Tensor, field: Tensor) -> Tensor:
    """`W * X`: a sum over shifted copies of the zero-padded field (n, channels, height, width)."""
    reach = weight.shape[-1] // 2
    height, width = field.shape[2:]
    padded = torch.nn.functional.pad(field, (reach, reach, reach, reach))
    total = field.new_zeros(len(field), len(weight), height, width)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            shifted = padded[:, :, row : row + height, column : column + width]
            total = total + torch.einsum("oi,nihw->nohw", weight[:, :, row, column], shifted)
    return total


def multiply(weight: Tensor, vector: Tensor) -> Tensor:
    """`W x` for vectors (n, channels)."""
    return vector @ weight.T


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def lstm(product: Any, x: Tensor, h: Tensor, c: Tensor, wx: Any, wh: Any, b: Any, peep: Any) -> tuple[Tensor, Tensor]:
    """Shi et al. 2015, equation 3, for all steps; `product` is a convolution, or a matrix product.

    `wx`, `wh` and `b` are by gate: i, f, o, c. `peep` are by gate i, f, o.
    """
    wci, wcf, wco = peep
    outputs = []
    for step in x:
        i = sigmoid(product(wx[0], step) + product(wh[0], h) + wci * c + b[0])
        f = sigmoid(product(wx[1], step) + product(wh[1], h) + wcf * c + b[1])
        c = f * c + i * torch.tanh(product(wx[3], step) + product(wh[3], h) + b[3])
        o = sigmoid(product(wx[2], step) + product(wh[2], h) + wco * c + b[2])
        h = o * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), c


def gru(product: Any, x: Tensor, h: Tensor, wx: Any, wh: Any, b: Any) -> Tensor:
    """Cho et al. 2014, equations 5 to 8, for all steps; the candidate is reset before the product. Gates: r, z, h."""
    outputs = []
    for step in x:
        r = sigmoid(product(wx[0], step) + product(wh[0], h) + b[0])
        z = sigmoid(product(wx[1], step) + product(wh[1], h) + b[1])
        candidate = torch.tanh(product(wx[2], step) + product(wh[2], r * h) + b[2])
        h = z * h + (1 - z) * candidate
        outputs.append(h)
    return torch.stack(outputs)


def normalise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each field (channels, height, width) to mean 0 and deviation 1, then a scale and a shift by channel."""
    normal = torch.empty_like(x)
    for t in range(len(x)):
        for sample in range(x.shape[1]):
            away = x[t, sample] - x[t, sample].mean()
            normal[t, sample] = away / torch.sqrt((away**2).mean() + 1e-5)
    return normal * weight[:, None, None] + bias[:, None, None]


def by_gate(weight: Tensor, gates: int) -> list[Tensor]:
    return list(weight.reshape(gates, -1, *weight.shape[1:]))


def shaped(bias: Tensor, gates: int) -> list[Tensor]:
    """Biases or peepholes (gates * hidden,) that spread over a grid."""
    return [part[:, None, None] for part in bias.reshape(gates, -1)]


def randomised(kind: Callable[..., Module], *sizes: int, **options: Any) -> Module:
    """A network of that kind with every parameter random, always the same, so that none can hide."""
    torch.manual_seed(0)
    network = kind(*sizes, **options)
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network


def fields(steps: int = 4, n: int = 2, channels: int = 3, height: int = 7, width: int = 5) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(steps, n, channels, height, width)


def flat(states: list[Any]) -> list[Tensor]:
    """All tensors of states that are pairs, or tensors themselves."""
    return [part for state in states for part in (state if isinstance(state, tuple) else (state,))]


def state_of(state: Any, dtype: torch.dtype) -> Any:
    if isinstance(state, tuple):
        return tuple(state_of(part, dtype) for part in state)
    return state.detach().to(dtype).requires_grad_()


def everything(run: Run, network: nn.Module, x: Tensor, states: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs, last states, and the gradients of parameters, inputs and states under one random loss."""
    network = network.to(dtype)
    network.zero_grad()
    x = x.detach().to(dtype).requires_grad_()
    if states is not None:
        states = [state_of(state, dtype) for state in states]
    output, ends = run(network, x, states)
    torch.manual_seed(3)
    wanted = [output, *flat(ends)]
    torch.autograd.backward([(part * torch.randn(part.shape, dtype=torch.float64).to(dtype)).sum() for part in wanted])
    found = {f"output {number}": part.detach() for number, part in enumerate(wanted)}
    found |= {name: gradient_of(parameter) for name, parameter in network.named_parameters()}
    found["x"] = gradient_of(x)
    for number, part in enumerate(flat(states or [])):
        found[f"state {number}"] = gradient_of(part)
    return {name: part.clone() for name, part in found.items()}


def assert_alike(found: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert found.keys() == right.keys()
    for name, part in found.items():
        away = (part.double() - right[name]).norm() / right[name].norm()
        assert away <= tolerance, f"{name} is off by {away:.1e}"
