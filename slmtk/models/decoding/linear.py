"""A linear layer for a few rows at a time. Part of tokens -> codes.

What counts is how fast the weights stream through the processor. On a CPU, PyTorch's own product (MKL) is the fastest
for one row and weights that lie in the cache. Otherwise it is oneDNN's with weights laid out for it: on a processor by
AMD twice as fast, 1.3 times with weights as they are. The operators are those that PyTorch's compiler emits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHED_BYTES = 2**21
"""Weights up to this size are at hand when their turn comes again."""

LARGEST_COPY = 2**31
"""Bytes of a model's layers up to which a copy is laid out; of a larger one, memory counts for more."""

_laid_out: WeakKeyDictionary[nn.Module, tuple[object, Tensor]] = WeakKeyDictionary()


class Linear:
    """x -> x W^T + b, of float [n, I] with few n."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, rows: int, owners: Sequence[nn.Linear], *, copy: bool
    ) -> None:
        """Choose the fastest way.

        Args:
            weight: float [O, I].
            bias: float [O].
            rows: n of the steps.
            owners: the model's layers that ``weight`` belongs to; what was laid out for them is used again.
            copy: whether there may be a copy of the weights.
        """
        self._bias, self._turned = bias, weight.t()
        self._weight = weight
        size = weight.numel() * weight.element_size()
        self._fast = (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and (rows > 1 or size > CACHED_BYTES)
            and has_operators()
        )
        if self._fast and copy:
            self._weight = _lay_out(weight, owners)

    def __call__(self, x: Tensor) -> Tensor:
        """float [n, I] -> float [n, O]."""
        if self._fast:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
            return y
        return F.linear(x, self._weight, self._bias)

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total`` [n, O] plus the layer's output for ``x`` [n, I], as a new tensor."""
        if self._fast or self._bias is not None:
            return self(x).add_(total)
        return torch.addmm(total, x, self._turned)


def _lay_out(weight: Tensor, owners: Sequence[nn.Linear]) -> Tensor:
    """The weights as oneDNN wants them, made again only if they have changed."""
    # The sum notices what is written past PyTorch's count of changes (`.data`).
    now = (weight.data_ptr(), float(weight.sum()), *(owner.weight._version for owner in owners))
    kept, packed = _laid_out.get(owners[0], (None, weight))
    if kept != now:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
        _laid_out[owners[0]] = (now, packed)
    return packed


@functools.cache
def has_operators() -> bool:
    """Whether this build of PyTorch has oneDNN's linear layer: it does not promise to keep it, so it is tried."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        matrix = torch.ops.mkldnn._reorder_linear_weight(torch.zeros(16, 16), 8)
        torch.ops.mkldnn._linear_pointwise(torch.zeros(8, 16), matrix, None, "none", [], "")
        torch.ops.mkldnn._linear_pointwise(torch.zeros(1, 16), torch.zeros(16, 16), None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True
