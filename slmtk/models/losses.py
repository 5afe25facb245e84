"""Cross-entropy of linear layers with many outputs, without keeping their scores. Hidden states -> losses.

H heads of V codes over N positions are N x H x V scores: more numbers than all the rest of a training step. Here they
are made, turned into gradients and forgotten a stretch of positions at a time, in one matrix product for all heads.
Taking the gradient during the forward pass is the idea of the Liger kernels (arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

STRETCH = 1024
"""Positions whose scores exist at a time where a layer has to be called."""


class Losses(NamedTuple):
    """What N positions cost.

    Attributes:
        total: float [], the sum over heads of the mean over positions; the only value that has a gradient.
        each: float32 [N, H].
        hits: bool [N, H], whether the target is what the head ranks first.
    """

    total: Tensor
    each: Tensor
    hits: Tensor


def linear_losses(states: Tensor, layers: Sequence[nn.Module], targets: Tensor) -> Losses:
    """Losses of heads that all read the same states.

    Args:
        states: float [N, D].
        layers: H layers [N, D] -> scores [N, V of the head]. Plain ``nn.Linear`` ones are one matrix product; where
            another stands among them (wrapped by peft, say), each is called.
        targets: int64 [N, H], rows of each head; every position counts.

    Returns:
        the losses; 0, with gradients of 0, for N = 0.
    """
    # Exactly this class: a wrapper or subclass may do more in its forward than the product.
    if all(type(layer) is nn.Linear for layer in layers):
        weight, bias = _stacked(layers)  # type: ignore[arg-type]
        results: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(
            states, weight, bias, targets, torch.is_grad_enabled()
        )
        return Losses(*results)
    parts = [_called(layer, states, targets[:, head]) for head, layer in enumerate(layers)]
    return join_heads(parts)


def join_heads(parts: Sequence[Losses]) -> Losses:
    """Losses of H heads as one, from those of one head each."""
    return Losses(
        torch.stack([part.total for part in parts]).sum(),
        torch.cat([part.each for part in parts], dim=1),
        torch.cat([part.hits for part in parts], dim=1),
    )


def mean_or_zero(losses: Tensor) -> Tensor:
    """Mean, and 0 (not NaN) of nothing: a batch may hold no text or no speech."""
    return losses.sum() / max(1, losses.numel())


def _called(layer: nn.Module, states: Tensor, targets: Tensor) -> Losses:
    def part(states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores = layer(states)
        return F.cross_entropy(scores.float(), targets, reduction="none"), scores.argmax(-1) == targets

    stretches = list(zip(torch.split(states, STRETCH), torch.split(targets, STRETCH), strict=True))
    if len(stretches) == 1:
        each, hits = part(states, targets)
    else:  # the scores of one stretch at a time, made again in the backward pass
        parts = [checkpoint(part, *stretch, use_reentrant=False) for stretch in stretches]
        each, hits = (torch.cat(values) for values in zip(*parts, strict=True))
    return Losses(mean_or_zero(each), each.detach()[:, None], hits[:, None])


def _stacked(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """One weight [H, V, D] and bias [H, V]; a head of fewer rows gets rows that no softmax chooses."""
    rows = max(layer.out_features for layer in layers)
    if len(layers) == 1:
        layer = layers[0]
        return layer.weight[None], None if layer.bias is None else layer.bias[None]
    weights, biases = [], []
    for layer in layers:
        missing = rows - layer.out_features
        bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
        weights.append(F.pad(layer.weight, (0, 0, 0, missing)))
        biases.append(F.pad(bias, (0, missing), value=-torch.inf))
    return torch.stack(weights), torch.stack(biases)


class _LinearCrossEntropy(torch.autograd.Function):
    """Finds losses and gradients together; backward only scales the gradients."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, with_gradients: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``states`` [N, D], ``weight`` [H, V, D], ``bias`` [H, V] or None, ``targets`` [N, H]."""
        device = states.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        grads = [
            torch.zeros_like(tensor, memory_format=torch.contiguous_format)
            if needed and with_gradients and tensor is not None
            else None
            for tensor, needed in zip((states, weight, bias), ctx.needs_input_grad[:3], strict=True)
        ]
        each = torch.empty(targets.shape, dtype=torch.float32, device=states.device)
        hits = torch.empty(targets.shape, dtype=torch.bool, device=states.device)
        table = weight.to(kind).flatten(0, 1)
        offset = None if bias is None else bias.to(kind).flatten()
        # So many scores exist at a time: what a CPU's cache likes; 256 MB elsewhere.
        stretch = max(1, (2**21 if device == "cpu" else 2**26) // len(table))
        with torch.autocast(device, enabled=False):
            for begin in range(0, len(states), stretch):
                part = slice(begin, begin + stretch)
                x = states[part].to(kind)
                scores = F.linear(x, table, offset).view(len(x), *weight.shape[:2])
                hits[part] = scores.argmax(-1) == targets[part]
                rows = targets[part, :, None]
                logs = scores.float().log_softmax(-1)
                each[part] = -logs.gather(-1, rows)[..., 0]
                if any(grad is not None for grad in grads):
                    slopes = logs.exp_()
                    slopes.scatter_add_(-1, rows, slopes.new_full(rows.shape, -1.0))
                    _add_gradients(grads, part, slopes, x, table)
        ctx.save_for_backward(*grads)
        ctx.count = len(states)
        ctx.mark_non_differentiable(each, hits)
        return each.sum() / max(1, len(states)), each, hits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Gradients by ``states``, ``weight`` and ``bias``."""
        scale = scale / max(1, ctx.count)
        return (*(None if grad is None else grad * scale.to(grad.dtype) for grad in ctx.saved_tensors), None, None)


def _add_gradients(grads: Sequence[Tensor | None], part: slice, slopes: Tensor, x: Tensor, table: Tensor) -> None:
    """Add what ``slopes`` [n, H, V], the loss's gradient by the scores, means for states, weight and bias."""
    by_states, by_weight, by_bias = grads
    flat = slopes.flatten(1).to(x.dtype)
    if by_states is not None:
        by_states[part] = flat @ table
    if by_weight is not None and by_weight.dtype == x.dtype:
        by_weight.flatten(0, 1).addmm_(flat.T, x)  # in place: a view of contiguous zeros
    elif by_weight is not None:
        by_weight += (flat.T @ x).view_as(by_weight)
    if by_bias is not None:
        by_bias += slopes.sum(0)
