"""Packs: how full they are, and that an epoch holds every row once, in an order that can be taken up anywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from torch.utils.data import DataLoader

from slmtk.data.packing import PackedSampler, PackedSet, pack
from slmtk.data.sampling import Clock, EpochOrder
from slmtk.errors import ConfigError


def like_libritts(count: int, steps_per_second: int, longest: int, seed: int = 0) -> np.ndarray:
    """Positions of ``count`` utterances of 0.5 to 20 s, 15 letters a second and a template of 75."""
    seconds = np.exp(np.random.default_rng(seed).normal(np.log(4.5), 0.75, 4 * count))
    seconds = seconds[(seconds >= 0.5) & (seconds <= 20)][:count]
    return np.minimum((seconds * (steps_per_second + 15)).astype(np.int64) + 76, longest)


def make_order(lengths: np.ndarray, *, group: int = 512, seed: int = 0, **options) -> EpochOrder:
    return EpochOrder(lengths, np.append(np.arange(0, len(lengths), group), len(lengths)), Clock(), seed, **options)


def items(sampler: PackedSampler, epoch: int) -> list[tuple[int, ...]]:
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert {number for number, _ in found} == {epoch}
    return [rows for _, rows in found]


def test_best_fit_puts_an_item_where_it_leaves_least_room():
    # 7; then 6; 4 fits behind 6 (0 left) and not 7; 3 behind 7 (0 left); 2 and 1 share what is left: nothing.
    packs = pack(np.array([3, 6, 2, 7, 1, 4]), 10)
    assert sorted(map(sorted, packs)) == [[0, 3], [1, 5], [2, 4]]


@pytest.mark.parametrize(("steps_per_second", "capacity"), [(20, 2048), (20, 4096), (240, 4096)])
def test_hardly_a_position_is_padding(steps_per_second, capacity):
    lengths = like_libritts(40_000, steps_per_second, capacity)
    sampler = PackedSampler(make_order(lengths), capacity, packs_per_step=16)
    for epoch in range(2):
        packs = items(sampler, epoch)
        sizes = [lengths[list(rows)].sum() for rows in packs]
        assert max(sizes) <= capacity
        assert sum(sizes) / (len(packs) * capacity) >= 0.95
        assert sampler.used(epoch) == pytest.approx(sum(sizes) / (len(packs) * capacity))


def test_an_epoch_holds_every_row_once_in_as_many_packs_as_any_other():
    lengths = like_libritts(30_000, 240, 4096)
    sampler = PackedSampler(make_order(lengths), 4096, packs_per_step=24)
    epochs = [items(sampler, epoch) for epoch in range(3)]
    assert [len(packs) for packs in epochs] == [len(sampler)] * 3
    assert len(sampler) % 24 == 0
    for packs in epochs:
        assert sorted(row for rows in packs for row in rows) == list(range(30_000))
        assert all(packs)
    assert epochs[0] != epochs[1]


def test_packs_are_filled_from_one_window_after_the_other_but_for_a_few_rows_left_over():
    lengths = like_libritts(40_000, 20, 2048)
    sampler = PackedSampler(make_order(lengths), 2048)
    windows = list(sampler._order.windows(0))
    number_of = np.empty(40_000, np.int64)
    for number, rows in enumerate(windows):
        number_of[rows] = number
    assert len(windows) == 3
    packs = items(sampler, 0)
    window_of = sampler._plan(0).windows
    assert np.all(np.diff(window_of) >= 0)
    left_over = sum(int((number_of[list(rows)] != of).sum()) for rows, of in zip(packs, window_of, strict=True))
    assert 0 < left_over < 0.01 * 40_000


def test_fewer_rows_than_a_step_takes_make_a_pack_each():
    sampler = PackedSampler(make_order(np.array([5, 5, 5])), 100, packs_per_step=8)
    assert sorted(items(sampler, 0)) == [(0,), (1,), (2,)]


def test_the_same_packs_whatever_the_number_of_processes():
    lengths = like_libritts(2000, 20, 1024)
    one = PackedSampler(make_order(lengths), 1024, packs_per_step=8)
    other = PackedSampler(make_order(lengths), 1024, packs_per_step=8)
    assert items(one, 5) == items(other, 5)
    assert items(one, 5) != items(PackedSampler(make_order(lengths, seed=1), 1024, packs_per_step=8), 5)


def test_a_row_longer_than_a_pack_is_refused_with_numbers():
    with pytest.raises(ConfigError, match=r"2 rows are longer than the 10 positions .* the longest 12"):
        PackedSampler(make_order(np.array([3, 11, 12])), 10)


def test_epochs_that_pack_worse_fall_back_on_packs_known_to_fit(monkeypatch):
    """Rows of a task of weight 0.5 differ from epoch to epoch; the promised number of packs holds all the same."""
    lengths = like_libritts(4000, 20, 700)
    task_of = np.arange(4000) % 2
    order = make_order(lengths, tasks=["tts", "asr"], task_of=task_of, weights={"asr": 0.5})
    sampler = PackedSampler(order, 700)
    ordinary = items(sampler, 3)
    real = sampler._fill

    def wasteful(epoch, sizes):
        plan = real(epoch, sizes)
        if sizes is order.bounds:
            return plan
        ones = np.ones_like(plan.rows)
        return type(plan)(plan.rows, ones, np.zeros_like(ones))

    monkeypatch.setattr(sampler, "_fill", wasteful)
    sampler._known = None
    packs = items(sampler, 3)
    assert len(packs) == len(ordinary) == len(sampler)
    assert max(lengths[list(rows)].sum() for rows in packs) <= 700
    assert sorted(row for rows in packs for row in rows) == sorted(row for rows in ordinary for row in rows)


def test_ordinary_epochs_do_not_need_the_fallback_which_knows_no_windows(monkeypatch):
    def unexpected(epoch):
        raise AssertionError(f"epoch {epoch} needs more packs than there are")

    sampler = PackedSampler(make_order(like_libritts(20_000, 240, 4096), group=16), 4096)
    monkeypatch.setattr(sampler, "_as_in_template", unexpected)
    assert [len(items(sampler, epoch)) for epoch in range(6)] == [len(sampler)] * 6


def test_rows_of_a_step_can_be_named_afterwards():
    sampler = PackedSampler(make_order(like_libritts(500, 20, 600)), 600, packs_per_step=4)
    packs = items(sampler, 1)
    assert sampler.rows_of(1, 8, 12).tolist() == [row for rows in packs[8:12] for row in rows]


class Echo:
    """A training set whose examples are the items themselves."""

    def __init__(self, clock: Clock, size: int) -> None:
        self.clock, self.size = clock, size

    def set_epoch(self, epoch: int) -> None:
        self.clock.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, item):
        return item


def loaders(world: int, batch: int, lengths: np.ndarray) -> list:
    """One data loader for each of ``world`` processes, sharded as transformers' trainer shards it."""
    found = []
    for process in range(world):
        order = make_order(lengths, group=64)
        sampler = PackedSampler(order, 600, packs_per_step=2 * batch * world)
        packs = PackedSet(Echo(order.clock, len(lengths)))
        plain = DataLoader(packs, batch_size=batch, sampler=sampler, collate_fn=list)
        found.append(prepare_data_loader(plain, num_processes=world, process_index=process, put_on_device=False))
    return found


def read(loader, epoch: int) -> list:
    """Batches of ``epoch``, asked for in the way of `Trainer._run_epoch`."""
    loader.set_epoch(epoch)
    inner = getattr(getattr(loader, "batch_sampler", None), "batch_sampler", None)
    if hasattr(inner, "set_epoch"):
        inner.set_epoch(epoch)
    return list(loader)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_resuming_at_any_batch_of_any_epoch_goes_on_with_the_same_batches(world):
    lengths = like_libritts(400, 20, 600)
    whole = [[read(loader, epoch) for epoch in range(2)] for loader in loaders(world, 2, lengths)]
    steps = len(whole[0][1])
    assert {len(batches) for epochs in whole for batches in epochs} == {steps}
    for epoch in range(2):
        assert {number for epochs in whole for batch in epochs[epoch] for pack in batch for number, _ in pack} == {
            epoch
        }
        rows = [row for epochs in whole for batch in epochs[epoch] for pack in batch for _, row in pack]
        assert Counter(rows) == Counter(range(400))
        for done in range(1, steps, 7):
            for process, fresh in enumerate(loaders(world, 2, lengths)):
                assert read(skip_first_batches(fresh, done), epoch) == whole[process][epoch][done:]
