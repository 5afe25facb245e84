"""Attention within each example of a packed row, one after the other: what a CPU does best. Part of the model.

A mask over a whole row makes a CPU compute scores of every pair of positions, most of which belong to different
examples. Here each example is a causal attention of its own. On a GPU many small kernels would cost more than the mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "slmtk_segments"
"""What transformers knows this attention by."""

Borders = Sequence[tuple[int, int, int]]
"""(row, start, stop) of every example."""


def borders_of(position_ids: Tensor) -> Borders:
    """Borders of the examples of rows whose positions, int64 [B, L], begin again at 0 in each."""
    found = []
    for row, positions in enumerate(position_ids):
        starts = (positions == 0).nonzero()[:, 0].tolist()
        found += [(row, start, stop) for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True)]
    return found


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    borders: Borders | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as transformers calls it: [B, heads, L, D] -> [B, L, heads, D]."""
    if borders is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return result
    # Rows one behind the other, so that each example is one stretch.
    flat = [tensor.transpose(0, 1).flatten(1, 2)[None] for tensor in (query, key, value)]
    sizes = [stop - start for _, start, stop in borders]
    window = others.get("sliding_window")
    parts = []
    for q, k, v in zip(*(torch.split(tensor, sizes, dim=2) for tensor in flat), strict=True):
        mask = None if window is None or q.shape[2] <= window else _band(q.shape[2], window, q.device)
        mixed = F.scaled_dot_product_attention(
            q, k, v, mask, dropout, mask is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts).view(len(query), -1, *parts[0].shape[1:]), None


def _band(length: int, window: int, device: torch.device) -> Tensor:
    distance = torch.arange(length, device=device)
    distance = distance[:, None] - distance
    return (distance >= 0) & (distance < window)


def _mask(*arguments: Any, **named: Any) -> Tensor | None:
    if _without_masks.get():
        return None
    found: Tensor | None = sdpa_mask(*arguments, **named)
    return found


@contextmanager
def without_masks() -> Iterator[None]:
    """Within it transformers makes no masks, since the borders say all."""
    token = _without_masks.set(True)
    try:
        yield
    finally:
        _without_masks.reset(token)


_without_masks = ContextVar("without_masks", default=False)

AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
