"""Arithmetic that does not change codes: how a codec's network runs between audio and codes, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep a GPU from rounding products to TF32 inside, as it does in convolutions by default: that changes codes."""
    import torch

    cudnn: Any = torch.backends.cudnn
    backends: list[Any] = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def run_exactly(network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Return ``network(batch)``, [B, ...] from [B, ...], without gradients and each row as if it were alone.

    CPU kernels are chosen by the batch's size and round differently: near a boundary between two codes an utterance
    would get other codes in company than alone. So rows go one by one there, and together on a GPU.
    """
    import torch

    with torch.inference_mode(), full_precision():
        if batch.shape[0] > 1 and batch.device.type == "cpu":
            return torch.cat([network(row[None]) for row in batch.unbind()])
        return network(batch)
