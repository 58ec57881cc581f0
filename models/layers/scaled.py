"""Scaled dot-product attention for any batch size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# CUDA's attention kernels put the batch on an axis of the launch grid, which is limited to 65535.
LARGEST_BATCH = 65535


def scaled_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return `softmax(Q K' / sqrt(d)) V` without materialising the weights (Vaswani et al. 2017, arXiv:1706.03762).

    Keys and values must have the same width; otherwise PyTorch takes a slow path that materialises all q x k weights.

    Args:
        query: (b, heads, q, d).
        key: (b, heads, k, d).
        value: (b, heads, k, d).
        mask: (b, 1, 1, k), True for visible keys, at least one in each row; None if all are.

    Returns:
        (b, heads, q, d).
    """
    batch = len(query)
    if batch <= LARGEST_BATCH:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    pieces = []
    for begin in range(0, batch, LARGEST_BATCH):
        piece = slice(begin, begin + LARGEST_BATCH)
        seen = None if mask is None else mask[piece]
        pieces.append(functional.scaled_dot_product_attention(query[piece], key[piece], value[piece], attn_mask=seen))
    return torch.cat(pieces)
