"""Arithmetic that does not change codes: what a codec's network runs under on its way between audio and codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
