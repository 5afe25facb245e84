"""Speak texts into a stream: audio is written while it is generated, into a .wav file or a pipe."""

from __future__ import annotations

import sys
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slmtk.data.sentences import split_text
from slmtk.device import resolve_device
from slmtk.errors import ConfigError, FormatError
from slmtk.models.decoding.backbone import why_slow
from slmtk.models.speaker import Synthesizer, Voice
from slmtk.models.streaming import AudioStream
from slmtk.progress import Progress
from slmtk.stages.lines import Line, read_lines
from slmtk.stages.synth.config import SynthConfig
from slmtk.stages.synth.planned import piece_seconds, voice_of
from slmtk.stages.synth.work import slow_line

CLOSED_STATUS = 141
"""Exit status of a command whose reader went away, as shells show it for one that SIGPIPE ended (128 + 13)."""
_LINE_PAUSE = 0.3  # seconds between two lines of a file

Samples = NDArray[np.float32]
Sink = Callable[[Samples], None]


@dataclass
class StreamReport:
    """What was streamed."""

    out: str
    """The file, or "-"."""
    utterances: int
    """Lines that were begun."""
    succeeded: int
    """Lines of which every sentence ended by itself."""
    failures: dict[str, int]
    """Lines that did not, by the reason of their first such sentence."""
    seconds_audio: float
    seconds_wall: float
    rtf: float
    """Wall time of the model and the codec over audio; above 1 the listener has to wait."""
    first_audio_seconds: float | None
    """From the beginning of the first text to its first audio, the model and the voice already loaded."""
    sample_rate: int
    closed: bool = field(default=False)
    """Whether the reader went away before the end."""


def synth_stream(
    source: str | Path,
    target: Path | BinaryIO,
    config: SynthConfig,
    progress: Progress,
    announce: Callable[[str], None] | None = None,
) -> StreamReport:
    """Speak ``source`` into ``target`` while it is generated, its lines one after the other.

    A .wav file is whole after every stretch: its header is mended each time, so what an interruption leaves can be
    played. A reader that goes away (a closed pipe) ends the stream quietly.

    Args:
        source: a text, or the path of a file of texts.
        target: the .wav file, or an open pipe for raw samples, 16 bits signed little-endian, one channel.
        config: of `slmtk.stages.synth`; what concerns batches and folders is not used.
        progress: shows the lines.
        announce: is told in one line when the first audio is out.

    Raises:
        FormatError: ``target`` is a file of another kind, or the file of texts cannot be read.
        ConfigError: a voice is missing, or an option cannot be had in a stream.
    """
    lines = read_lines(source)
    _check(target, config)
    device = resolve_device(config.device)
    synthesizer = Synthesizer.load(config.model, device=device, codec_checkpoint=config.codec_checkpoint)
    reason = why_slow(synthesizer.model)
    if reason:
        progress.message(slow_line(reason))
    voices = _voices(lines, config, synthesizer)
    speaker = _Speaker(synthesizer, config, announce or (lambda _: None))
    closed = False
    with _open(target, synthesizer.spec.sample_rate) as sink, progress.task("synth", len(lines)) as bar:
        try:
            for number, (line, voice) in enumerate(zip(lines, voices, strict=True)):
                if number:
                    speaker.pause(_LINE_PAUSE, sink)
                speaker.line(line.text, voice, sink)
                bar.advance(1)
        except BrokenPipeError:
            closed = True
    name = str(target) if isinstance(target, Path) else "-"
    return speaker.report(name, closed)


def open_stdout() -> BinaryIO:
    """Standard output for samples, without a buffer: what a closed pipe refuses is not tried again at exit.

    Raises:
        ConfigError: it is a terminal, which cannot play samples.
    """
    if sys.stdout.isatty():
        raise ConfigError("--stream - writes samples; pipe them into a player, e.g. | aplay -f S16_LE -r 16000")
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)


