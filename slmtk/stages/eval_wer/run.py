"""Utterances -> transcripts -> scores: the loop of `eval_wer`, audio read ahead while the recogniser works."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from slmtk.asr.base import Recognizer
from slmtk.engines.ahead import read_ahead
from slmtk.errors import AudioError
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.wer import text_units
from slmtk.progress import Progress
from slmtk.stages.eval_wer.groups import group_of
from slmtk.stages.eval_wer.sources import System
from slmtk.stages.scoring import Pair, UtteranceScore, score_utterance

if TYPE_CHECKING:
    from torch import Tensor

# Utterances that are recognised together, of similar length.
_CHUNK = 32
# Chunks held at a time: one that is recognised, and one that is read meanwhile.
_HELD = 2


class Measures(Protocol):
    """What else is heard in speech; `slmtk.stages.speech_measures.SpeechMeasures` is one."""

    def compare(self, pair: Pair, wav: Tensor, sample_rate: int) -> dict[str, float]:
        """Return the value of each measure of float32 ``wav`` [S] that can be told."""
        ...


@dataclass(frozen=True)
class Rules:
    """How texts are compared and utterances grouped."""

    normalizer: str
    unit: str
    group_by: tuple[str, ...]


@dataclass
class Heard:
    """What came of the recognition.

    Attributes:
        lines: [system][run][utterance].
        unreadable: files that could not be read.
        seconds_audio: recognised.
        seconds_recognition: wall time of the recogniser alone.
    """

    lines: list[list[list[UtteranceScore]]] = field(default_factory=list)
    unreadable: int = 0
    seconds_audio: float = 0.0
    seconds_recognition: float = 0.0


@dataclass(frozen=True)
class _Job:
    run: int
    pair: Pair


def score_all(
    systems: Sequence[System], recognizer: Recognizer, measures: Measures | None, rules: Rules, progress: Progress
) -> Heard:
    """Recognise and score all speech of ``systems``.

    Raises:
        FormatError: a file that is compared with cannot be read.
    """
    jobs = [_Job(number, pair) for system in systems for number, run in enumerate(system.runs) for pair in run]
    scores: list[UtteranceScore | None] = [None] * len(jobs)
    heard = Heard()
    scorer = _Scorer(recognizer, measures, rules, heard)
    with progress.task("recognise", len(jobs), "utterances") as task:
        chunks = read_ahead(
            _by_length(jobs), lambda places: scorer.read([jobs[i].pair for i in places]), len, _HELD * _CHUNK
        )
        for places, wavs in chunks:
            for place, score in zip(places, scorer.score([jobs[i] for i in places], wavs), strict=True):
                scores[place] = score
            task.advance(len(places))
    done = iter([score for score in scores if score is not None])
    heard.lines = [[[next(done) for _ in run] for run in system.runs] for system in systems]
    return heard


def _by_length(jobs: Sequence[_Job]) -> list[list[int]]:
    """Places of jobs whose texts are about as long, so that a batch has little padding; the longest first."""
    order = sorted(range(len(jobs)), key=lambda place: -len(jobs[place].pair.meant.text or ""))
    return [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]


class _Scorer:
    """Reads, recognises and scores chunk after chunk."""

    def __init__(self, recognizer: Recognizer, measures: Measures | None, rules: Rules, heard: Heard) -> None:
        self._recognizer = recognizer
        self._measures = measures
        self._rules = rules
        self._normalize = get_normalizer(rules.normalizer)
        self._heard = heard

    def read(self, pairs: Sequence[Pair]) -> list[Tensor | AudioError | str]:
        """Return for each the audio, or why there is none; called in threads."""
        return [self._read(pair) for pair in pairs]

    def _read(self, pair: Pair) -> Tensor | AudioError | str:
        if pair.reason or pair.speech is None or pair.speech.read is None:
            return pair.reason
        try:
            return pair.speech.read(self._recognizer.sample_rate)
        except AudioError as error:
            return error

    def score(self, jobs: Sequence[_Job], wavs: Sequence[Tensor | AudioError | str]) -> Iterator[UtteranceScore]:
        """Yield the scores in the order of ``jobs``."""
        rate = self._recognizer.sample_rate
        audible = [wav for wav in wavs if not isinstance(wav, (AudioError, str))]
        started = time.perf_counter()
        texts = iter(self._recognizer.transcribe(audible))
        self._heard.seconds_recognition += time.perf_counter() - started
        self._heard.seconds_audio += sum(len(wav) for wav in audible) / rate
        for job, wav in zip(jobs, wavs, strict=True):
            if isinstance(wav, AudioError):
                self._heard.unreadable += 1
                yield self._line(job, "", reason=f"audio_{wav.kind}")
            elif isinstance(wav, str):
                yield self._line(job, "", reason=wav)
            else:
                measures = self._measures.compare(job.pair, wav, rate) if self._measures else {}
                yield self._line(job, next(texts), seconds=len(wav) / rate, measures=measures)

    def _line(
        self,
        job: _Job,
        text: str,
        *,
        reason: str = "",
        seconds: float | None = None,
        measures: dict[str, float] | None = None,
    ) -> UtteranceScore:
        meant, unit = job.pair.meant, self._rules.unit
        groups = {}
        if self._rules.group_by:
            units = len(text_units(self._normalize(meant.text or ""), unit))
            groups = {by: group_of(by, meant, units) for by in self._rules.group_by}
        return score_utterance(
            job.pair,
            text,
            self._normalize,
            unit=unit,
            reason=reason,
            seconds=seconds,
            run=job.run,
            groups=groups,
            measures=measures,
        )
