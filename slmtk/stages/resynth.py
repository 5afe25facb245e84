"""Codes -> audio with the codec alone, no model: what the codes sound like, as files that eval-wer reads."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmtk import audio
from slmtk.codecs.base import Codec, codec_class, load_codec_of
from slmtk.config import write_text
from slmtk.device import resolve_device
from slmtk.engines.local import WorkerPool, count_cores
from slmtk.errors import CodecMismatchError, ConfigError
from slmtk.progress import Progress
from slmtk.shards import CodesFolder, CodesRow

SYNTH_NAME = "synth.jsonl"
_BATCH_ROWS = 4


@dataclass(frozen=True)
class ResynthReport:
    """What was written as audio.

    Attributes:
        out: the folder: ``wav/<id>.wav`` and a line each in ``synth.jsonl``.
        written: sound files.
        empty: utterances without a frame, which have no file.
        hours: of audio written.
        times_real_time: audio over time.
    """

    out: Path
    written: int
    empty: int
    hours: float
    times_real_time: float


@dataclass(frozen=True)
class Line:
    """One line of synth.jsonl; the fields are those that `slmtk synth` writes."""

    id: str
    text: str | None
    speaker: str | None
    reference: str | None
    wav: str | None
    reason: str
    seconds_audio: float
    seconds_wall: float
    steps: int


def resynthesise(
    folder: CodesFolder,
    out: Path,
    progress: Progress,
    *,
    count: int = 20,
    seed: int = 0,
    speaker: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    checkpoint: Path | None = None,
) -> ResynthReport:
    """Decode utterances of ``folder`` into ``out``.

    Args:
        folder: the codes.
        out: folder to write.
        progress: told of utterances done.
        count: how many, drawn by ``seed``; 0 takes all.
        seed: of the draw.
        speaker: id of the utterance whose speaker vector decodes all; None: each its own.
        device: where the codec runs.
        workers: processes on the CPU; None takes one for each core.
        checkpoint: weights to use instead of the published ones.

    Raises:
        ConfigError: ``speaker`` is given and the codec has no speaker vectors.
        FormatError: no utterance is called ``speaker``.
        CodecMismatchError: the codec that is installed is not the one that made the codes.
    """
    if speaker is not None and not folder.spec.speaker_dim:
        raise ConfigError(f"codec {folder.spec.name!r} keeps the speaker in its codes: --voice-of cannot change it")
    voice = None if speaker is None else folder.row(speaker)
    device = resolve_device(device)
    if device != "cpu" and codec_class(folder.spec.source or folder.spec.name).cpu_only:
        device = "cpu"
    make = functools.partial(_make_decoder, checkpoint, device, folder, out, voice)
    rows = _choose_rows(folder, count, seed)
    total = folder.num_rows if not count else min(count, folder.num_rows)
    started = time.monotonic()
    lines: list[Line] = []
    with progress.task("resynth", total, "utterances") as task:
        for made in _run(make, rows, device, min(workers or count_cores(), -(-total // _BATCH_ROWS))):
            lines += made
            task.advance(len(made))
    lines.sort(key=lambda line: line.id)
    text = "".join(json.dumps(dataclasses.asdict(line), ensure_ascii=False) + "\n" for line in lines)
    write_text(out / SYNTH_NAME, text)
    seconds = sum(line.seconds_audio for line in lines)
    written = sum(line.wav is not None for line in lines)
    speed = seconds / (time.monotonic() - started)
    return ResynthReport(out, written, len(lines) - written, round(seconds / 3600, 4), round(speed, 1))


def file_name(utterance_id: str) -> str:
    """Name of a file for ``utterance_id``: itself, or, where it holds what paths cannot, a safe name with a digest."""
    safe = re.sub(r"[^\w.+@=-]", "_", utterance_id).lstrip(".")
    if safe == utterance_id and len(safe) < 200:
        return safe
    return f"{safe[:150]}-{hashlib.sha256(utterance_id.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class _Decoder:
    codec: Codec
    device: str
    root: Path | None
    out: Path
    voice: CodesRow | None

    def __call__(self, rows: list[CodesRow]) -> list[Line]:
        return [self._decode(row) for row in rows]

    def _decode(self, row: CodesRow) -> Line:
        import torch

        started, spec, voice = time.monotonic(), self.codec.spec, self.voice or row
        line = Line(row.id, row.text, voice.speaker or voice.id, self._reference(voice), None, "empty", 0.0, 0.0, 0)
        if not row.codes.shape[1]:
            return line
        codes = torch.from_numpy(row.codes.astype(np.int64))[None].to(self.device)
        vector = None
        if voice.speaker_vector is not None:
            vector = torch.from_numpy(np.array(voice.speaker_vector))[None].to(self.device)
        with torch.inference_mode():
            wav = self.codec.decode(codes, vector)[0, : round(row.duration * spec.sample_rate)]
        name = f"wav/{file_name(row.id)}.wav"
        audio.write(self.out / name, wav, spec.sample_rate)
        seconds, wall = len(wav) / spec.sample_rate, time.monotonic() - started
        return dataclasses.replace(
            line, wav=name, reason="", seconds_audio=seconds, seconds_wall=round(wall, 4), steps=row.codes.shape[1]
        )

    def _reference(self, voice: CodesRow) -> str | None:
        path = None if self.root is None else self.root / voice.source
        return str(path.resolve()) if path is not None and path.is_file() else None


def _make_decoder(
    checkpoint: Path | None, device: str, folder: CodesFolder, out: Path, voice: CodesRow | None
) -> _Decoder:
    codec = load_codec_of(folder.spec, device=device, checkpoint=checkpoint)
    if codec.spec != folder.spec:
        differences = "; ".join(folder.spec.differences(codec.spec))
        raise CodecMismatchError(f"{folder.folder} was made by another codec (there, here): {differences}")
    root = folder.index.get("config", {}).get("root")
    return _Decoder(codec, device, Path(root) if root else None, out, voice)


def _choose_rows(folder: CodesFolder, count: int, seed: int) -> Iterator[list[CodesRow]]:
    chosen = None
    if count:
        chosen = set(random.Random(seed).sample(range(folder.num_rows), min(count, folder.num_rows)))
    batch: list[CodesRow] = []
    for place, row in enumerate(folder.rows()):
        if chosen is None or place in chosen:
            batch.append(row)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _run(make: Any, rows: Iterator[list[CodesRow]], device: str, workers: int) -> Iterator[list[Line]]:
    if device != "cpu":
        decoder = make()
        yield from map(decoder, rows)
        return
    with WorkerPool[list[CodesRow], list[Line]](make, workers) as pool:
        yield from (made for _, made in pool.map(rows))
