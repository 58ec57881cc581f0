"""The PyTorch side of the ConvLSTM benchmark: the limit, ours, and two patterns in wide use."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.convlstm import ConvLSTM
from tests.benchmarks.convlstm_case import AbsentError, Array, Case, Layer

LAST = torch.channels_last


class CommonLSTM(nn.Module):
    """As in most public code: concatenate, convolve, split, four gates; layer by layer, step by step, from zeros."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.hidden = case.hidden
        self.convolutions = nn.ModuleList()
        for layer in case.weights():
            weight, bias = layer.gates(0, 1, 2, 3)
            self.convolutions.append(_convolution(weight, bias))

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            hidden = cell = x.new_zeros(x.shape[1], self.hidden, *x.shape[3:])
            outputs = []
            for t in range(len(x)):
                sums = convolution(torch.cat([x[t], hidden], dim=1))
                enter, forget, leave, candidate = torch.split(sums, self.hidden, dim=1)
                enter, forget, leave = torch.sigmoid(enter), torch.sigmoid(forget), torch.sigmoid(leave)
                cell = forget * cell + enter * torch.tanh(candidate)
                hidden = leave * torch.tanh(cell)
                outputs.append(hidden)
            x = torch.stack(outputs)
        return x


class OpenStlLSTM(nn.Module):
    """The equations of OpenSTL's cell without its LayerNorm: x and h convolved apart, all layers step by step.

    There no convolution has a bias, and the forget bias is set aside unused. Here x has one, as for all.
    """

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.hidden = case.hidden
        self.of_x, self.of_h = nn.ModuleList(), nn.ModuleList()
        for layer in case.weights():
            weight, bias = layer.gates(0, 1, 3, 2)
            inputs = weight.shape[1] - case.hidden
            self.of_x.append(_convolution(weight[:, :inputs], bias))
            self.of_h.append(_convolution(weight[:, inputs:], None))

    def forward(self, x: Tensor) -> Tensor:
        zeros = x.new_zeros(x.shape[1], self.hidden, *x.shape[3:])
        hidden, cell, outputs = [zeros] * len(self.of_x), [zeros] * len(self.of_x), []
        for t in range(len(x)):
            below = x[t]
            for layer, (of_x, of_h) in enumerate(zip(self.of_x, self.of_h, strict=True)):
                from_x = torch.split(of_x(below), self.hidden, dim=1)
                from_h = torch.split(of_h(hidden[layer]), self.hidden, dim=1)
                enter, forget = torch.sigmoid(from_x[0] + from_h[0]), torch.sigmoid(from_x[1] + from_h[1])
                cell[layer] = forget * cell[layer] + enter * torch.tanh(from_x[2] + from_h[2])
                below = hidden[layer] = torch.sigmoid(from_x[3] + from_h[3]) * torch.tanh(cell[layer])
            outputs.append(below)
        return torch.stack(outputs)


def our_lstm(case: Case) -> nn.Module:
    """Ours, without the norm between layers, which the others lack."""
    network = ConvLSTM(case.inputs, case.hidden, layers=case.layers, kernel=case.kernel, norm=False)
    state = network.state_dict()
    for number, layer in enumerate(case.weights()):
        weight, bias = layer.gates(0, 1, 2, 3)
        state[f"cells.{number}.gates.weight"], state[f"cells.{number}.bias"] = torch.tensor(weight), torch.tensor(bias)
    network.load_state_dict(state)
    return network


def _convolution(weight: Array, bias: Array | None) -> nn.Conv2d:
    made = nn.Conv2d(weight.shape[1], len(weight), weight.shape[-1], padding="same", bias=bias is not None)
    made.weight.data = torch.tensor(weight)
    if made.bias is not None:
        made.bias.data = torch.tensor(bias)
    return made


