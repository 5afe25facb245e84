"""The order of an epoch: windows of row groups, tasks by weight, batches of like length."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from slmtk.data import sampling
from slmtk.data.sampling import LengthBucketSampler, parse_task_weights
from slmtk.errors import ConfigError
from tests.data.test_packing import like_libritts, make_order


def test_windows_hold_whole_row_groups_in_an_order_of_the_epochs_own(monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_GROUPS", 4)
    order = make_order(np.ones(1000, np.int64), group=50)
    windows = [rows.tolist() for rows in order.windows(0)]
    assert [len(rows) for rows in windows] == [200] * 5
    groups = [sorted({row // 50 for row in rows}) for rows in windows]
    assert [len(found) for found in groups] == [4] * 5
    assert sorted(group for found in groups for group in found) == list(range(20))
    assert np.count_nonzero(np.diff(np.array(windows[0]) // 50)) > 100  # of 199; 3 if groups came one by one
    assert groups != [sorted({row // 50 for row in rows.tolist()}) for rows in order.windows(1)]
    assert windows == [rows.tolist() for rows in make_order(np.ones(1000, np.int64), group=50).windows(0)]
    assert windows != [rows.tolist() for rows in make_order(np.ones(1000, np.int64), group=50, seed=1).windows(0)]


def test_a_task_of_weight_w_gives_w_times_its_rows_anew_in_each_epoch():
    lengths = like_libritts(3000, 20, 4000)
    task_of = np.repeat([0, 1, 2], 1000)
    weights = {"asr": 0.25, "text": 2.5}
    order = make_order(lengths, tasks=["tts", "asr", "text"], task_of=task_of, weights=weights)
    assert order.num_rows == 1000 + 250 + 2500
    epochs = [Counter(order.rows(epoch).tolist()) for epoch in range(2)]
    for rows in epochs:
        assert sum(rows.values()) == order.num_rows
        assert {rows[row] for row in range(1000)} == {1}
        assert {rows[row] for row in range(1000, 2000)} == {0, 1}
        assert Counter(rows[row] for row in range(2000, 3000)) == {2: 500, 3: 500}
    assert epochs[0] != epochs[1]
    assert order.rows(1).tolist() == order.rows(1).tolist()
    drawn = {row for epoch in range(40) for row in order.rows(epoch).tolist() if 1000 <= row < 2000}
    assert len(drawn) > 990  # of 1000; a row is left out 40 times with probability 0.75 ** 40


def test_epochs_of_drawn_rows_are_of_one_size_and_never_exceed_the_bounds():
    lengths = like_libritts(2000, 240, 6000)
    task_of = np.arange(2000) % 2
    order = make_order(lengths, tasks=["tts", "asr"], task_of=task_of, weights={"tts": 0.3, "asr": 1.5})
    bounds = np.sort(order.bounds[order.rows(0)])
    sums = []
    for epoch in range(10):
        found = np.sort(lengths[order.rows(epoch)])
        assert np.all(found <= bounds)
        sums.append(found.sum())
    assert np.ptp(sums) < 0.005 * np.mean(sums)


def test_a_weight_of_zero_leaves_a_task_out_and_nothing_at_all_is_refused():
    order = make_order(np.ones(4, np.int64), tasks=["tts", "asr"], task_of=np.array([0, 1, 0, 1]), weights={"asr": 0})
    assert order.rows(0).tolist() == [0, 2]
    with pytest.raises(ConfigError, match="no row is left"):
        make_order(np.ones(2, np.int64), tasks=["tts"], task_of=np.zeros(2, np.int64), weights={"tts": 0.0})
    with pytest.raises(ConfigError, match="'qa', but the split has tts, asr"):
        make_order(np.ones(2, np.int64), tasks=["tts", "asr"], task_of=np.array([0, 1]), weights={"qa": 2})


def test_task_weights_are_read_from_text():
    assert parse_task_weights("tts=1, asr=0.5") == {"tts": 1.0, "asr": 0.5}
    assert parse_task_weights("") == {}
    for text in ("tts", "tts=", "=1", "tts=-1", "tts=nan", "tts=inf", "tts=1,tts=2", "tts=x"):
        with pytest.raises(ConfigError, match="task weights"):
            parse_task_weights(text)


def test_batches_are_of_like_length_and_only_the_last_is_short(monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_GROUPS", 4)
    lengths = np.random.default_rng(0).integers(1, 10_000, 1003)
    order = make_order(lengths, group=64)
    sampler = LengthBucketSampler(order, 8)
    sampler.set_epoch(2)
    found = list(sampler)
    assert len(found) == len(sampler) == 1003
    assert {epoch for epoch, _ in found} == {2}
    rows = np.array([row for _, row in found])
    assert sorted(rows) == list(range(1003))
    assert sampler.rows_of(2, 16, 24).tolist() == rows[16:24].tolist()
    spread = [np.ptp(lengths[rows[first : first + 8]]) for first in range(0, 1000, 8)]
    assert np.mean(spread) < 600  # of 10,000, and some 7,800 if batches were drawn at random
    firsts = lengths[rows[:1000:8]]
    assert np.mean(np.diff(firsts) > 0) < 0.7  # the batches themselves are shuffled
    monkeypatch.undo()
    assert order.clock.epoch == 2
