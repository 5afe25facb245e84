"""Long recordings -> pieces that end in silence, each read by itself: what `tokenize --max-seconds` encodes.

A recording of D seconds gets the least number n of pieces for which D / n is at most 0.8 of the limit. Cut number k is
the quietest point within a tenth of the limit of k D / n, so no piece is longer than the limit and none shorter than
0.3 of it. A cut depends on the audio around it alone: whoever is handed a piece finds its two ends without reading the
rest, and its neighbour's reader finds the same ones.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.spec import Utterance

if TYPE_CHECKING:
    from torch import Tensor

_STEP, _REACH = 0.8, 0.1  # of the limit: between nominal cuts at most, and from a nominal cut to the real one
_HOPS_PER_SECOND, _SMOOTHED_HOPS = 100, 5  # loudness is that of 50 ms, looked at every 10 ms
# A stream of unknown length has a header that promises years; it is read as a whole.
_LONGEST_SECONDS = 1e6


@dataclass(frozen=True)
class Piece:
    """Where a piece lies: the ``locator`` of its `Utterance`.

    Attributes:
        recording: the whole of it.
        number: of the piece, from 0.
        count: of pieces.
        reach_seconds: how far a cut may lie from its nominal place.
    """

    recording: Utterance
    number: int
    count: int
    reach_seconds: float


def split_long(
    utterances: Sequence[Utterance], seconds: Sequence[float], max_seconds: float
) -> tuple[list[Utterance], list[float]]:
    """Replace recordings longer than ``max_seconds`` by their pieces, whose ids and durations are nominal as yet.

    A piece has no text: which of the recording's words it holds is not known. Other columns are the recording's.

    Args:
        utterances: sorted by id.
        seconds: their durations.
        max_seconds: no piece is longer.

    Returns:
        utterances and pieces, sorted by id, and their durations.
    """
    found: list[tuple[Utterance, float]] = []
    for utterance, duration in zip(utterances, seconds, strict=True):
        if not max_seconds < duration < _LONGEST_SECONDS:
            found.append((utterance, duration))
            continue
        count = math.ceil(duration / (_STEP * max_seconds))
        step = duration / count
        for number in range(count):
            name = piece_id(utterance.id, number * step, (number + 1) * step)
            piece = Piece(utterance, number, count, _REACH * max_seconds)
            found.append((dataclasses.replace(utterance, id=name, text=None, locator=piece), step))
    found.sort(key=lambda item: item[0].id)
    return [utterance for utterance, _ in found], [duration for _, duration in found]


def whole(utterance: Utterance) -> Utterance:
    """Return the recording that ``utterance`` is a piece of, or itself."""
    return utterance.locator.recording if isinstance(utterance.locator, Piece) else utterance


def piece_id(recording: str, start: float, stop: float) -> str:
    """Name a piece: "rec" from 12.345 to 27.1 seconds is "rec@00012.345-00027.100"; so named, pieces sort by time."""
    return f"{recording}@{start:09.3f}-{stop:09.3f}"


def read_piece(piece: Piece, source: Path | io.BytesIO, sample_rate: int) -> tuple[str, Tensor]:
    """Read one piece, and no more of the recording than lies around its ends.

    Args:
        piece: which one.
        source: the recording.
        sample_rate: Hz to resample to.

    Returns:
        the piece's id, with its real ends, and float32 [S] in [-1, 1].

    Raises:
        AudioError: see `slmtk.audio.read`.
    """
    header = audio.info(_rewound(source))
    start, stop = (_cut(piece, source, header, number) for number in (piece.number, piece.number + 1))
    wav, _ = audio.read_span(source, start, stop, sample_rate)
    return piece_id(piece.recording.id, start / header.sample_rate, stop / header.sample_rate), wav


def _rewound(source: Path | io.BytesIO) -> Path | io.BytesIO:
    if isinstance(source, io.BytesIO):
        source.seek(0)
    return source


def _cut(piece: Piece, source: Path | io.BytesIO, header: audio.AudioInfo, number: int) -> int:
    """Sample, at the file's rate, at which cut ``number`` lies; the first and the last are the recording's ends."""
    if number in (0, piece.count):
        return header.num_samples if number else 0
    nominal = header.num_samples * number // piece.count
    reach = round(piece.reach_seconds * header.sample_rate)
    first = max(0, nominal - reach)
    # The same span is read whichever piece asks: lossy decoders' samples depend on where reading begins.
    around, rate = audio.read_span(source, first, min(header.num_samples, nominal + reach))
    return first + quietest(around, rate)


def quietest(wav: Tensor, sample_rate: int) -> int:
    """Find the sample around which 50 ms of ``wav`` are quietest; of equally quiet ones the nearest to the middle.

    Args:
        wav: float32 [S] in [-1, 1], at least 50 ms.
        sample_rate: Hz.
    """
    hop = sample_rate // _HOPS_PER_SECOND
    hops = len(wav) // hop
    # Whole numbers: their sums are the same on every machine.
    energy = (wav[: hops * hop] * 32_768).round().long().square().reshape(hops, hop).sum(dim=1)
    loudness = energy.unfold(0, _SMOOTHED_HOPS, 1).sum(dim=1).tolist()
    middle = (len(loudness) - 1) / 2
    best = min(range(len(loudness)), key=lambda place: (loudness[place], abs(place - middle), place))
    return best * hop + _SMOOTHED_HOPS * hop // 2