class Network:
    """A network with its data in the memory layout that suits it, trained by Adam."""

    def __init__(self, case: Case, name: str) -> None:
        ours = name.startswith("ours")
        _settle(case)
        self.case = case
        network = our_lstm(case) if ours else {"common": CommonLSTM, "openstl": OpenStlLSTM}[name](case)
        self.network = network.to(case.device)
        self.run = torch.compile(self.network) if name == "ours-compiled" else self.network
        self.half = name == "ours-bf16"
        if self.half and case.device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise AbsentError("this processor does not compute in bfloat16, and emulated it is ten times slower")
        fields = [torch.tensor(part, device=case.device) for part in case.data()]
        if ours:
            fields = [part.movedim(2, -1).contiguous().movedim(-1, 2) for part in fields]
        self.x, self.truth = fields
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def train(self) -> float:
        self.optimiser.zero_grad()
        loss = functional.mse_loss(self._forward().float(), self.truth)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def infer(self) -> None:
        with torch.inference_mode():
            self._forward()

    def wait(self) -> None:
        _wait(self.case)

    def about(self) -> dict[str, Any]:
        return _about(self.case)

    def _forward(self) -> Tensor:
        with torch.autocast(self.case.device, torch.bfloat16) if self.half else nullcontext():
            found: Tensor | tuple[Tensor, Any] = self.run(self.x)
        return found[0] if isinstance(found, tuple) else found


class Limit:
    """The convolutions that no implementation can do without, and nothing else, in channels-last memory.

    Without a state there is nothing to convolve at the first step, and nobody asks for the gradient of the data.
    """

    def __init__(self, case: Case) -> None:
        _settle(case)
        self.case = case
        self.layers = [Layer(*layer.gates(0, 1, 2, 3)) for layer in case.weights()]
        self.count = sum(layer.weight.size + layer.bias.size for layer in self.layers)
        self.made = [self._make(layer) for layer in self.layers]

    def _make(self, layer: Layer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        case = self.case
        weight, bias = (torch.tensor(part, device=case.device) for part in layer)
        x = torch.randn(case.batch, weight.shape[1], case.size, case.size, device=case.device)
        gradient = torch.randn(case.batch, len(weight), case.size, case.size, device=case.device)
        return x.to(memory_format=LAST), gradient.to(memory_format=LAST), weight.to(memory_format=LAST), bias

    def parameters(self) -> int:
        return self.count

    def train(self) -> float:
        self.infer()
        with torch.no_grad():
            for number, (x, gradient, weight, _) in enumerate(self.made):
                inputs = x.shape[1] - self.case.hidden
                for _ in range(self.case.steps - 1):
                    _backward(gradient, x, weight, [False, True, True])
                    first = 0 if number else inputs
                    _backward(gradient, x[:, first:], weight[:, first:], [True, False, False])
                _backward(gradient, x[:, :inputs], weight[:, :inputs], [number > 0, True, True])
        return float("nan")

    def infer(self) -> None:
        with torch.inference_mode():
            for x, _, weight, bias in self.made:
                inputs = x.shape[1] - self.case.hidden
                functional.conv2d(x[:, :inputs], weight[:, :inputs], bias, padding="same")
                for _ in range(self.case.steps - 1):
                    functional.conv2d(x, weight, bias, padding="same")

    def wait(self) -> None:
        _wait(self.case)

    def about(self) -> dict[str, Any]:
        return _about(self.case)


def _backward(gradient: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> None:
    around = [weight.shape[-1] // 2] * 2
    torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], [1, 1], around, [1, 1], False, [0, 0], 1, wanted
    )


def _settle(case: Case) -> None:
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    if case.device == "cuda":
        # True single precision on both sides, and the best algorithm found once.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True


def _wait(case: Case) -> None:
    if case.device == "cuda":
        torch.cuda.synchronize()


def _about(case: Case) -> dict[str, Any]:
    device = torch.cuda.get_device_name() if case.device == "cuda" else ""
    return {"torch": torch.__version__, "device": device}
