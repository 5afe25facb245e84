"""How sure a score is: bootstrap intervals over utterances, the last numbers that a score carries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slmtk.errors import ConfigError

Floats = NDArray[np.float64]
_BLOCK = 1 << 20  # drawn numbers held at a time: 8 MB of indices, and as much of weights


@dataclass(frozen=True)
class Interval:
    """Where a score lies with 95 % confidence.

    Attributes:
        low: 2.5th percentile.
        high: 97.5th percentile.
    """

    low: float
    high: float


def bootstrap_ratio(
    numerators: ArrayLike, denominators: ArrayLike, samples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Return the interval of sum(numerators) / sum(denominators), utterances drawn with replacement.

    A corpus WER is such a ratio: errors over words. Percentile bootstrap after Bisani and Ney, "Bootstrap estimates
    for confidence intervals in ASR performance evaluation", ICASSP 2004.

    Args:
        numerators: [N], one value an utterance, or [R, N] of R runs over the same utterances: see `drawn_ratios`.
        denominators: the same shape, 0 or more; a draw whose denominators are all 0 counts as 1 with any numerator,
            else as 0.
        samples: how many times N utterances are drawn.
        seed: of the draws; equal seeds give equal intervals.
        confidence: between 0 and 1.

    Raises:
        ConfigError: no utterance, unequal shapes, no sample, or a confidence outside 0 to 1.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if above.shape != below.shape:
        raise ConfigError(f"{above.size} numerators and {below.size} denominators; expected as many of each")
    shape = (1, 1 if above.ndim < 2 else len(above), above.shape[-1])
    return intervals(drawn_ratios(above.reshape(shape), below.reshape(shape), samples, seed), confidence)[0]


def bootstrap_mean(values: ArrayLike, samples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of ``values`` [N] or [R, N], drawn with replacement.

    Raises:
        ConfigError: no value, no sample, or a confidence outside 0 to 1.
    """
    numbers = np.asarray(values, np.float64)
    return bootstrap_ratio(numbers, np.ones_like(numbers), samples, seed, confidence)


def drawn_ratios(
    numerators: Floats, denominators: Floats, samples: int = 1000, seed: int = 0, stream: int = 0
) -> Floats:
    """Return K ratios of sums in each draw; all K are of the same drawn utterances.

    With several runs (seeds of a system) each draw takes N utterances and R runs, both with replacement, and adds up
    every drawn utterance of every drawn run: doubt about the sentences and about the seeds is in the spread of the
    draws. Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.

    Args:
        numerators: [K, R, N].
        denominators: [K, R, N], 0 or more.
        samples: draws.
        seed: of the draws of utterances, the same for equal N; and of runs.
        stream: another one draws other runs, and the same utterances.

    Returns:
        [K, samples].

    Raises:
        ConfigError: no utterance or no sample.
    """
    kinds, runs, size = numerators.shape
    if size < 1 or samples < 1:
        raise ConfigError(f"{size} values, {samples} samples; expected one or more of each")
    columns = np.concatenate([numerators, denominators]).reshape(-1, size).T
    # The weighted sums of all ratios are one matrix product a block.
    sums = np.concatenate([weights @ columns for weights in _weights(size, samples, seed)])
    by_run = sums.reshape(samples, 2 * kinds, runs)
    if runs > 1:
        drawn = np.random.default_rng([seed, 1 + stream]).multinomial(runs, [1 / runs] * runs, samples)
        by_run = by_run * drawn[:, None]
    errors, words = np.split(by_run.sum(axis=2).T, 2)
    ratio: Floats = np.where(words > 0, errors / np.maximum(words, 1e-300), errors > 0)
    return ratio


def intervals(drawn: Floats, confidence: float = 0.95) -> list[Interval]:
    """Return the percentile interval of each row of ``drawn`` [K, samples].

    Raises:
        ConfigError: ``confidence`` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence {confidence}; expected a number between 0 and 1")
    outside = 50 * (1 - confidence)
    low, high = np.percentile(drawn, [outside, 100 - outside], axis=1)
    return [Interval(float(lower), float(upper)) for lower, upper in zip(low, high, strict=True)]


def _weights(size: int, samples: int, seed: int) -> Iterator[Floats]:
    """Yield, block by block, how often each draw takes each utterance: [draws, N]."""
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // size)
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = generator.integers(0, size, (count, size))
        drawn += np.arange(0, count * size, size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)
