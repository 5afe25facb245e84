"""What every recogniser does with sound before it listens: check it, leave silence out, cut what is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from slmtk.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Whisper hears 30 s at a time; others could hear more, at a memory that grows with the square.
_MAX_SECONDS = 30.0
# Longer recordings are cut where they are quietest between these two times.
_EARLIEST_CUT_SECONDS = 25.0
_CUT_WINDOW_SECONDS = 0.02
# Below -80 dB of full scale nothing is heard; models make words up out of silence.
_SILENCE = 1e-4

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def audible_samples(wav: Tensor) -> NDArray[np.float32]:
    """Return the samples of an utterance, none at all if it is silent.

    Args:
        wav: float [S], in [-1, 1].

    Returns:
        float32 [S], or [0] where everything lies 80 dB and more below full scale.

    Raises:
        AudioError: kind "nan": a sample is NaN or infinite.
    """
    samples = wav.detach().cpu().numpy().astype(np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("an utterance to recognise holds NaN or infinite samples", kind="nan")
    return samples if np.abs(samples).max(initial=0.0) >= _SILENCE else samples[:0]


def cut(samples: NDArray[np.float32], sample_rate: int) -> list[NDArray[np.float32]]:
    """Cut a recording into pieces of 30 s or less, each at the quietest 20 ms of its last 5 s; nothing is lost."""
    longest, earliest = (int(seconds * sample_rate) for seconds in (_MAX_SECONDS, _EARLIEST_CUT_SECONDS))
    window = max(1, int(_CUT_WINDOW_SECONDS * sample_rate))
    pieces = []
    while len(samples) > longest:
        energy = np.square(samples[earliest:longest], dtype=np.float64)
        frames = energy[: len(energy) // window * window].reshape(-1, window).sum(axis=1)
        end = earliest + int(frames.argmin()) * window + window // 2
        pieces.append(samples[:end])
        samples = samples[end:]
    return [*pieces, samples]


def batches_by_length(pieces: Sequence[NDArray[Any]], size: int) -> list[list[int]]:
    """Return the places of ``pieces`` in batches of ``size``, the shortest first: neighbours need little padding."""
    places = sorted(range(len(pieces)), key=lambda place: len(pieces[place]))
    return [places[start : start + size] for start in range(0, len(places), size)]


def prepared_ahead(prepare: Callable[[Item], Prepared], items: Iterable[Item]) -> Iterator[tuple[Item, Prepared]]:
    """Yield each item with what ``prepare`` makes of it; the next is prepared in a thread while this one is used.

    Raises:
        Exception: what ``prepare`` raises, when its item is due.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="slmtk-ahead") as pool:
        waiting: tuple[Item, Any] | None = None
        for item in items:
            upcoming = item, pool.submit(prepare, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = upcoming
        if waiting:
            yield waiting[0], waiting[1].result()
