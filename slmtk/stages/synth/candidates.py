"""The tries at one line of text -> what is kept of the best: audio with pauses, codes, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slmtk.data.prompts import normalize_text
from slmtk.data.sentences import Piece
from slmtk.models.speaker import Speech
from slmtk.models.voices import Voice
from slmtk.shards import CodesRow
from slmtk.spec import CodecSpec
from slmtk.stages.synth.lines import SpokenLine
from slmtk.stages.synth.planned import Job


@dataclass(frozen=True)
class Candidate:
    """One try at a line.

    Attributes:
        seed: of its random choices.
        speeches: of its pieces, in order.
        transcript: what the recogniser heard; None if none was asked.
        wer: of that.
    """

    seed: int
    speeches: list[Speech]
    transcript: str | None = None
    wer: float = 0.0

    @property
    def reason(self) -> str:
        """Why it is not whole: the first failing piece's reason; "" if it is."""
        return next((speech.reason for speech in self.speeches if speech.reason), "")


@dataclass(frozen=True)
class Parts:
    """A line as it was spoken.

    Attributes:
        job: the line.
        voice: it was spoken in.
        pieces: its text, as it was split.
        spec: of the codec.
    """

    job: Job
    voice: Voice
    pieces: Sequence[Piece]
    spec: CodecSpec


def join(speeches: Sequence[Speech], pieces: Sequence[Piece], sample_rate: int) -> torch.Tensor:
    """Put the audio of a line's pieces together, silence between them: float32 [S]. A silent piece has no pause."""
    parts: list[torch.Tensor] = []
    pause = 0.0
    for speech, piece in zip(speeches, pieces, strict=True):
        if len(speech.wav):
            parts += [torch.zeros(round(pause * sample_rate)), speech.wav]
            pause = piece.pause
    return torch.cat(parts) if parts else torch.zeros(0)


def spoken_line(line: Parts, best: Candidate, candidates: Sequence[Candidate]) -> SpokenLine:
    """Tell everything of a line whose ``best`` of ``candidates`` is kept."""
    rate = line.spec.sample_rate
    wav = join(best.speeches, line.pieces, rate)
    name = f"wav/{line.job.line.id}.wav" if len(wav) else None
    record: dict[str, Any] = {
        "id": line.job.line.id,
        "text": normalize_text(line.job.line.text),
        "speaker": line.voice.id,
        "reference": str(line.voice.path.resolve()) if line.voice.path else None,
        "wav": name,
        "reason": best.reason,
        "seconds_audio": round(len(wav) / rate, 4),
        "steps": sum(speech.steps for speech in best.speeches),
    }
    if len(line.pieces) > 1:
        record["sentences"] = _sentences(best.speeches, line.pieces, rate)
    if len(candidates) > 1:
        record |= {"seed": best.seed, "transcript": best.transcript, "wer": round(best.wer, 4)}
        record["candidates"] = [
            {"seed": one.seed, "wer": round(one.wer, 4), "reason": one.reason, "transcript": one.transcript}
            for one in candidates
        ]
    record["key"] = line.job.key
    return SpokenLine(
        key=line.job.key,
        record=record,
        timing=_timing(line.job.line.id, best, candidates, len(wav) / rate),
        rows=_rows(line, best.speeches, name),
        spec=line.spec,
        wav=wav.numpy().astype(np.float32),
    )


def _sentences(speeches: Sequence[Speech], pieces: Sequence[Piece], rate: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    at, pause = 0.0, 0.0
    for speech, piece in zip(speeches, pieces, strict=True):
        seconds = len(speech.wav) / rate
        at += pause if seconds and at else 0.0
        found.append(
            {
                "text": piece.text,
                "reason": speech.reason,
                "start": round(at, 4),
                "seconds_audio": round(seconds, 4),
                "steps": speech.steps,
            }
        )
        at += seconds
        pause = piece.pause if seconds else pause
    return found


def _rows(line: Parts, speeches: Sequence[Speech], wav: str | None) -> tuple[CodesRow, ...]:
    vector = None if line.voice.speaker is None else line.voice.speaker.float().cpu().numpy().astype(np.float32)
    # A line's own id cannot hold "@".
    suffixes = [f"@{number}" for number in range(1, len(speeches) + 1)] if len(speeches) > 1 else [""]
    return tuple(
        CodesRow(
            id=line.job.line.id + suffix,
            codes=speech.codes,
            duration=len(speech.wav) / speech.sample_rate,
            text=speech.text,
            speaker=line.voice.id,
            source=wav or "",
            speaker_vector=vector,
            extra={"reason": speech.reason, "steps": float(speech.steps)},
        )
        for suffix, speech in zip(suffixes, speeches, strict=True)
    )


def _timing(line_id: str, best: Candidate, candidates: Sequence[Candidate], seconds_audio: float) -> dict[str, Any]:
    seconds = sum(speech.seconds for speech in best.speeches)
    steps = sum(speech.steps for speech in best.speeches)
    first = best.speeches[0].first_codes_seconds
    return {
        "id": line_id,
        "seconds_wall": round(seconds, 4),
        "seconds_to_first_codes": None if first is None else round(first, 4),
        "rtf": round(seconds / seconds_audio, 4) if seconds_audio else None,
        "steps_per_second": round(steps / seconds, 1) if seconds else None,
        "steps_of_all_candidates": sum(speech.steps for one in candidates for speech in one.speeches),
    }
