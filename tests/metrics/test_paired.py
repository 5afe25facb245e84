"""Paired bootstrap: against distributions worked out by hand, and for what a p-value has to be."""

from __future__ import annotations

import numpy as np
import pytest

from slmtk.errors import ConfigError
from slmtk.metrics.paired import Paired, paired_bootstrap, paired_bootstrap_mean


def test_equal_systems_do_not_differ():
    errors, words = [0, 1, 2, 0], [3, 4, 5, 6]
    assert paired_bootstrap(errors, words, errors, words) == Paired(0.0, 0.0, 0.0, 1.0)


def test_one_error_less_in_every_utterance_is_certain():
    # 1 of 4 words against 2 of 4, whichever utterances are drawn; no draw of 999 is on the other side.
    paired = paired_bootstrap([1] * 20, [4] * 20, [2] * 20, [4] * 20, samples=999)
    assert paired == Paired(-0.25, -0.25, -0.25, 2 / 1000)


def test_pairing_sees_what_two_intervals_hide():
    # Both systems fail on the same half of the sentences, and the first on one of 100 words less each.
    hard = np.tile([0, 60], 50)
    first, second = hard + 1, hard + 2
    paired = paired_bootstrap(first, [100] * 100, second, [100] * 100)
    assert paired.difference == pytest.approx(-0.01)
    assert paired.high < 0
    assert paired.p_value < 0.01


def test_the_p_value_is_that_of_the_sign_of_a_normal_mean():
    # 400 differences with mean 0.1 and standard deviation 1: their mean lies 2 standard errors from 0, p = 0.0455.
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std() + 0.1
    paired = paired_bootstrap_mean(values, np.zeros(400), samples=20_000)
    assert paired.p_value == pytest.approx(0.0455, abs=0.008)
    assert (paired.low, paired.high) == pytest.approx((0.1 - 0.098, 0.1 + 0.098), abs=0.005)


def test_changing_sides_changes_the_sign_alone():
    a, b = np.random.default_rng(1).random((2, 60))
    one, other = paired_bootstrap_mean(a, b), paired_bootstrap_mean(b, a)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.p_value == other.p_value


def test_runs_of_each_system_are_drawn_too():
    # Against a system without doubt: two runs, one 0.2 better and one 0.2 worse in every utterance.
    runs = [[0.3] * 30, [0.7] * 30]
    paired = paired_bootstrap_mean(runs, [0.5] * 30)
    assert paired.difference == pytest.approx(0.0)
    assert (paired.low, paired.high) == pytest.approx((-0.2, 0.2))


def test_what_a_run_lacks_is_left_out_of_its_mean():
    paired = paired_bootstrap_mean([[1.0, np.nan], [1.0, 1.0]], [0.0, 0.0])
    assert paired.difference == 1.0


@pytest.mark.parametrize("arguments", [([1], [1], [1, 2], [1, 2]), ([], [], [], []), ([1], [1, 2], [1], [1])])
def test_what_cannot_be_paired_is_refused(arguments):
    with pytest.raises(ConfigError):
        paired_bootstrap(*arguments)