class _Speaker:
    """Speaks line after line and keeps count."""

    def __init__(self, synthesizer: Synthesizer, config: SynthConfig, announce: Callable[[str], None]) -> None:
        self._synthesizer, self._config, self._announce = synthesizer, config, announce
        self._rate = synthesizer.spec.sample_rate
        self._piece_seconds = piece_seconds(config)
        self._begun = self._samples = 0
        self._seconds = 0.0
        self._first: float | None = None
        self._reasons: list[str] = []

    def line(self, text: str, voice: Voice, sink: Sink) -> None:
        """Speak one line, sentence by sentence if it is long."""
        self._begun += 1
        reasons = []
        for piece in split_text(text, self._piece_seconds):
            reasons.append(self._sentence(piece.text, voice, sink))
            if piece.pause:
                self.pause(piece.pause, sink)
        self._reasons.append(next((reason for reason in reasons if reason), ""))

    def pause(self, seconds: float, sink: Sink) -> None:
        """Write silence."""
        self._give(np.zeros(round(seconds * self._rate), dtype=np.float32), sink)

    def _sentence(self, text: str, voice: Voice, sink: Sink) -> str:
        with AudioStream(self._synthesizer, text, voice, self._config.sampling) as stream:
            before = time.perf_counter()
            for wav in stream:
                self._seconds += time.perf_counter() - before
                self._give(wav, sink)
                if self._first is None:
                    self._first = stream.first_audio_seconds
                    self._announce(
                        f"first audio after {self._first:.3f} s ({self._rate} Hz, 16 bits signed little-endian, mono)"
                    )
                before = time.perf_counter()
            self._seconds += time.perf_counter() - before
            return stream.result.reason if stream.result else ""

    def _give(self, wav: Samples, sink: Sink) -> None:
        sink(wav)
        self._samples += len(wav)

    def report(self, name: str, closed: bool) -> StreamReport:
        """Sum up."""
        audio = self._samples / self._rate
        return StreamReport(
            out=name,
            utterances=self._begun,
            succeeded=sum(not reason for reason in self._reasons),
            failures=dict(sorted(Counter(reason for reason in self._reasons if reason).items())),
            seconds_audio=round(audio, 3),
            seconds_wall=round(self._seconds, 3),
            rtf=round(self._seconds / audio, 4) if audio else 0.0,
            first_audio_seconds=None if self._first is None else round(self._first, 4),
            sample_rate=self._rate,
            closed=closed,
        )


@contextmanager
def _open(target: Path | BinaryIO, sample_rate: int) -> Iterator[Sink]:
    if not isinstance(target, Path):
        yield lambda wav: _write_all(target, _pcm(wav))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file, wave.open(file, "wb") as wav_file:
        wav_file.setnchannels(1)
        wav_file.setsampwidth(2)
        wav_file.setframerate(sample_rate)

        def write(wav: Samples) -> None:
            wav_file.writeframes(_pcm(wav))  # mends the header too
            file.flush()

        yield write


def _pcm(wav: Samples) -> bytes:
    return (np.clip(wav, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


def _write_all(pipe: BinaryIO, data: bytes) -> None:
    # A pipe without a buffer takes what it has room for.
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) or 0 :]
    pipe.flush()


def _check(target: Path | BinaryIO, config: SynthConfig) -> None:
    if isinstance(target, Path) and target.suffix.lower() != ".wav":
        raise FormatError(f"cannot stream to {target}; name a .wav file, or - for raw samples on standard output")
    if config.n_best > 1:
        raise ConfigError("a stream cannot choose the best of several candidates; leave out --n-best or --stream")


def _voices(lines: Sequence[Line], config: SynthConfig, synthesizer: Synthesizer) -> list[Voice]:
    """Every line's voice."""
    cache: dict[Path, Voice] = {}
    voices = []
    for number, line in enumerate(lines):
        place = voice_of(line, number, config, synthesizer.own_voices)
        if place is None and synthesizer.needs_voice:
            raise ConfigError(
                f"this model of codec {synthesizer.spec.name!r} needs a voice for line {number + 1}; give --speaker "
                "REF.wav, or a 'reference' column in the file of texts"
            )
        if place is not None and place not in cache:
            cache[place] = synthesizer.voice(place)
        voices.append(Voice("none", None, None) if place is None else cache[place])
    return voices
