"""Recordings -> the same speech in another voice: codes of the recording, decoded with a reference's speaker vector."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk import audio
from slmtk.codecs.base import Codec, codec_class, load_codec
from slmtk.config import write_json, write_text
from slmtk.corpus import CorpusConfig, find_utterances, load_audio
from slmtk.device import resolve_device
from slmtk.engines.local import WorkerPool, count_cores
from slmtk.errors import AudioError, ConfigError, FormatError, SlmtkError
from slmtk.metrics.similarity import cosine
from slmtk.progress import Progress
from slmtk.speakers.base import SpeakerEncoder, load_speaker_encoder
from slmtk.spec import Utterance
from slmtk.stages.codecs import CodecRow, list_codecs
from slmtk.stages.resynth import SYNTH_NAME, Line, file_name
from slmtk.stages.tokenize.batch import CODEC_ERRORS, cause

if TYPE_CHECKING:
    from torch import Tensor

REPORT_NAME = "report.json"
_ENCODER = "resemblyzer"
_BATCH_ROWS = 4
_Vector = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class ConvertConfig:
    """How to convert."""

    speaker: Path
    """Recording of the voice to speak in."""
    codec: str = "world"
    """A plug-in's name or module:Class; it has to have speaker vectors."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    workers: int | None = None
    """Processes on the CPU; None takes one for each core. On a GPU the codec runs in this process."""
    codec_checkpoint: Path | None = None
    """Weights to use instead of the published ones."""
    similarity: bool = False
    """Measure how like the reference each recording is, before and after."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """How to read the source."""


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion came to.

    Attributes:
        out: the folder: ``wav/<id>.wav``, a line each in ``synth.jsonl`` (which `eval-wer` reads), ``report.json``.
        codec: its name.
        reference: recording of the voice.
        utterances: found.
        converted: sound files written.
        failed: utterances without one; their lines say why.
        failures: how many of each kind.
        seconds_audio: written.
        seconds_wall: all of it took.
        similarity: the encoder that compared voices, None if none was asked for.
        similarity_before: mean cosine of the recordings and the reference.
        similarity_after: mean cosine of the converted speech and the reference.
        compared: how many utterances both means are over.
    """

    out: Path
    codec: str
    reference: Path
    utterances: int
    converted: int
    failed: int
    failures: dict[str, int]
    seconds_audio: float
    seconds_wall: float
    similarity: str | None
    similarity_before: float | None
    similarity_after: float | None
    compared: int


@dataclass(frozen=True)
class Converted(Line):
    """One line of synth.jsonl, with what is known of the voice.

    Attributes:
        message: why there is no sound, "" if there is.
        similarity_before: cosine of recording and reference; None if it was not asked for or one is too short.
        similarity_after: cosine of converted speech and reference.
    """

    message: str = ""
    similarity_before: float | None = None
    similarity_after: float | None = None


def convert(source: Path | str, out: Path, config: ConvertConfig, progress: Progress) -> ConvertReport:
    """Speak the recordings of ``source`` again in the voice of ``config.speaker``.

    Args:
        source: a sound file, or what `slmtk.corpus.find_utterances` takes.
        out: folder to write.
        config: voice and codec.
        progress: told of utterances done.

    Raises:
        ConfigError: the codec has no speaker vectors; the message names those that have.
        CorpusError: no recordings are there.
        AudioError: the reference cannot be read.
        FormatError: ``out`` holds something else.
        SlmtkError: the codec cannot be loaded, or every recording failed.
    """
    started = time.monotonic()
    _refuse_voiceless(config.codec)
    utterances = find_utterances(source, config.corpus).utterances
    device = resolve_device(config.device)
    codec = load_codec(config.codec, device=device, checkpoint=config.codec_checkpoint)
    if not codec.spec.speaker_dim:
        raise _no_voices(config.codec)
    device = "cpu" if codec.cpu_only else device
    voice = _voice(codec, config.speaker, device)
    _prepare(out)
    make = functools.partial(_Converter.make, config, device, out, voice)
    lines: list[Converted] = []
    with progress.task("convert", len(utterances), "files") as task:
        for made in _run(make, utterances, device, config.workers):
            lines += made
            task.advance(len(made))
    lines.sort(key=lambda line: line.id)
    text = "".join(json.dumps(dataclasses.asdict(line), ensure_ascii=False) + "\n" for line in lines)
    write_text(out / SYNTH_NAME, text)
    if all(line.wav is None for line in lines):
        raise SlmtkError(f"all {len(lines)} recordings failed, the first: {lines[0].message}; see {out / SYNTH_NAME}")
    report = _report(out, config, codec.spec.name, lines, time.monotonic() - started)
    write_json(out / REPORT_NAME, report)
    return report


def _refuse_voiceless(name: str) -> None:
    # Before weights are fetched that cannot be of use.
    card = codec_class(name).card
    if card is not None and not card.spec.speaker_dim:
        raise _no_voices(name)


def _no_voices(name: str) -> ConfigError:
    able = [other for other, row in list_codecs().items() if isinstance(row, CodecRow) and row.speaker_dim]
    return ConfigError(
        f"codec {name!r} keeps the speaker in its codes and cannot change the voice; these take it out: "
        f"{', '.join(able)} (--codec)"
    )


