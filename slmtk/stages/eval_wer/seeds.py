"""Several runs of one system: what each scored, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from slmtk.metrics.wer import corpus_counts, mean_rate
from slmtk.stages.eval_wer.summary import Runs, measured
from slmtk.stages.scoring import UtteranceScore


@dataclass(frozen=True)
class SeedScore:
    """What one run scored."""

    source: str
    wer: float
    cer: float
    mean_utterance_wer: float
    success_rate: float
    measures: dict[str, float]


@dataclass(frozen=True)
class Spread:
    """A number over the runs: each weighs the same; ``deviation`` is the standard deviation of a sample."""

    mean: float
    deviation: float
    lowest: float
    highest: float


def seed_scores(sources: Sequence[str], runs: Runs) -> list[SeedScore]:
    """Score each run for itself."""
    return [_score(source, run) for source, run in zip(sources, runs, strict=True)]


def _score(source: str, lines: Sequence[UtteranceScore]) -> SeedScore:
    return SeedScore(
        source=source,
        wer=corpus_counts(line.words for line in lines).rate,
        cer=corpus_counts(line.characters for line in lines).rate,
        mean_utterance_wer=mean_rate([line.words for line in lines]),
        success_rate=sum(not line.reason for line in lines) / len(lines),
        measures={
            name: statistics.fmean(line.measures[name] for line in lines if name in line.measures)
            for name in measured(lines)
        },
    )


def spreads(seeds: Sequence[SeedScore]) -> dict[str, Spread]:
    """Return the spread of each number that all of two runs or more have."""
    found = {
        name: [float(getattr(seed, name)) for seed in seeds]
        for name in ("wer", "cer", "mean_utterance_wer", "success_rate")
    }
    for name in seeds[0].measures:
        if all(name in seed.measures for seed in seeds):
            found[name] = [seed.measures[name] for seed in seeds]
    return {name: _spread(values) for name, values in found.items()}


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(values), statistics.stdev(values), min(values), max(values))
