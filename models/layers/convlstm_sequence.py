"""One ConvLSTM layer over a sequence, with plain autograd and with a custom backward pass.

Both take the same arguments and compute the same values. Channels are the last axis, so every convolution works in
channels-last memory. At a first step without a state, x is convolved alone.

The plain version is for torch.compile, which fuses it. The custom one is for eager mode: it is faster, because all
elementwise work runs block by block in the CPU cache, and needs less memory, because activations and their gradients
are written in place and [x, h] is concatenated again in the backward pass. It supports neither second derivatives nor a
second backward pass through the same graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from models.layers.gates import lstm_step
from models.layers.recurrent import convolve, join

_aten = torch.ops.aten
_BLOCK = 1 << 19  # gate values per block and thread: 2 MB


def plain_sequence(
    x: Tensor,
    hidden: Tensor | None,
    cell: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    peepholes: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return all hidden states (time, n, height, width, hidden), and the final hidden state and cell.

    Args:
        x: (time, n, height, width, inputs).
        hidden: (n, height, width, hidden), the initial hidden state; None for zero.
        cell: same shape, the initial cell; None for zero.
        weight: (4 * hidden, inputs + hidden, kernel, kernel).
        bias: (4 * hidden,).
        peepholes: (3, hidden) or None.
        dtype: type of convolutions and hidden states; gates and cell have the type of the bias.
    """
    weight, outputs = weight.to(dtype), []
    for step in x.unbind(0):
        sums = convolve(join(step, hidden).to(dtype), weight, bias.to(dtype))
        new, cell = lstm_step(sums.to(bias.dtype), cell, peepholes)
        hidden = new.to(dtype)
        outputs.append(hidden)
    return torch.stack(outputs), outputs[-1], cast(Tensor, cell)