def _voice(codec: Codec, path: Path, device: str) -> _Vector:
    wav, _ = audio.read(path, codec.spec.sample_rate)
    speaker = _encode(codec, wav, device)[1]
    assert speaker is not None
    vector: _Vector = speaker[0].float().cpu().numpy()
    return vector


def _encode(codec: Codec, wav: Tensor, device: str) -> tuple[Tensor, Tensor | None]:
    import torch

    with torch.inference_mode():
        return codec.encode(audio.pad_to_frames(wav, codec.spec.frame_size)[None].to(device))


def _prepare(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / SYNTH_NAME).is_file():
            raise FormatError(f"{out} is not empty and holds no {SYNTH_NAME}; name a new folder for the speech")
        # Sounds of an earlier run must not lie among those of this one.
        for path in [*(out / "wav").glob("*.wav"), out / SYNTH_NAME, out / REPORT_NAME]:
            path.unlink(missing_ok=True)


def _run(make: Any, utterances: Sequence[Utterance], device: str, workers: int | None) -> Iterator[list[Converted]]:
    batches = [list(utterances[start : start + _BATCH_ROWS]) for start in range(0, len(utterances), _BATCH_ROWS)]
    if device != "cpu":
        converter = make()
        yield from map(converter, batches)
        return
    with WorkerPool[list[Utterance], list[Converted]](make, min(workers or count_cores(), len(batches))) as pool:
        yield from (made for _, made in pool.map(batches))


@dataclass(frozen=True)
class _Converter:
    """What a worker process does."""

    codec: Codec
    device: str
    out: Path
    reference: Path
    voice: _Vector
    encoder: SpeakerEncoder | None
    reference_voice: Tensor | None

    @classmethod
    def make(cls, config: ConvertConfig, device: str, out: Path, voice: _Vector) -> _Converter:
        codec = load_codec(config.codec, device=device, checkpoint=config.codec_checkpoint)
        encoder = load_speaker_encoder(_ENCODER) if config.similarity else None
        reference = None
        if encoder is not None:
            reference = encoder.embed(audio.read(config.speaker, encoder.sample_rate)[0])
        return cls(codec, device, out, config.speaker, voice, encoder, reference)

    def __call__(self, utterances: Sequence[Utterance]) -> list[Converted]:
        return [self._convert_or_fail(utterance) for utterance in utterances]

    def _convert_or_fail(self, utterance: Utterance) -> Converted:
        started = time.monotonic()
        voice = self.reference.stem
        line = Converted(utterance.id, utterance.text, voice, str(self.reference.resolve()), None, "", 0.0, 0.0, 0)
        try:
            done = self._convert(utterance, line)
            return dataclasses.replace(done, seconds_wall=round(time.monotonic() - started, 4))
        except (OSError, *CODEC_ERRORS) as error:
            kind, message = cause(error)
        return dataclasses.replace(line, reason=kind, message=message)

    def _convert(self, utterance: Utterance, line: Converted) -> Converted:
        import torch

        rate = self.codec.spec.sample_rate
        wav = load_audio(utterance, rate)
        codes = _encode(self.codec, wav, self.device)[0]
        with torch.inference_mode():
            spoken = self.codec.decode(codes, torch.from_numpy(self.voice.copy())[None].to(self.device))
        new = spoken[0, : len(wav)].float().cpu()
        name = f"wav/{file_name(utterance.id)}.wav"
        audio.write(self.out / name, new, rate)
        return dataclasses.replace(
            line,
            wav=name,
            seconds_audio=round(len(new) / rate, 4),
            steps=codes.shape[2],
            similarity_before=self._likeness(wav, rate),
            similarity_after=self._likeness(new, rate),
        )

    def _likeness(self, wav: Tensor, rate: int) -> float | None:
        if self.encoder is None or self.reference_voice is None:
            return None
        try:
            vector = self.encoder.embed(audio.resample(wav, rate, self.encoder.sample_rate))
        except AudioError:
            return None  # too short or silent to be judged; the report says how many were compared
        return round(cosine(vector, self.reference_voice), 4)


def _report(
    out: Path, config: ConvertConfig, codec: str, lines: Sequence[Converted], seconds_wall: float
) -> ConvertReport:
    failures = Counter(line.reason for line in lines if line.reason)
    pairs = [
        (line.similarity_before, line.similarity_after)
        for line in lines
        if line.similarity_before is not None and line.similarity_after is not None
    ]
    before, after = (round(float(np.mean(side)), 4) for side in zip(*pairs, strict=True)) if pairs else (None, None)
    return ConvertReport(
        out=out,
        codec=codec,
        reference=config.speaker,
        utterances=len(lines),
        converted=len(lines) - failures.total(),
        failed=failures.total(),
        failures=dict(sorted(failures.items())),
        seconds_audio=round(sum(line.seconds_audio for line in lines), 3),
        seconds_wall=round(seconds_wall, 2),
        similarity=_ENCODER if config.similarity else None,
        similarity_before=before,
        similarity_after=after,
        compared=len(pairs),
    )
