"""The steps of a ConvLSTM layer over a sequence: plainly, and with a backward of its own.

Both compute the same from the same arguments. The channel is the last axis, so that every convolution works in
channels-last memory. At the first step without a state x is convolved alone.

The plain one is for torch.compile, which fuses it. The other one is for eager mode. There it saves time, since what
is not a convolution is done block by block in the cache of the CPU, and memory, since the gates take the place of their
sums, their gradients the place of the gates, and [x, h] is joined again in the backward. It can be differentiated once,
and not twice through the same graph.
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
_BLOCK = 1 << 19  # numbers in the gates of a block for each thread: 2 MB


def plain_sequence(
    x: Tensor,
    hidden: Tensor | None,
    cell: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    peepholes: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """All hidden states (time, n, height, width, hidden), and the last hidden state and cell.

    Args:
        x: (time, n, height, width, inputs).
        hidden: (n, height, width, hidden), the hidden state before; None, as the cell, at the start.
        cell: the same shape.
        weight: (4 * hidden, inputs + hidden, kernel, kernel).
        bias: (4 * hidden,).
        peepholes: (3, hidden) or None.
        dtype: of convolutions and hidden states. Gates and cell are of the type of the bias.
    """
    weight, outputs = weight.to(dtype), []
    for step in x.unbind(0):
        sums = convolve(join(step, hidden).to(dtype), weight, bias.to(dtype))
        new, cell = lstm_step(sums.to(bias.dtype), cell, peepholes)
        hidden = new.to(dtype)
        outputs.append(hidden)
    return torch.stack(outputs), outputs[-1], cast(Tensor, cell)


class FastSequence(Function):
    """The same as `plain_sequence`. One more argument tells whether a backward may follow."""

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
        """All hidden states, and the last hidden state and cell."""
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
        """Gradients of all tensors, from the last step to the first."""
        x, hidden, outputs, weight, bias, peepholes, *rest = ctx.saved_tensors
        cells, kept = rest[: len(x) + 1], rest[len(x) + 1 :]
        kernel, inputs = weight.to(outputs.dtype), x.shape[-1]
        # Nobody asks for the gradient of data: then its share of the convolution is left out.
        d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device) if ctx.needs_input_grad[0] else None
        first = inputs if d_x is None else 0
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        d_peepholes = None if peepholes is None else torch.zeros_like(peepholes)
        d_cell = torch.zeros_like(cells[-1]) if d_last is None else d_last.clone(memory_format=torch.contiguous_format)
        for t in reversed(range(len(x))):
            # Joined once more: that is quicker than memory is large.
            joined = join(x[t], outputs[t - 1] if t else hidden).to(outputs.dtype)
            # The one from within comes first: it has channels last, and so has the sum.
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
    """Those gradients that are wanted, of the joined fields, the weight and the bias."""
    around = [weight.shape[-1] // 2] * 2
    fields, of_sums, ones = joined.movedim(-1, 1), d_sums.movedim(-1, 1), [1, 1]
    d_joined, d_weight, d_bias = _aten.convolution_backward(
        of_sums, fields, weight, [len(weight)], ones, around, ones, False, [0, 0], 1, wanted
    )
    return None if d_joined is None else d_joined.movedim(1, -1), d_weight, d_bias


def _activate(
    sums: Tensor, before: Tensor | None, peepholes: Tensor | None, output: Tensor, dtype: torch.dtype
) -> Tensor:
    """Make gates of the sums in place, write the hidden state to `output`, return the new cell, of that type."""
    cell = torch.empty(output.shape, dtype=dtype, device=output.device)
    for block, old, new, hidden in _blocks(sums, before, cell, output):
        gates = block.to(dtype)
        enter, forget, leave, candidate = gates.chunk(4, dim=-1)
        if old is not None and peepholes is not None:
            enter.addcmul_(peepholes[0], old)
            forget.addcmul_(peepholes[1], old)
        gates[:, : (3 if peepholes is None else 2) * new.shape[1]].sigmoid_()
        _tanh(candidate, out=candidate)
        torch.mul(enter, candidate, out=new)
        if old is not None:
            new.addcmul_(forget, old)
        if peepholes is not None:
            leave.addcmul_(peepholes[2], new).sigmoid_()
        torch.mul(leave, _tanh(new), out=hidden)
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
    """In place, make gradients of the sums of the gates, and of that of the cell that of the one before.

    To the gradients of peepholes this step's are added.
    """
    for block, d_output, d_new, old, new in _blocks(gates, d_hidden, d_cell, before, cell):
        d_sums = block.to(cell.dtype)
        enter, forget, leave, candidate = d_sums.chunk(4, dim=-1)
        seen = _tanh(new)
        d_new += _aten.tanh_backward(d_output * leave, seen)
        _aten.sigmoid_backward.grad_input(d_output * seen, leave, grad_input=leave)
        if peepholes is not None and d_peepholes is not None:
            d_new.addcmul_(peepholes[2], leave)
            d_peepholes[2] += (leave * new).sum(0)
        d_enter, d_candidate = d_new * candidate, d_new * enter
        _aten.sigmoid_backward.grad_input(d_enter, enter, grad_input=enter)
        _aten.tanh_backward.grad_input(d_candidate, candidate, grad_input=candidate)
        if old is None:
            forget.zero_()
        else:
            d_forget = d_new * old
            d_new *= forget
            _aten.sigmoid_backward.grad_input(d_forget, forget, grad_input=forget)
            if peepholes is not None and d_peepholes is not None:
                d_new.addcmul_(peepholes[0], enter).addcmul_(peepholes[1], forget)
                d_peepholes[0] += (enter * old).sum(0)
                d_peepholes[1] += (forget * old).sum(0)
        if d_sums is not block:
            block.copy_(d_sums)


def _blocks(gates: Tensor, *fields: Tensor | None) -> Iterator[list[Any]]:
    """Fields (n, height, width, channels) as blocks (cells, channels) that a CPU's cache holds through all passes."""
    rows = [None if field is None else field.flatten(0, 2) for field in (gates, *fields)]
    count = gates.shape[:-1].numel()
    step = count if gates.is_cuda else _BLOCK * torch.get_num_threads() // gates.shape[-1] + 1
    for first in range(0, count, step):
        yield [None if field is None else field[first : first + step] for field in rows]


def _tanh(x: Tensor, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent; `out` may be x. On CPU torch's own takes far longer than the sigmoid."""
    return torch.tanh(x, out=out) if x.is_cuda else torch.mul(x, 2, out=out).sigmoid_().mul_(2).sub_(1)
