"""Which utterance goes to which part of a codes folder, and which are handed to a worker together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from slmtk import audio
from slmtk.config import fingerprint
from slmtk.corpus import Corpus, known_seconds, open_audio, relative_source
from slmtk.corpus.segments import split_long
from slmtk.errors import AudioError
from slmtk.progress import Progress
from slmtk.spec import CodecSpec, Utterance

_CHUNK_SECONDS = 30.0
_CHUNK_ROWS = 64
_HEADERS_AT_ONCE = 4096  # a million waiting calls would take more memory than a million utterances
# Neighbours in length are looked for in so many batches' worth of audio, which lies in memory meanwhile.
_WINDOW_BATCHES = 4


@dataclass(frozen=True)
class Part:
    """The utterances of one Parquet part.

    Attributes:
        number: from 0.
        utterances: sorted by id.
        seconds: duration of each as its header says, 0 if it has none that can be read.
    """

    number: int
    utterances: tuple[Utterance, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Chunk:
    """What a worker is handed at once.

    Attributes:
        part: the number of the part that all are of.
        places: of each in the part.
        utterances: in the order of ``places``.
        seconds: of all together, as their headers say.
    """

    part: int
    places: tuple[int, ...]
    utterances: tuple[Utterance, ...]
    seconds: float


@dataclass(frozen=True)
class Plan:
    """All parts of a run, and what makes it this run.

    Attributes:
        parts: in order.
        run: codec, options and inputs: everything that the bytes of the result depend on.
        fingerprint: of ``run``.
    """

    parts: tuple[Part, ...]
    run: Mapping[str, Any]
    fingerprint: str


def make_plan(
    corpus: Corpus, spec: CodecSpec, shard_hours: float, max_seconds: float | None, progress: Progress
) -> Plan:
    """Read every header and deal the utterances out, by ids and durations alone.

    A part ends when it holds ``shard_hours``; so it depends on neither workers nor interruptions nor other shards.
    """
    utterances: Sequence[Utterance] = corpus.utterances
    seconds = _read_durations(corpus, progress)
    run = {"codec": spec.to_dict(), "shard_hours": shard_hours, "inputs": _describe_inputs(corpus, seconds)}
    if max_seconds is not None:
        run["max_seconds"] = max_seconds
        utterances, seconds = split_long(utterances, seconds, max_seconds)
    parts: list[Part] = []
    start, held = 0, 0.0
    for place, duration in enumerate(seconds):
        held += duration
        if held >= shard_hours * 3600 or place == len(seconds) - 1:
            span = slice(start, place + 1)
            parts.append(Part(len(parts), tuple(utterances[span]), tuple(seconds[span])))
            start, held = place + 1, 0.0
    return Plan(tuple(parts), run, fingerprint(run))


def chunks(parts: Sequence[Part], batch_seconds: float) -> Iterator[Chunk]:
    """Cut parts, in order, into pieces: half a minute of audio, or enough to fill some batches.

    For batches the longest utterances of a part come first, so that those of equal length meet, and memory that does
    not suffice is noticed soon.
    """
    most = window_seconds(batch_seconds)
    # A window of batches is one of seconds, not of rows, unless they are very short.
    most_rows = max(_CHUNK_ROWS, round(most)) if batch_seconds else _CHUNK_ROWS
    for part in parts:
        places = list(range(len(part.utterances)))
        if batch_seconds:
            places.sort(key=lambda place: (-part.seconds[place], place))
        held: list[int] = []
        seconds = 0.0
        for place in places:
            held.append(place)
            seconds += part.seconds[place]
            if seconds >= most or len(held) >= most_rows or place == places[-1]:
                yield Chunk(part.number, tuple(held), tuple(part.utterances[p] for p in held), seconds)
                held, seconds = [], 0.0


def window_seconds(batch_seconds: float) -> float:
    """How much audio a chunk usually holds."""
    return max(_CHUNK_SECONDS, _WINDOW_BATCHES * batch_seconds)


def _read_durations(corpus: Corpus, progress: Progress) -> list[float]:
    def duration(utterance: Utterance) -> float:
        stated = known_seconds(utterance)
        if stated is not None:
            return stated
        try:
            return audio.info(open_audio(utterance)).seconds
        except AudioError:
            return 0.0  # reported when it is its turn to be encoded

    seconds = []
    count = len(corpus.utterances)
    with progress.task("reading headers", count, "files") as task, ThreadPoolExecutor(4) as threads:
        for first in range(0, count, _HEADERS_AT_ONCE):
            for found in threads.map(duration, corpus.utterances[first : first + _HEADERS_AT_ONCE]):
                seconds.append(found)
                task.advance(1)
    return seconds


def _describe_inputs(corpus: Corpus, seconds: Sequence[float]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for utterance, duration in zip(corpus.utterances, seconds, strict=True):
        known = (utterance.text, utterance.speaker, utterance.language, sorted(utterance.extra.items()))
        line = [utterance.id, relative_source(utterance, corpus.root), round(duration, 4), *known]
        digest.update(json.dumps(line).encode() + b"\n")
    return {"utterances": len(seconds), "seconds": round(sum(seconds), 3), "digest": digest.hexdigest()[:16]}
