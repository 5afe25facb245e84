"""Bootstrap intervals: against exact distributions and for the properties that users rely on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from slmtk.errors import ConfigError
from slmtk.metrics.intervals import Interval, bootstrap_mean, bootstrap_ratio, drawn_ratios


def test_utterances_that_are_all_alike_leave_no_doubt():
    assert bootstrap_ratio([1, 1, 1], [4, 4, 4]) == Interval(0.25, 0.25)
    assert bootstrap_mean([0.5, 0.5]) == Interval(0.5, 0.5)


def test_a_share_of_400_has_the_binomial_interval():
    # 100 of 400: the resampled share is binomial, standard deviation sqrt(0.25 * 0.75 / 400) = 0.02165.
    interval = bootstrap_ratio([1] * 100 + [0] * 300, [1] * 400, samples=4000)
    assert interval.low == pytest.approx(0.25 - 1.96 * 0.02165, abs=0.004)
    assert interval.high == pytest.approx(0.25 + 1.96 * 0.02165, abs=0.004)


def test_two_utterances_give_the_four_draws_that_there_are():
    # Draws (a, a), (a, b), (b, a), (b, b) of 0 / 1 and 9 / 9 errors per words: 0, 0.9, 0.9, 1.
    assert bootstrap_ratio([0, 9], [1, 9], samples=2000) == Interval(0.0, 1.0)
    assert bootstrap_ratio([0, 9], [1, 9], samples=2000, confidence=0.2) == Interval(0.9, 0.9)


def test_the_ratio_is_of_sums_and_not_a_mean_of_ratios():
    # Ten words wrong of ten, and none of 990: near 1 %, not near 50 %.
    assert bootstrap_ratio([10] + [0] * 99, [10] * 100).high < 0.04


def test_seeds_repeat_and_differ():
    values = np.random.default_rng(1).random(50)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_utterances_without_words_do_not_divide_by_zero():
    assert bootstrap_ratio([0, 0], [0, 0]) == Interval(0.0, 0.0)
    assert bootstrap_ratio([2, 2], [0, 0]) == Interval(1.0, 1.0)


def test_ten_thousand_utterances_take_seconds_not_minutes():
    start = time.process_time()
    bootstrap_ratio(np.ones(10_000), np.full(10_000, 10), samples=1000)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("arguments", [([], []), ([1], [1, 2]), ([1], [1], 0), ([1], [1], 10, 0, 1.5)])
def test_what_cannot_be_drawn_from_is_refused(arguments):
    with pytest.raises(ConfigError):
        bootstrap_ratio(*arguments)


def test_the_weighted_draws_are_those_of_a_plain_bootstrap():
    errors, words = np.random.default_rng(2).integers(0, 9, 300), np.random.default_rng(3).integers(1, 30, 300)
    drawn = np.random.default_rng(7).integers(0, 300, (500, 300))
    plain = errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    interval = bootstrap_ratio(errors, words, samples=500, seed=7)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])), abs=1e-12)


def test_runs_that_differ_widen_the_interval_though_utterances_do_not():
    # Two runs, 0 and 1 errors a word in every utterance: draws of two runs give 0, 0.5, 0.5 and 1.
    assert bootstrap_ratio([[0] * 50, [1] * 50], [[1] * 50] * 2) == Interval(0.0, 1.0)
    assert bootstrap_ratio([[0, 1] * 25] * 2, [[1] * 50] * 2) == bootstrap_ratio([0, 1] * 25, [1] * 50)


def test_ratios_of_one_call_are_of_the_same_draws():
    errors = np.random.default_rng(4).random((1, 40))
    both = drawn_ratios(np.stack([errors, 2 * errors]), np.ones((2, 1, 40)), samples=50)
    np.testing.assert_allclose(both[1], 2 * both[0])
    runs = drawn_ratios(np.stack([errors] * 2, axis=1), np.ones((1, 2, 40)), samples=50, stream=1)
    np.testing.assert_allclose(runs[0], both[0])  # other runs, which are alike; the same utterances


def test_another_stream_draws_other_runs():
    values, ones = np.array([[[0.0] * 5, [1.0] * 5]]), np.ones((1, 2, 5))
    first, same, other = (drawn_ratios(values, ones, samples=50, stream=stream)[0] for stream in (0, 0, 1))
    assert (first == same).all()
    assert (first != other).any()
