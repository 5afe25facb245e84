"""Score speech: recognise it, compare with what was meant, and say how sure the numbers are."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.config import to_jsonable, write_json, write_text
from slmtk.corpus import CorpusConfig, find_utterances
from slmtk.device import resolve_device
from slmtk.errors import AudioError, ConfigError
from slmtk.metrics.normalize import get_normalizer
from slmtk.progress import Progress
from slmtk.stages import dry_run
from slmtk.stages.scoring import ErrorRate, Mean, Pair, UtteranceScore, error_rate, make_pairs, mean_of, score_utterance
from slmtk.stages.speech_sources import CODES_NAME, SYNTH_NAME, open_speech, with_references
from slmtk.stages.voice_scores import VoiceScores

if TYPE_CHECKING:
    from torch import Tensor

SCORES_NAME = "scores.json"
UTTERANCES_NAME = "utterances.jsonl"
# Utterances that are held in memory and recognised together; the bar moves once for all of them.
_CHUNK = 16


@dataclass(frozen=True)
class EvalConfig:
    """Settings of a score; everything but where it runs changes the numbers."""

    recognizer: str = "pocketsphinx"
    """Name of the recogniser's plug-in."""
    asr_model: str | None = None
    """Local folder or hub id of the recogniser's model."""
    grammar: Path | None = None
    """JSGF file that closes the recogniser's vocabulary."""
    normalizer: str = "whisper-english"
    """What makes texts comparable: one of `slmtk.metrics.normalize.NORMALIZERS`."""
    similarity: bool = True
    """Compare voices where there is something to compare with."""
    speaker_encoder: str = "resemblyzer"
    """Name of the speaker encoder's plug-in."""
    references: Path | None = None
    """File (fields id, text, reference) of the voices to compare with, instead of those that HYP names itself."""
    allow_missing: bool = False
    """Count utterances without speech as failures."""
    only_common: bool = False
    """Leave out utterances that one side alone has."""
    limit: int | None = None
    """Score so many utterances at most, spread evenly over the sorted ids."""
    group_by: str | None = None
    """Also score groups: "speaker", or a column of the corpus."""
    bootstrap_samples: int = 1000
    """Draws for an interval."""
    seed: int = 0
    """Of the draws."""
    workers: int = 1
    """Processes of the recogniser."""
    device: str = "auto"
    """Where models run: cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Weights of the codec of a folder of codes."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """Layout and columns of REF, if it is recordings."""

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            ConfigError: a number is not positive, or there is no such normaliser.
        """
        numbers = {"limit": self.limit, "bootstrap samples": self.bootstrap_samples, "workers": self.workers}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ConfigError(f"{name}: {number}; expected 1 or more")
        get_normalizer(self.normalizer)


@dataclass(frozen=True)
class GroupScore:
    """Score of a part of the utterances."""

    utterances: int
    words: int
    wer: float
    low: float
    high: float
    success_rate: float


@dataclass(frozen=True)
class EvalReport:
    """What speech scored, and how it was scored.

    Attributes:
        out: folder of scores.json and utterances.jsonl.
        reference: source of the texts.
        hypothesis: source of the speech.
        recognizer: engine and model.
        normalizer: of texts.
        utterances: scored.
        words: of the references, normalised.
        wer: over the corpus, failures included with all words deleted.
        cer: over the corpus, the same way.
        mean_utterance_wer: each utterance weighs the same.
        success_rate: share of utterances with speech in them.
        failures: by reason.
        similarity: cosine of speaker vectors over the utterances that have both; encoder and opposite in its name.
        groups: by name.
        without_text: utterances left out for want of a text.
        only_one_side: utterances left out since one side lacks them.
        unreadable: files that could not be read; they are among the failures.
        seconds_audio: recognised.
        seconds_recognition: wall time of the recogniser alone.
        settings: that were asked for.
    """

    out: str
    reference: str
    hypothesis: str
    recognizer: str
    normalizer: str
    utterances: int
    words: int
    wer: ErrorRate
    cer: ErrorRate
    mean_utterance_wer: Mean
    success_rate: float
    failures: dict[str, int]
    similarity: dict[str, Mean]
    groups: dict[str, GroupScore]
    without_text: int
    only_one_side: int
    unreadable: int
    seconds_audio: float
    seconds_recognition: float
    settings: dict[str, Any]