class FastSequence(Function):
    """`plain_sequence` with a custom backward pass; the last argument states whether one may follow."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor | None,
        cell: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        peepholes: Tensor | None,
        dtype: torch.dtype,
        training: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return all hidden states, and the final hidden state and cell."""
        outputs = x.new_empty((*x.shape[:-1], len(bias) // 4), dtype=dtype)
        kernel, offset = weight.to(dtype), bias.to(dtype)
        kept, cells, before = [], [cell], hidden
        for step, output in zip(x.unbind(0), outputs.unbind(0), strict=True):
            gates = convolve(join(step, before).to(dtype), kernel, offset)
            cell, before = _activate(gates, cell, peepholes, output, bias.dtype), output
            if training:
                cells.append(cell)
                kept.append(gates)
        if training:
            ctx.save_for_backward(x, hidden, outputs, weight, bias, peepholes, *cells, *kept)
            ctx.set_materialize_grads(False)
        return outputs, outputs[-1].clone(), cast(Tensor, cell)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_hidden: Tensor | None, d_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of all tensors, from the last step to the first."""
        x, hidden, outputs, weight, bias, peepholes, *rest = ctx.saved_tensors
        cells, kept = rest[: len(x) + 1], rest[len(x) + 1 :]
        kernel, inputs = weight.to(outputs.dtype), x.shape[-1]
        # Data needs no gradient; its part of the convolution is skipped.
        d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device) if ctx.needs_input_grad[0] else None
        first = inputs if d_x is None else 0
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        d_peepholes = None if peepholes is None else torch.zeros_like(peepholes)
        d_cell = torch.zeros_like(cells[-1]) if d_last is None else d_last.clone(memory_format=torch.contiguous_format)
        for t in reversed(range(len(x))):
            # Concatenating again is fast, and keeping it would need much memory.
            joined = join(x[t], outputs[t - 1] if t else hidden).to(outputs.dtype)
            # The recurrent gradient comes first: it is channels-last, so the sum is too.
            parts = [part for part in (d_hidden, None if d_outputs is None else d_outputs[t]) if part is not None]
            d_hidden = sum(parts[1:], parts[0]) if parts else torch.zeros_like(outputs[t])
            _differentiate(kept[t], d_hidden, d_cell, cells[t], cells[t + 1], peepholes, d_peepholes)
            d_sums, last = kept[t], joined.shape[-1]
            _, share, d_one = _convolve_backward(d_sums, joined, kernel[:, :last], [False, True, True])
            d_weight[:, :last] += share
            d_bias += d_one
            if first < last:
                wanted = joined.new_empty((*joined.shape[:-1], last - first))  # its shape is all that is read
                d_joined, _, _ = _convolve_backward(d_sums, wanted, kernel[:, first:last], [True, False, False])
                d_hidden = d_joined[..., inputs - first :]
                if d_x is not None:
                    d_x[t] = d_joined[..., :inputs]
        if hidden is None:
            return d_x, None, None, d_weight, d_bias, d_peepholes, None, None
        return d_x, d_hidden, d_cell, d_weight, d_bias, d_peepholes, None, None


def _convolve_backward(d_sums: Tensor, joined: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Any, Any, Any]:
    """Return the gradients of the concatenated fields, the weight and the bias, or None where not `wanted`."""
    around = [weight.shape[-1] // 2] * 2
    fields, of_sums, ones = joined.movedim(-1, 1), d_sums.movedim(-1, 1), [1, 1]
    d_joined, d_weight, d_bias = _aten.convolution_backward(
        of_sums, fields, weight, [len(weight)], ones, around, ones, False, [0, 0], 1, wanted
    )
    return None if d_joined is None else d_joined.movedim(1, -1), d_weight, d_bias


def _activate(
    sums: Tensor, before: Tensor | None, peepholes: Tensor | None, output: Tensor, dtype: torch.dtype
) -> Tensor:
    """Turn pre-activations into gates in place, write the hidden state to `output`, and return the new cell."""
    cell = torch.empty(output.shape, dtype=dtype, device=output.device)
    for block, old, new, hidden in _blocks(sums, before, cell, output):
        gates = block.to(dtype)
        input_gate, forget_gate, output_gate, candidate = gates.chunk(4, dim=-1)
        if old is not None and peepholes is not None:
            input_gate.addcmul_(peepholes[0], old)
            forget_gate.addcmul_(peepholes[1], old)
        gates[:, : (3 if peepholes is None else 2) * new.shape[1]].sigmoid_()
        _tanh(candidate, out=candidate)
        torch.mul(input_gate, candidate, out=new)
        if old is not None:
            new.addcmul_(forget_gate, old)
        if peepholes is not None:
            output_gate.addcmul_(peepholes[2], new).sigmoid_()
        torch.mul(output_gate, _tanh(new), out=hidden)
        if gates is not block:
            block.copy_(gates)
    return cell


def _differentiate(
    gates: Tensor,
    d_hidden: Tensor,
    d_cell: Tensor,
    before: Tensor | None,
    cell: Tensor,
    peepholes: Tensor | None,
    d_peepholes: Tensor | None,
) -> None:
    """Turn gates into gradients of their pre-activations, and `d_cell` into that of the previous cell, in place.

    The gradients of this step are added to those of the peepholes.
    """
    for block, d_output, d_new, old, new in _blocks(gates, d_hidden, d_cell, before, cell):
        d_sums = block.to(cell.dtype)
        input_gate, forget_gate, output_gate, candidate = d_sums.chunk(4, dim=-1)
        seen = _tanh(new)
        d_new += _aten.tanh_backward(d_output * output_gate, seen)
        _aten.sigmoid_backward.grad_input(d_output * seen, output_gate, grad_input=output_gate)
        if peepholes is not None and d_peepholes is not None:
            d_new.addcmul_(peepholes[2], output_gate)
            d_peepholes[2] += (output_gate * new).sum(0)
        d_enter, d_candidate = d_new * candidate, d_new * input_gate
        _aten.sigmoid_backward.grad_input(d_enter, input_gate, grad_input=input_gate)
        _aten.tanh_backward.grad_input(d_candidate, candidate, grad_input=candidate)
        if old is None:
            forget_gate.zero_()
        else:
            d_forget = d_new * old
            d_new *= forget_gate
            _aten.sigmoid_backward.grad_input(d_forget, forget_gate, grad_input=forget_gate)
            if peepholes is not None and d_peepholes is not None:
                d_new.addcmul_(peepholes[0], input_gate).addcmul_(peepholes[1], forget_gate)
                d_peepholes[0] += (input_gate * old).sum(0)
                d_peepholes[1] += (forget_gate * old).sum(0)
        if d_sums is not block:
            block.copy_(d_sums)


def _blocks(gates: Tensor, *fields: Tensor | None) -> Iterator[list[Any]]:
    """Yield fields (n, height, width, channels) in blocks (cells, channels) that fit into the CPU cache."""
    rows = [None if field is None else field.flatten(0, 2) for field in (gates, *fields)]
    count = gates.shape[:-1].numel()
    step = count if gates.is_cuda else _BLOCK * torch.get_num_threads() // gates.shape[-1] + 1
    for first in range(0, count, step):
        yield [None if field is None else field[first : first + step] for field in rows]


def _tanh(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the hyperbolic tangent; `out` may be x. On the CPU torch's tanh is much slower than its sigmoid."""
    return torch.tanh(x, out=out) if x.is_cuda else torch.mul(x, 2, out=out).sigmoid_().mul_(2).sub_(1)
