"""How a folder's codes are used: entropy, dead codes and stuck streams, counted row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmtk.spec import CodecSpec, Stream

STUCK_SHARE = 0.5
"""A stream is stuck in an utterance if one code takes more than this share of its frames."""

_BIN_WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_MOST_BINS = 12


@dataclass(frozen=True)
class StreamUsage:
    """How one stream's codebook is used.

    Attributes:
        name: of the stream.
        kind: of the stream.
        size: codes in the book.
        used: codes that occur.
        dead: codes that never occur.
        entropy_bits: of the codes' distribution over all frames.
        max_bits: log2 of the size, reached if all codes are used evenly.
        top_code: the commonest code.
        top_share: its share of all frames.
        stuck_utterances: those in which one code takes more than half of the frames.
        constant_utterances: those in which the code never changes (of two frames or more).
        verdict: "ok", or what is wrong with the stream over all frames: "stuck", "constant".
    """

    name: str
    kind: str
    size: int
    used: int
    dead: int
    entropy_bits: float
    max_bits: float
    top_code: int
    top_share: float
    stuck_utterances: int
    constant_utterances: int
    verdict: str


class UsageCounter:
    """Counts codes, utterance by utterance."""

    def __init__(self, spec: CodecSpec) -> None:
        """Start with nothing counted."""
        self._streams = spec.streams
        self._counts = [np.zeros(stream.size, np.int64) for stream in spec.streams]
        self._stuck = np.zeros(spec.num_codebooks, np.int64)
        self._constant = np.zeros(spec.num_codebooks, np.int64)

    def add(self, codes: np.ndarray[Any, np.dtype[np.int32]]) -> None:
        """Count one utterance's codes, int32 [K, T]."""
        frames = codes.shape[1]
        if frames < 2:
            return
        for place, row in enumerate(codes):
            counts = np.bincount(row, minlength=self._streams[place].size)
            self._counts[place] += counts
            self._stuck[place] += counts.max() > STUCK_SHARE * frames
            self._constant[place] += counts.max() == frames

    def usage(self) -> list[StreamUsage]:
        """Return what was counted, a stream after the other."""
        return [
            _describe(stream, self._counts[place], int(self._stuck[place]), int(self._constant[place]))
            for place, stream in enumerate(self._streams)
        ]


def entropy_bits(counts: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Entropy of the distribution ``counts``, in bits; 0 if nothing was counted."""
    total = counts.sum()
    if not total:
        return 0.0
    shares = counts[counts > 0] / total
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def duration_histogram(seconds: Sequence[float]) -> list[dict[str, float]]:
    """Count durations in at most a dozen bins of a round width: rows {from_seconds, to_seconds, utterances}."""
    if not seconds:
        return []
    longest = max(seconds)
    width = next((w for w in _BIN_WIDTHS if longest / w < _MOST_BINS), max(_BIN_WIDTHS[-1], longest / _MOST_BINS))
    counts = np.bincount([int(duration / width) for duration in seconds])
    return [
        {"from_seconds": round(place * width, 3), "to_seconds": round((place + 1) * width, 3), "utterances": int(count)}
        for place, count in enumerate(counts)
    ]


def _describe(stream: Stream, counts: np.ndarray[Any, np.dtype[np.int64]], stuck: int, constant: int) -> StreamUsage:
    used = int((counts > 0).sum())
    share = float(counts.max() / counts.sum()) if counts.sum() else 0.0
    verdict = "constant" if used == 1 and stream.size > 1 else "stuck" if share > STUCK_SHARE else "ok"
    return StreamUsage(
        name=stream.name,
        kind=stream.kind,
        size=stream.size,
        used=used,
        dead=stream.size - used,
        entropy_bits=round(entropy_bits(counts), 3),
        max_bits=round(math.log2(stream.size), 3),
        top_code=int(counts.argmax()),
        top_share=round(share, 4),
        stuck_utterances=stuck,
        constant_utterances=constant,
        verdict=verdict,
    )