def eval_wer(
    reference: Path | str, hypothesis: Path | str | None, out: Path, config: EvalConfig, progress: Progress
) -> EvalReport:
    """Score the speech of ``hypothesis`` against the texts, and the voices, of ``reference``.

    Args:
        reference: recordings with texts, codes with texts, or synthesised speech.
        hypothesis: recordings, codes or synthesised speech; None scores the speech of ``reference`` itself.
        out: folder for scores.json and utterances.jsonl.
        config: how to score.
        progress: told of utterances done.

    Raises:
        CorpusError: texts or speech are missing.
        FormatError: a source, grammar or model cannot be read.
        ConfigError: a setting cannot be used.
    """
    device, checkpoint = resolve_device(config.device), config.codec_checkpoint
    meant = open_speech(reference, _with_column(config), device=device, checkpoint=checkpoint)
    speech = meant
    if hypothesis is not None and str(hypothesis) != str(reference):
        speech = open_speech(hypothesis, device=device, checkpoint=checkpoint)
    if config.references:
        speech = with_references(speech, config.references)
    chosen = make_pairs(
        meant, speech, allow_missing=config.allow_missing, only_common=config.only_common, limit=config.limit
    )
    recognizer = load_recognizer(config.recognizer, model=config.asr_model, grammar=config.grammar, device=device)
    recognizer.workers = config.workers
    progress.message(f"scoring {len(chosen.pairs)} utterances ({speech.kind}) of {speech.name} with {recognizer.name}")
    voices = VoiceScores(config.speaker_encoder, device, originals=speech is not meant) if config.similarity else None
    run = _Run(config, recognizer, voices)
    with progress.task("recognise", len(chosen.pairs), "utterances") as task:
        for start in range(0, len(chosen.pairs), _CHUNK):
            chunk = chosen.pairs[start : start + _CHUNK]
            run.score(chunk)
            task.advance(len(chunk))
    report = EvalReport(
        out=str(out),
        reference=meant.name,
        hypothesis=speech.name,
        recognizer=recognizer.name,
        normalizer=config.normalizer,
        **_summary(run.scores, config),
        without_text=chosen.without_text,
        only_one_side=chosen.only_one_side,
        unreadable=run.unreadable,
        seconds_audio=round(run.seconds_audio, 3),
        seconds_recognition=round(run.seconds_recognition, 3),
        settings=to_jsonable(config),
    )
    _write(out, run.scores, report)
    return report


def plan(reference: Path | str, hypothesis: Path | str | None, out: Path, config: EvalConfig) -> dry_run.Plan:
    """What `eval_wer` would do; audio, codes and models stay unread.

    Raises:
        CorpusError: a folder of recordings is there and holds none.
        PluginError: no such recogniser or speaker encoder.
    """

    def describe(path: Path) -> str:
        if (path / SYNTH_NAME).is_file():
            return "synthesised speech"
        return "codes" if (path / CODES_NAME).is_file() else find_utterances(path, _with_column(config)).describe()

    reads = [dry_run.source("texts", reference, describe)]
    if hypothesis is not None:
        reads.append(dry_run.source("speech", hypothesis, describe))
    reads.append(dry_run.plug_in("slmtk.asr", config.recognizer, config.asr_model))
    if config.similarity:
        reads.append(dry_run.plug_in("slmtk.speakers", config.speaker_encoder))
    for what, path in (("grammar", config.grammar), ("voices", config.references)):
        if path is not None:
            reads.append(dry_run.source(what, path))
    does = f"score with {config.recognizer} on {config.device}, texts made comparable by {config.normalizer}"
    return dry_run.Plan(tuple(reads), (does,), str(out))


