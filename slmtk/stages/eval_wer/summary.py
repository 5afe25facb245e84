"""Scores of utterances -> the numbers of a system, each with what is known about its uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmtk.metrics.hallucination import FLAGS
from slmtk.metrics.intervals import Floats, Interval, drawn_ratios, intervals
from slmtk.metrics.wer import Counts, corpus_counts
from slmtk.stages.eval_wer.groups import in_order
from slmtk.stages.scoring import UtteranceScore

Runs = Sequence[Sequence[UtteranceScore]]
"""[R][N]: runs (seeds) of one system over the same utterances in the same order."""


@dataclass(frozen=True)
class ErrorRate:
    """Errors over reference length of a whole corpus.

    Attributes:
        rate: 0.05 is 5 %; may exceed 1.
        low: lower end of the 95 % interval, by bootstrap over utterances (and runs).
        high: its upper end.
        substitutions: heard as something else.
        deletions: not heard.
        insertions: heard and not meant.
        length: words or characters of the references.
    """

    rate: float
    low: float
    high: float
    substitutions: int
    deletions: int
    insertions: int
    length: int


@dataclass(frozen=True)
class Mean:
    """A mean over utterances with its 95 % interval; ``utterances`` have a value (in one run or more)."""

    mean: float
    low: float
    high: float
    utterances: int


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
class Flagged:
    """Utterances with a mark, "RUN/ID" where there are several runs."""

    utterances: int
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one system scored.

    Attributes:
        source: of its speech.
        utterances: scored; with several runs each counts once.
        runs: merged.
        words: of the references, normalised, over all runs.
        wer: over the corpus, failures included with all words deleted.
        cer: over the corpus, the same way.
        mean_utterance_wer: each utterance weighs the same.
        success: share of utterances with speech in them.
        success_rate: the same without its interval.
        failures: by reason.
        flags: marks of transcripts that nobody would write; see `slmtk.metrics.hallucination`.
        measures: means of what else was heard, over the utterances that could be judged.
        groups: what is grouped by -> group -> score.
    """

    source: str
    utterances: int
    runs: int
    words: int
    wer: ErrorRate
    cer: ErrorRate
    mean_utterance_wer: Mean
    success: Mean
    success_rate: float
    failures: dict[str, int]
    flags: dict[str, Flagged]
    measures: dict[str, Mean]
    groups: dict[str, dict[str, GroupScore]]


def summarize(source: str, runs: Runs, samples: int, seed: int) -> Summary:
    """Add up the runs of a system, and draw the intervals; all rates are of the same draws."""
    lines = [line for run in runs for line in run]
    ratios = [_words(runs), _characters(runs), _rates(runs), _spoken(runs)]
    wer, cer, mean, success = _intervals(ratios, samples, seed)
    words, characters = ([getattr(line, name) for line in lines] for name in ("words", "characters"))
    spoken = sum(not line.reason for line in lines) / len(lines)
    return Summary(
        source=source,
        utterances=len(runs[0]),
        runs=len(runs),
        words=sum(counts.reference_length for counts in words),
        wer=_error_rate(words, wer),
        cer=_error_rate(characters, cer),
        mean_utterance_wer=Mean(float(ratios[2][0].mean()), mean.low, mean.high, len(runs[0])),
        success=Mean(spoken, success.low, success.high, len(runs[0])),
        success_rate=spoken,
        failures=dict(sorted(Counter(line.reason for line in lines if line.reason).items())),
        flags=_flags(lines, len(runs) > 1),
        measures={name: mean_of(runs, name, samples, seed) for name in measured(lines)},
        groups={
            by: _groups(runs, by, samples, seed) for by in dict.fromkeys(by for line in lines for by in line.groups)
        },
    )


def measured(lines: Sequence[UtteranceScore]) -> list[str]:
    """Names of what was measured, in the order in which they came up."""
    return list(dict.fromkeys(name for line in lines for name in line.measures))


def mean_of(runs: Runs, measure: str, samples: int, seed: int) -> Mean:
    """Mean and interval of a measure over the utterances that have it in some run."""
    values = np.array([[line.measures.get(measure, np.nan) for line in run] for run in runs], np.float64)
    values = values[:, ~np.isnan(values).all(axis=0)]
    known = ~np.isnan(values)
    interval = _intervals([(np.nan_to_num(values), known.astype(np.float64))], samples, seed)[0]
    return Mean(float(np.nanmean(values)), interval.low, interval.high, values.shape[1])


def _intervals(ratios: Sequence[tuple[Floats, Floats]], samples: int, seed: int) -> list[Interval]:
    numerators, denominators = (np.stack(parts) for parts in zip(*ratios, strict=True))
    return intervals(drawn_ratios(numerators, denominators, samples, seed))


def _words(runs: Runs) -> tuple[Floats, Floats]:
    return _of_counts([[line.words for line in run] for run in runs])


def _characters(runs: Runs) -> tuple[Floats, Floats]:
    return _of_counts([[line.characters for line in run] for run in runs])


def _of_counts(runs: Sequence[Sequence[Counts]]) -> tuple[Floats, Floats]:
    errors = np.array([[counts.errors for counts in run] for run in runs], np.float64)
    return errors, np.array([[counts.reference_length for counts in run] for run in runs], np.float64)


def _rates(runs: Runs) -> tuple[Floats, Floats]:
    rates = np.array([[line.words.rate for line in run] for run in runs], np.float64)
    return rates, np.ones_like(rates)


def _spoken(runs: Runs) -> tuple[Floats, Floats]:
    spoken = np.array([[not line.reason for line in run] for run in runs], np.float64)
    return spoken, np.ones_like(spoken)


def _error_rate(utterances: Sequence[Counts], interval: Interval) -> ErrorRate:
    total = corpus_counts(utterances)
    edits = (total.substitutions, total.deletions, total.insertions)
    return ErrorRate(total.rate, interval.low, interval.high, *edits, total.reference_length)


def _flags(lines: Sequence[UtteranceScore], several: bool) -> dict[str, Flagged]:
    found: dict[str, list[str]] = {name: [] for name in FLAGS}
    for line in lines:
        for name in line.flags:
            found[name].append(f"{line.run}/{line.id}" if several else line.id)
    return {name: Flagged(len(ids), tuple(ids)) for name, ids in found.items()}


def _groups(runs: Runs, by: str, samples: int, seed: int) -> dict[str, GroupScore]:
    places: dict[str, list[int]] = {}
    for place, line in enumerate(runs[0]):
        places.setdefault(line.groups[by], []).append(place)
    return {
        name: _group_score([[run[place] for place in places[name]] for run in runs], samples, seed)
        for name in in_order(by, places)
    }


def _group_score(runs: Runs, samples: int, seed: int) -> GroupScore:
    errors, words = _words(runs)
    interval = _intervals([(errors, words)], samples, seed)[0]
    total = corpus_counts(line.words for run in runs for line in run)
    spoken = float(_spoken(runs)[0].mean())
    return GroupScore(len(runs[0]), total.reference_length, total.rate, interval.low, interval.high, spoken)


def headline(summary: Summary, aggregation: str) -> Mapping[str, Any]:
    """The word error rate that the protocol means: over the corpus, or the mean of the utterances'."""
    if aggregation == "mean":
        mean = summary.mean_utterance_wer
        return {"name": "mean_utterance_wer", "mean": mean.mean, "low": mean.low, "high": mean.high}
    return {"name": "wer", "mean": summary.wer.rate, "low": summary.wer.low, "high": summary.wer.high}
