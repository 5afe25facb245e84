"""How sure a score is: bootstrap intervals over utterances, the last numbers that a score carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slmtk.errors import ConfigError

_BLOCK = 1 << 21  # drawn numbers held at a time: 16 MB of indices


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
        numerators: [N], one value an utterance.
        denominators: [N], 0 or more; a draw whose denominators are all 0 counts as 1 with any numerator, else as 0.
        samples: how many times N utterances are drawn.
        seed: of the draws; equal seeds give equal intervals.
        confidence: between 0 and 1.

    Raises:
        ConfigError: no utterance, unequal lengths, no sample, or a confidence outside 0 to 1.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if above.shape != below.shape:
        raise ConfigError(f"{above.size} numerators and {below.size} denominators; expected as many of each")

    def statistic(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        errors, words = above[drawn].sum(axis=1), below[drawn].sum(axis=1)
        ratio: NDArray[np.float64] = np.where(words > 0, errors / np.maximum(words, 1e-300), errors > 0)
        return ratio

    return _bootstrap(statistic, above.size, samples, seed, confidence)


def bootstrap_mean(values: ArrayLike, samples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of ``values`` [N], drawn with replacement.

    Raises:
        ConfigError: no value, no sample, or a confidence outside 0 to 1.
    """
    numbers = np.asarray(values, np.float64)
    return _bootstrap(lambda drawn: numbers[drawn].mean(axis=1), numbers.size, samples, seed, confidence)


def _bootstrap(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    size: int,
    samples: int,
    seed: int,
    confidence: float,
) -> Interval:
    if size < 1 or samples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"{size} values, {samples} samples, confidence {confidence}; expected one or more, one or "
            "more, and a number between 0 and 1"
        )
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // size)
    drawn: Sequence[NDArray[np.float64]] = [
        statistic(generator.integers(0, size, (min(rows, samples - start), size))) for start in range(0, samples, rows)
    ]
    outside = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(drawn), [outside, 100 - outside])
    return Interval(float(low), float(high))
