"""What speaks for `synth`, in any process: lines in, their speech out, as each is finished."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slmtk import audio
from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.data.sentences import Piece, split_text
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.wer import align_texts
from slmtk.models.decoding.backbone import why_slow
from slmtk.models.speaker import Said, Speech, Synthesizer
from slmtk.models.voices import Voice
from slmtk.stages.synth.candidates import Candidate, Parts, join, spoken_line
from slmtk.stages.synth.config import SynthConfig
from slmtk.stages.synth.lines import SpokenLine
from slmtk.stages.synth.planned import Job, piece_seconds


@dataclass
class _Open:
    """A line of which not every piece is spoken yet."""

    job: Job
    voice: Voice
    pieces: list[Piece]
    speeches: dict[tuple[int, int], Speech] = field(default_factory=dict)


class LineSpeaker:
    """A model, and the recogniser that chooses among candidates, ready for lines; see `make_speaker`."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        recognizer: Recognizer | None,
        config: SynthConfig,
        piece_seconds: float = math.inf,
    ) -> None:
        """Take the parts; ``recognizer`` is None if there is one candidate a line, longer texts are split."""
        self._synthesizer, self._recognizer, self._config = synthesizer, recognizer, config
        self._normalize = get_normalizer(config.normalizer)
        self._piece_seconds = piece_seconds
        self._voices: dict[Path, Voice] = {}
        self._lock = threading.Lock()

    def __call__(self, jobs: Sequence[Job]) -> tuple[str, list[SpokenLine]]:
        """Speak ``jobs``; returns `why_slow` too. Of several threads that ask, one speaks at a time."""
        with self._lock:
            return self.why_slow(), list(self.each(jobs))

    def why_slow(self) -> str:
        """Why the model's steps are not the fast ones, in words; "" if they are."""
        return why_slow(self._synthesizer.model)

    def each(self, jobs: Sequence[Job]) -> Iterator[SpokenLine]:
        """Speak ``jobs`` and yield each line when all of it is spoken, whichever is first.

        Raises:
            AudioError: a voice's recording cannot be used.
            ConfigError: the model needs a voice that a line does not have.
        """
        opened = [self._open(job) for job in jobs]
        said, places = [], []
        for place, line in enumerate(opened):
            for candidate in range(self._config.n_best):
                for number, piece in enumerate(line.pieces):
                    said.append(Said(piece.text, line.voice, self._config.sampling.seed + candidate))
                    places.append((place, candidate, number))
        spoken = self._synthesizer.each("tts", said, self._config.sampling, batch_size=self._config.batch_size)
        for index, speech in spoken:
            place, candidate, number = places[index]
            line = opened[place]
            line.speeches[candidate, number] = speech
            if len(line.speeches) == self._config.n_best * len(line.pieces):
                yield self._close(line)
                line.speeches.clear()

    def _open(self, job: Job) -> _Open:
        if job.voice is None:
            voice = Voice("none", None, None)
        else:
            if job.voice not in self._voices:
                self._voices[job.voice] = self._synthesizer.voice(job.voice)
            voice = self._voices[job.voice]
        return _Open(job, voice, split_text(job.line.text, self._piece_seconds))

    def _close(self, line: _Open) -> SpokenLine:
        count, pieces = self._config.n_best, range(len(line.pieces))
        candidates = [
            Candidate(self._config.sampling.seed + n, [line.speeches[n, piece] for piece in pieces])
            for n in range(count)
        ]
        if self._recognizer is not None:
            candidates = [self._heard(candidate, line) for candidate in candidates]
        # Whole speech before any other; of equal ones the earlier, since min keeps the first.
        best = min(candidates, key=lambda candidate: (bool(candidate.reason), candidate.wer))
        parts = Parts(line.job, line.voice, line.pieces, self._synthesizer.spec)
        return spoken_line(parts, best, candidates)

    def _heard(self, candidate: Candidate, line: _Open) -> Candidate:
        assert self._recognizer is not None
        rate = self._synthesizer.spec.sample_rate
        transcript = ""
        if not candidate.reason:
            wav = join(candidate.speeches, line.pieces, rate)
            (transcript,) = self._recognizer.transcribe([audio.resample(wav, rate, self._recognizer.sample_rate)])
        words = align_texts(self._normalize(line.job.line.text), self._normalize(transcript))
        return Candidate(candidate.seed, candidate.speeches, transcript, words.rate)


def make_speaker(config: SynthConfig, device: str) -> LineSpeaker:
    """Load model, codec and recogniser; called once in each process.

    Raises:
        SlmtkError: one of them cannot be loaded.
    """
    synthesizer = Synthesizer.load(config.model, device=device, codec_checkpoint=config.codec_checkpoint)
    recognizer = None
    if config.n_best > 1:
        recognizer = load_recognizer(
            config.recognizer, model=config.recognizer_model, grammar=config.grammar, device=device
        )
    return LineSpeaker(synthesizer, recognizer, config, piece_seconds(config))
