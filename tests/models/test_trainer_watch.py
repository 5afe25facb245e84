"""The trainer's alarm, with losses made by hand."""

from __future__ import annotations

import math

import pytest
import torch

from slmtk.models.watch import SPIKES, LossWatch


def looked_at(losses, norms=None, warmup=0, every=1000):
    """What the watch finds in ``losses``, looking every so many steps."""
    watch = LossWatch(warmup)
    norms = norms or [1.0] * len(losses)
    for first in range(0, len(losses), every):
        part = range(first, min(first + every, len(losses)))
        for index in part:
            watch.begin(index + 1, [[f"a{index + 1}"], [f"b{index + 1}"]])
            watch.add_loss(torch.tensor(losses[index] / 2))
            watch.add_loss(torch.tensor(losses[index] / 2))
            watch.set_norm(torch.tensor(norms[index]))
        pending = watch.pending(torch.device("cpu"))
        assert pending[0].tolist() == pytest.approx([losses[index] for index in part], nan_ok=True)
        trouble = watch.look(*pending.tolist())
        if trouble:
            return trouble
    return None


def test_a_loss_that_is_no_number_is_found_at_its_own_step_with_its_own_utterances():
    trouble = looked_at([4.0, 3.0, math.nan, math.nan, 2.0])
    assert (trouble.step, trouble.ids) == (3, ["a3", "b3"])
    assert trouble.what == "the loss is nan at step 3"


def test_a_gradient_that_is_no_number_is_found_though_the_loss_is_one():
    trouble = looked_at([4.0, 3.0, 3.0], [1.0, math.inf, 1.0])
    assert (trouble.step, trouble.what) == (2, "the gradient's norm is inf at step 2")


def test_spikes_in_a_row_stop_and_are_told_from_the_first_whenever_one_looks():
    course = [2.0] * 5 + [21.0] * SPIKES
    for every in (1, 4, 1000):
        trouble = looked_at(course, every=every)
        assert trouble.step == 6
        assert trouble.ids == ["a6", "b6"]
        assert "where 2 is usual" in trouble.what


def test_single_spikes_a_slow_rise_and_the_warm_up_are_let_pass():
    assert looked_at([2.0] * 5 + ([21.0] * (SPIKES - 1) + [2.0]) * 3) is None
    assert looked_at([1.03**step for step in range(200)]) is None  # 10 times in 78 steps, but the median goes along
    assert looked_at([0.1, *[5.0] * 50], warmup=51) is None
    assert looked_at([0.1, *[5.0] * 50]) is not None