def _write(out: Path, scores: Sequence[UtteranceScore], report: EvalReport) -> None:
    lines = (json.dumps(to_jsonable(score), ensure_ascii=False) + "\n" for score in scores)
    write_text(out / UTTERANCES_NAME, "".join(lines))
    write_json(out / SCORES_NAME, report)


def _with_column(config: EvalConfig) -> CorpusConfig:
    """Keep the column that scores are grouped by, if it is one of a manifest."""
    kept = config.corpus.keep_columns
    if config.group_by in (None, "speaker", "language", *kept):
        return config.corpus
    return dataclasses.replace(config.corpus, keep_columns=(*kept, str(config.group_by)))


class _Run:
    """Recognises chunk after chunk and keeps the scores."""

    def __init__(self, config: EvalConfig, recognizer: Recognizer, voices: VoiceScores | None) -> None:
        self._config = config
        self._recognizer = recognizer
        self._voices = voices
        self._normalize = get_normalizer(config.normalizer)
        self.scores: list[UtteranceScore] = []
        self.unreadable = 0
        self.seconds_audio = 0.0
        self.seconds_recognition = 0.0

    def score(self, pairs: Sequence[Pair]) -> None:
        """Score ``pairs`` in their order."""
        rate = self._recognizer.sample_rate
        wavs = [self._read(pair, rate) for pair in pairs]
        audible = [wav for wav in wavs if not isinstance(wav, str)]
        started = time.perf_counter()
        texts: Iterator[str] = iter(self._recognizer.transcribe(audible))
        self.seconds_recognition += time.perf_counter() - started
        self.seconds_audio += sum(len(wav) for wav in audible) / rate
        for pair, wav in zip(pairs, wavs, strict=True):
            group = self._group(pair)
            if isinstance(wav, str):
                self.scores.append(score_utterance(pair, "", self._normalize, reason=wav, group=group))
                continue
            similarity = self._voices.compare(pair, wav, rate) if self._voices else {}
            self.scores.append(score_utterance(pair, next(texts), self._normalize, group=group, similarity=similarity))

    def _read(self, pair: Pair, rate: int) -> Tensor | str:
        """Return the audio, or the reason why there is none."""
        if pair.reason or pair.speech is None or pair.speech.read is None:
            return pair.reason
        try:
            return pair.speech.read(rate)
        except AudioError as error:
            self.unreadable += 1
            return f"audio_{error.kind}"

    def _group(self, pair: Pair) -> str | None:
        name = self._config.group_by
        if name is None:
            return None
        value = pair.meant.speaker if name == "speaker" else pair.meant.extra.get(name)
        return "unknown" if value is None else str(value)


def _summary(scores: Sequence[UtteranceScore], config: EvalConfig) -> dict[str, Any]:
    draws = (config.bootstrap_samples, config.seed)
    failed = Counter(score.reason for score in scores if score.reason)
    wer = error_rate([score.words for score in scores], *draws)
    compared = dict.fromkeys(name for score in scores for name in score.similarity)
    groups = {score.group for score in scores if score.group is not None}
    return {
        "utterances": len(scores),
        "words": wer.length,
        "wer": wer,
        "cer": error_rate([score.characters for score in scores], *draws),
        "mean_utterance_wer": mean_of([score.words.rate for score in scores], *draws),
        "success_rate": 1 - failed.total() / len(scores),
        "failures": dict(sorted(failed.items())),
        "similarity": {
            name: mean_of([score.similarity[name] for score in scores if name in score.similarity], *draws)
            for name in compared
        },
        "groups": {
            name: _group_score([score for score in scores if score.group == name], draws) for name in sorted(groups)
        },
    }


def _group_score(scores: Sequence[UtteranceScore], draws: tuple[int, int]) -> GroupScore:
    wer = error_rate([score.words for score in scores], *draws)
    spoken = sum(not score.reason for score in scores) / len(scores)
    return GroupScore(len(scores), wer.length, wer.rate, wer.low, wer.high, spoken)
