"""Sound before it is recognised: silence, cuts, batches, work done ahead."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from slmtk.asr.pieces import audible_samples, batches_by_length, cut, prepared_ahead
from slmtk.errors import AudioError


def test_a_cut_lies_in_the_quietest_moment_and_loses_nothing():
    samples = np.full(16_000 * 61, 0.5, np.float32)
    samples[16_000 * 26 : 16_000 * 26 + 320] = 0.0
    pieces = cut(samples, 16_000)
    assert len(pieces[0]) == 16_000 * 26 + 160
    assert [len(piece) <= 16_000 * 30 for piece in pieces] == [True] * 3
    np.testing.assert_array_equal(np.concatenate(pieces), samples)


def test_thirty_seconds_are_not_cut():
    assert [len(piece) for piece in cut(np.ones(480_000, np.float32), 16_000)] == [480_000]
    assert len(cut(np.ones(480_001, np.float32), 16_000)) == 2


@pytest.mark.parametrize(("peak", "kept"), [(1e-4, 3), (0.99e-4, 0), (-1e-4, 3), (0.0, 0)])
def test_what_lies_80_db_below_full_scale_is_silence(peak, kept):
    assert len(audible_samples(torch.tensor([0.0, peak, 0.0]))) == kept


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_refused(bad):
    with pytest.raises(AudioError, match="NaN") as caught:
        audible_samples(torch.tensor([0.1, bad]))
    assert caught.value.kind == "nan"


def test_batches_go_from_short_to_long():
    pieces = [np.zeros(length) for length in (5, 1, 4, 2, 3)]
    assert batches_by_length(pieces, 2) == [[1, 3], [4, 2], [0]]


def test_the_next_item_is_prepared_while_one_is_used():
    second_begun = threading.Event()

    def prepare(item: int) -> int:
        if item == 2:
            second_begun.set()
        return 10 * item

    seen = []
    for item, prepared in prepared_ahead(prepare, [1, 2, 3]):
        assert second_begun.wait(timeout=10)  # would wait in vain if 2 were prepared after 1 is done with
        seen.append((item, prepared))
    assert seen == [(1, 10), (2, 20), (3, 30)]


def test_a_mistake_in_preparing_is_raised_when_its_item_is_due():
    def prepare(item: int) -> float:
        return 1 / item

    ahead = prepared_ahead(prepare, [1, 0])
    assert next(ahead) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(ahead)
