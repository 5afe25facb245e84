"""Speak text with a trained model: a text, or a file of texts -> codes shards, wav files and a line for each."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmtk import audio
from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.device import resolve_device
from slmtk.errors import ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Speech, Synthesizer, Voice
from slmtk.progress import Progress
from slmtk.shards import CodesRow, part_name, write_index, write_shard
from slmtk.stages import dry_run
from slmtk.stages.lines import SUFFIXES, Line, read_lines

LINES_NAME = "synth.jsonl"
REPORT_NAME = "report.json"


@dataclass(frozen=True)
class SynthConfig:
    """Settings of a synthesis run."""

    model: Path
    """Folder that ``slmtk train`` wrote."""
    speakers: tuple[Path, ...] = ()
    """Reference recordings; line n is spoken in the voice of reference n, and round again."""
    sampling: Sampling = field(default_factory=Sampling)
    """How codes are chosen."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the model's codec."""


@dataclass
class SynthReport:
    """What a synthesis run came to."""

    out: str
    utterances: int
    succeeded: int
    success_rate: float
    failures: dict[str, int]
    seconds_audio: float
    seconds_wall: float
    rtf: float
    """Wall time over audio, the model and the codec together."""
    speed: float
    """Seconds of audio a second."""
    steps_per_second: float
    first_codes_seconds: float | None
    """Median over utterances: from the start to the first step of codes."""
    first_audio_seconds: float | None
    """Median over utterances: audio is decoded when the codes are whole, so this is the utterance's whole time."""
    wavs: list[str] = field(default_factory=list)


def synth(source: str | Path, out: Path, config: SynthConfig, progress: Progress) -> SynthReport:
    """Speak ``source``: a text, or the path of a file of texts (.txt, .jsonl, .tsv).

    Raises:
        FormatError: ``out`` holds something that is not a synthesis run, or the file of texts cannot be read.
        ConfigError: a voice is missing.
    """
    lines = read_lines(source)
    _prepare(out)
    synthesizer = Synthesizer.load(
        config.model, device=resolve_device(config.device), codec_checkpoint=config.codec_checkpoint
    )
    voices = _voices(lines, config, synthesizer)
    started = time.perf_counter()
    speeches = synthesizer.speak([line.text for line in lines], voices, config.sampling, progress)
    wall = time.perf_counter() - started
    wavs = _write(out, lines, voices, speeches, synthesizer)
    rows = [_row(line, voice, speech) for line, voice, speech in zip(lines, voices, speeches, strict=True)]
    settings = to_jsonable(config)
    info = write_shard(out / part_name(0), synthesizer.spec, rows)
    write_index(out, synthesizer.spec, settings, fingerprint([settings, [line.text for line in lines]]), [info], 0)
    report = _report(out, speeches, wall, wavs)
    write_json(out / REPORT_NAME, report)
    return report


def plan(source: str | Path, out: Path, config: SynthConfig) -> dry_run.Plan:
    """What `synth` would do; the model's weights stay unread.

    Raises:
        FormatError: the file of texts or the model is there and cannot be used.
        ConfigError: the model was not trained to read aloud.
    """
    if Path(source).suffix in SUFFIXES:
        texts = dry_run.source("texts", source, lambda path: f"{len(read_lines(path))} texts")
    else:
        texts = f"text: {read_lines(source)[0].text}"
    voices = [dry_run.source("voice", speaker) for speaker in config.speakers]
    chosen = "greedily" if config.sampling.temperature == 0 else f"at temperature {config.sampling.temperature:g}"
    does = f"speak each text {chosen}, {config.sampling.max_seconds:g} s at most, on {config.device}"
    return dry_run.Plan((texts, dry_run.model(config.model, "tts"), *voices), (does,), str(out))


def _prepare(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / LINES_NAME).is_file():
            raise FormatError(f"{out} is not empty and holds no {LINES_NAME}; name a new folder for the speech")
        # The index of an earlier run must not describe files that are being replaced.
        (out / "slmtk.json").unlink(missing_ok=True)
        for wav in (out / "wav").glob("*.wav"):
            wav.unlink()
    (out / "wav").mkdir(parents=True, exist_ok=True)


def _voices(lines: list[Line], config: SynthConfig, synthesizer: Synthesizer) -> list[Voice]:
    needs_voice = synthesizer.needs_voice
    cache: dict[Path, Voice] = {}
    voices = []
    for number, line in enumerate(lines):
        path = line.reference or (config.speakers[number % len(config.speakers)] if config.speakers else None)
        if path is None:
            if needs_voice:
                raise ConfigError(
                    f"this model of codec {synthesizer.spec.name!r} needs a voice for {line.id!r}; give --speaker "
                    "REF.wav, or a 'reference' column in the file of texts"
                )
            voices.append(Voice("none", None, None))
            continue
        if path not in cache:
            cache[path] = synthesizer.voice(path)
        voices.append(cache[path])
    return voices


def _row(line: Line, voice: Voice, speech: Speech) -> CodesRow:
    return CodesRow(
        id=line.id,
        codes=speech.codes,
        duration=len(speech.wav) / speech.sample_rate,
        text=speech.text,
        speaker=voice.id,
        source=f"wav/{line.id}.wav" if len(speech.wav) else "",
        speaker_vector=None if voice.speaker is None else voice.speaker.float().cpu().numpy().astype(np.float32),
        extra={"reason": speech.reason, "seconds_wall": speech.seconds, "steps": float(speech.steps)},
    )


def _write(
    out: Path, lines: list[Line], voices: list[Voice], speeches: list[Speech], synthesizer: Synthesizer
) -> list[str]:
    records: list[dict[str, Any]] = []
    wavs = []
    for line, voice, speech in zip(lines, voices, speeches, strict=True):
        name = f"wav/{line.id}.wav" if len(speech.wav) else None
        if name:
            audio.write(out / name, torch.as_tensor(speech.wav), speech.sample_rate)
            wavs.append(str(out / name))
        records.append(
            {
                "id": line.id,
                "text": speech.text,
                "speaker": voice.id,
                "reference": str(voice.path.resolve()) if voice.path else None,
                "wav": name,
                "reason": speech.reason,
                "seconds_audio": round(len(speech.wav) / speech.sample_rate, 4),
                "seconds_wall": round(speech.seconds, 4),
                "seconds_to_first_codes": speech.first_codes_seconds and round(speech.first_codes_seconds, 4),
                "steps": speech.steps,
            }
        )
    write_text(out / LINES_NAME, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return wavs


def _report(out: Path, speeches: list[Speech], wall: float, wavs: list[str]) -> SynthReport:
    seconds = sum(len(speech.wav) / speech.sample_rate for speech in speeches)
    succeeded = sum(not speech.reason for speech in speeches)
    firsts = [speech.first_codes_seconds for speech in speeches if speech.first_codes_seconds is not None]
    wholes = [speech.seconds for speech in speeches if len(speech.wav)]
    return SynthReport(
        out=str(out),
        utterances=len(speeches),
        succeeded=succeeded,
        success_rate=succeeded / len(speeches),
        failures=dict(sorted(Counter(speech.reason for speech in speeches if speech.reason).items())),
        seconds_audio=round(seconds, 3),
        seconds_wall=round(wall, 3),
        rtf=round(wall / seconds, 4) if seconds else 0.0,
        speed=round(seconds / wall, 2) if wall else 0.0,
        steps_per_second=round(sum(speech.steps for speech in speeches) / wall, 1),
        first_codes_seconds=round(float(np.median(firsts)), 4) if firsts else None,
        first_audio_seconds=round(float(np.median(wholes)), 4) if wholes else None,
        wavs=wavs,
    )
