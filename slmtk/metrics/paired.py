"""Is one system better than another: paired bootstrap over the utterances that both spoke, beside their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from slmtk.errors import ConfigError
from slmtk.metrics.intervals import Floats, drawn_ratios, intervals


@dataclass(frozen=True)
class Paired:
    """How far two systems differ.

    Attributes:
        difference: the first system's number less the second's; an error rate below 0 means that the first is better.
        low: lower end of the difference's 95 % interval.
        high: its upper end.
        p_value: two-sided, of the hypothesis that there is no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    errors_a: ArrayLike,
    words_a: ArrayLike,
    errors_b: ArrayLike,
    words_b: ArrayLike,
    samples: int = 1000,
    seed: int = 0,
) -> Paired:
    """Compare two corpus rates, sum(errors) / sum(words), over draws of utterances that are the same for both.

    The p-value is twice the share of draws on the far side of 0, counting one draw more for each (so that it is never
    0): a difference whose 95 % interval leaves out 0 has one below about 0.05. Sources: Bisani and Ney, ICASSP 2004
    ("probability of improvement"); Davison and Hinkley, "Bootstrap Methods and their Application", 1997, chapter 4.

    Args:
        errors_a: [N], one value an utterance of the first system, or [R, N] of R runs.
        words_a: the same shape, 0 or more.
        errors_b: [N] or [R', N] of the second system, utterances in the same order.
        words_b: the same shape as ``errors_b``.
        samples: draws.
        seed: of the draws.

    Raises:
        ConfigError: no utterance or sample, or the systems have not equally many utterances.
    """
    first, second = _stack(errors_a, words_a), _stack(errors_b, words_b)
    if first.shape[-1] != second.shape[-1]:
        raise ConfigError(
            f"{first.shape[-1]} and {second.shape[-1]} utterances; a paired comparison needs the same on both sides"
        )
    drawn = drawn_ratios(first[:1], first[1:], samples, seed) - drawn_ratios(second[:1], second[1:], samples, seed, 1)
    interval = intervals(drawn)[0]
    beyond = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Paired(_ratio(first) - _ratio(second), interval.low, interval.high, min(1.0, 2 * beyond / (samples + 1)))


def paired_bootstrap_mean(a: ArrayLike, b: ArrayLike, samples: int = 1000, seed: int = 0) -> Paired:
    """Compare two means over the same utterances; see `paired_bootstrap`.

    Args:
        a: [N] or [R, N], a value an utterance; NaN where a run has none.
        b: [N] or [R', N], the same utterances.
        samples: draws.
        seed: of the draws.

    Raises:
        ConfigError: no utterance or sample, or not equally many utterances.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    known = ~np.isnan(first), ~np.isnan(second)
    return paired_bootstrap(np.nan_to_num(first), known[0], np.nan_to_num(second), known[1], samples, seed)


def _stack(errors: ArrayLike, words: ArrayLike) -> Floats:
    """Numerators and denominators as [2, R, N]."""
    above, below = np.asarray(errors, np.float64), np.asarray(words, np.float64)
    if above.shape != below.shape:
        raise ConfigError(f"{above.size} numerators and {below.size} denominators; expected as many of each")
    return np.stack([np.atleast_2d(above), np.atleast_2d(below)])


def _ratio(stacked: Floats) -> float:
    errors, words = float(stacked[0].sum()), float(stacked[1].sum())
    return errors / words if words else float(errors > 0)
