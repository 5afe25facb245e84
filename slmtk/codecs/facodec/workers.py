"""Threads for FACodec's stacks: each takes whole stretches of a signal, so that they meet once a layer.

PyTorch's own threads meet once an operator, a hundred times as often: with operators of some ten microseconds that
costs more than it gains, and everything stands still whenever another process has one of the cores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from slmtk.codecs.facodec.snake import Scratch

Result = TypeVar("Result")


class Workers:
    """As many threads as PyTorch may use on a CPU, the caller's among them; for one utterance, as a context."""

    def __init__(self, device: torch.device) -> None:
        """``device`` of the tensors."""
        self._count = torch.get_num_threads() if device.type == "cpu" else 1
        self._own = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._signals = Scratch()
        self._turn = 0

    def __enter__(self) -> Self:
        if self._count > 1:
            ready = threading.Barrier(self._count)
            self._pool = ThreadPoolExecutor(self._count - 1)
            for _ in range(self._count - 1):
                self._pool.submit(_begin, ready)
            ready.wait()
            # PyTorch's own threads would wait for their next operator by spinning, on cores that these threads need.
            torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            torch.set_num_threads(self._count)

    def start(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin ``work`` beside what comes next; the function that is returned waits for its result."""
        if self._pool is None:
            result = work()
            return lambda: result
        return self._pool.submit(torch.inference_mode()(work)).result

    def buffer(self, x: Tensor, *shape: int) -> Tensor:
        """Return ``shape`` uninitialised values like ``x``'s that do not overlap it; the call after next reuses them.

        Layers take turns with two buffers: memory that is new to the process costs as much as computing what fills it.
        """
        self._turn = 1 - self._turn
        return self._signals.take(str(self._turn), x, *shape)

    def each(
        self,
        work: Callable[[Scratch, int, int], Tensor],
        result: Tensor,
        stretches: Iterable[Stretch],
        add: Tensor | None = None,
    ) -> Tensor:
        """Fill ``result`` [n, C] stretch by stretch with what ``work`` makes of a thread's scratch, start and stop.

        ``add`` [n, C] is added to it.
        """
        waiting = iter(stretches)
        helpers = [
            self._pool.submit(self._fill, work, result, waiting, add) for _ in range(self._count - 1) if self._pool
        ]
        self._fill(work, result, waiting, add)
        for helper in helpers:
            # One that has not begun, because its thread is busy with something else, would find nothing left.
            if not helper.cancel():
                helper.result()
        return result

    @torch.inference_mode()
    def _fill(
        self,
        work: Callable[[Scratch, int, int], Tensor],
        result: Tensor,
        waiting: Iterator[Stretch],
        add: Tensor | None,
    ) -> None:
        for start, stop, kept in waiting:
            rows = work(self._scratch(), start, stop)[kept - start :]
            if add is None:
                result[kept:stop] = rows
            else:
                torch.add(add[kept:stop], rows, out=result[kept:stop])

    def _scratch(self) -> Scratch:
        if not hasattr(self._own, "scratch"):
            self._own.scratch = Scratch()
        scratch: Scratch = self._own.scratch
        return scratch


def _begin(ready: threading.Barrier) -> None:
    torch.set_num_threads(1)
    ready.wait()


class Stretch(NamedTuple):
    """Compute ``start`` .. ``stop``, keep ``kept`` .. ``stop``."""

    start: int
    stop: int
    kept: int


def stretches(x: Tensor, results: int, stride: int = 1) -> list[Stretch]:
    """Return an even number of stretches, small enough for a cache, of the ``results`` that a layer makes.

    They depend on the signal alone and not on the number of threads, and with them the last bits of the result. Few
    lengths occur, and the last stretch begins somewhat earlier than needed to have one of them: for every new length
    oneDNN makes new code, which takes as long as computing a stretch.

    Args:
        x: [n, C], what the layer takes.
        results: how many the layer makes.
        stride: samples of ``x`` that each of them stands for.
    """
    values = _STRETCH if x.device.type == "cpu" else _STRETCH_ELSEWHERE
    most = max(_LENGTHS, max(_SHORTEST, values // x.shape[1]) // stride)
    unit = most // _LENGTHS
    count = 2 * -(-results // (2 * most))
    step = unit * -(-results // (count * unit))
    found = []
    for kept in range(0, results, step):
        stop = min(kept + step, results)
        found.append(Stretch(max(0, stop - unit * -(-(stop - kept) // unit)), stop, kept))
    return found


# 1 MB a stretch, so that it and its temporaries stay near the core; half of that costs 5 % more, at the ends.
_STRETCH = 1 << 18
_STRETCH_ELSEWHERE = 1 << 24
# Samples; a residual unit computes up to 39 beyond either end of a stretch.
_SHORTEST = 512
# How many lengths a layer's stretches may have.
_LENGTHS = 8
