"""Several utterances in one row of fixed length, so that hardly a position is padding: dataset -> training.

Rows are filled by best fit, longest utterance first (within a window of `slmtk.data.sampling`): each goes where it
leaves least room. Johnson et al. 1974 prove at most 11/9 of the smallest number of rows, plus a constant; on
utterances of speech all but 1 or 2 % of the positions are used.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from slmtk.data.collate import Example
from slmtk.data.sampling import EpochOrder
from slmtk.data.training_set import TrainingSet
from slmtk.errors import ConfigError

CARRIED = 8
"""The emptiest eighth of a window's packs is dissolved, and its rows are packed with those of the next window."""
FULL = 0.9
"""A pack of which so much is used stays as it is."""
SPARE = 500
"""Of so many packs one is kept in reserve, because windows of another epoch may fill them a little worse."""


def pack(lengths: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Fill packs of ``capacity`` with whole items, best fit in decreasing order.

    Args:
        lengths: int64 [items], each between 1 and ``capacity``.
        capacity: positions of a pack.

    Returns:
        the items' indices, pack by pack; the same for the same lengths.
    """
    values = lengths.tolist()
    smallest = min(values, default=0)
    packs: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # free positions -> packs that have as many
    frees: list[int] = []  # keys of with_room, sorted
    for item in np.argsort(-lengths, kind="stable").tolist():
        place = bisect_left(frees, values[item])
        if place == len(frees):
            number, free = len(packs), capacity
            packs.append([item])
        else:
            free = frees[place]
            number = with_room[free].pop()
            packs[number].append(item)
            if not with_room[free]:
                del with_room[free], frees[place]
        free -= values[item]
        if free >= smallest:
            if free not in with_room:
                with_room[free] = []
                insort(frees, free)
            with_room[free].append(number)
    return packs


@dataclass(frozen=True)
class _Plan:
    """An epoch's packs: pack i holds rows[ends[i - 1] : ends[i]].

    Attributes:
        rows: int64 [rows of the epoch].
        counts: int64 [packs], rows of each pack.
        windows: int64 [packs], the window that each pack belongs to, ascending.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    windows: NDArray[np.int64]

    def reordered(self, order: NDArray[np.int64]) -> _Plan:
        starts = np.cumsum(self.counts) - self.counts
        counts = self.counts[order]
        # Index of every row in its new place: where its pack began, and how far it stands within the pack.
        within = np.arange(len(self.rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return _Plan(self.rows[np.repeat(starts[order], counts) + within], counts, self.windows[order])


class PackedSampler(Sampler[tuple[int, tuple[int, ...]]]):
    """Yields (epoch, rows of one pack); an epoch has every row of its `EpochOrder` once, in as many packs as any other.

    The number of packs is a multiple of those that an optimiser step takes, so that no process has more or fewer than
    another: a few packs are cut in two to that end. The order does not depend on the number of processes.
    """

    def __init__(self, order: EpochOrder, capacity: int, packs_per_step: int = 1) -> None:
        """Fill packs of ``capacity`` positions.

        Args:
            order: the rows and their lengths.
            capacity: positions of a pack.
            packs_per_step: packs of an optimiser step, over all processes.

        Raises:
            ConfigError: a row is longer than a pack.
        """
        longest, too_long = int(order.lengths.max(initial=0)), int((order.lengths > capacity).sum())
        if too_long:
            raise ConfigError(
                f"{too_long} rows are longer than the {capacity} positions of --pack-tokens, the longest {longest}; "
                f"use --pack-tokens {longest} or more, or build the dataset with a smaller --max-seconds"
            )
        self._order, self._capacity = order, capacity
        self._known: tuple[int, _Plan] | None = None
        template = self._fill(0, order.bounds)
        packs, many = len(template.counts), int(template.windows[-1]) > 0
        packs += -(-packs // SPARE) if many else 0
        self._num_packs = min(-(-packs // packs_per_step) * packs_per_step, order.num_rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the packs of ``epoch``; the trainer calls this or the dataset's, on resuming too."""
        self._order.clock.epoch = epoch

    def __len__(self) -> int:
        """Packs of an epoch."""
        return self._num_packs

    def __iter__(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the packs of the clock's epoch."""
        epoch = self._order.clock.epoch
        plan = self._plan(epoch)
        end = 0
        for count in plan.counts.tolist():
            yield epoch, tuple(plan.rows[end : end + count].tolist())
            end += count

    def rows_of(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Rows of the dataset in packs ``first`` to ``last`` - 1 of ``epoch``, int64 [rows]."""
        plan = self._plan(epoch)
        ends = np.concatenate([[0], np.cumsum(plan.counts)])
        return plan.rows[ends[first] : ends[min(last, self._num_packs)]]

    def used(self, epoch: int = 0) -> float:
        """Part of the positions of ``epoch``'s packs that hold a token, 0 to 1."""
        return float(self._order.lengths[self._order.rows(epoch)].sum()) / (self._num_packs * self._capacity)

    def _plan(self, epoch: int) -> _Plan:
        if self._known is None or self._known[0] != epoch:
            plan = self._fill(epoch, self._order.lengths)
            if len(plan.counts) > self._num_packs:
                plan = self._as_in_template(epoch)
            self._known = epoch, self._shuffled(self._cut(plan, epoch), epoch)
        return self._known[1]

    def _fill(self, epoch: int, lengths: NDArray[np.int64]) -> _Plan:
        """Pack the rows of ``epoch`` window by window."""
        rows, counts, windows = [], [], []
        left = np.zeros(0, np.int64)
        found = list(self._order.windows(epoch))
        for number, window in enumerate(found):
            window = np.concatenate([left, window])
            packs = pack(lengths[window], self._capacity)
            left = left[:0]
            if number < len(found) - 1:
                packs, dissolved = self._emptiest(packs, lengths[window])
                left = window[np.array(dissolved, np.int64)]
            rows.append(window[np.array([place for one in packs for place in one], np.int64)])
            counts.append([len(one) for one in packs])
            windows.append(np.full(len(packs), number))
        return _Plan(np.concatenate(rows), np.concatenate(counts).astype(np.int64), np.concatenate(windows))

    def _emptiest(self, packs: list[list[int]], lengths: NDArray[np.int64]) -> tuple[list[list[int]], list[int]]:
        """Packs that are to stay, and the items of those that are to be packed again."""
        used = np.array([lengths[one].sum() for one in packs])
        emptiest = np.argsort(used, kind="stable")[: len(packs) // CARRIED + 1]
        again = {int(number) for number in emptiest if used[number] < FULL * self._capacity}
        stay = [one for number, one in enumerate(packs) if number not in again]
        return stay, [place for number in sorted(again) for place in packs[number]]

    def _as_in_template(self, epoch: int) -> _Plan:
        """Rows of ``epoch`` in the packs of the template, whose items are as long or longer, rank by rank.

        Never needed in practice, but a promise of as many packs in every epoch has to hold for any lengths.
        """
        template = self._fill(0, self._order.bounds)
        slots = np.argsort(-self._order.bounds[template.rows], kind="stable")
        rows = self._order.rows(epoch)
        placed = np.empty_like(template.rows)
        placed[slots] = rows[np.argsort(-self._order.lengths[rows], kind="stable")]
        return _Plan(placed, template.counts, template.windows)

    def _cut(self, plan: _Plan, epoch: int) -> _Plan:
        """Cut packs in two until there are as many as in every epoch."""
        random = np.random.default_rng([self._order.seed, epoch, 3])
        while missing := self._num_packs - len(plan.counts):
            several = np.flatnonzero(plan.counts > 1)
            cut = np.sort(random.choice(several, min(missing, len(several)), replace=False))
            second = plan.counts[cut] // 2
            counts = plan.counts.copy()
            counts[cut] -= second
            counts, windows = np.insert(counts, cut + 1, second), np.insert(plan.windows, cut + 1, plan.windows[cut])
            plan = _Plan(plan.rows, counts, windows)
        return plan

    def _shuffled(self, plan: _Plan, epoch: int) -> _Plan:
        random = np.random.default_rng([self._order.seed, epoch, 4])
        return plan.reordered(np.lexsort([random.random(len(plan.counts)), plan.windows]))


class PackedSet(Dataset[list[Example]]):
    """The packs of a training set; item (epoch, rows) is the list of these rows' examples."""

    def __init__(self, train_set: TrainingSet) -> None:
        """Read rows from ``train_set``."""
        self.rows = train_set

    def set_epoch(self, epoch: int) -> None:
        """Pass ``epoch`` on; the data loader calls this or the sampler's."""
        self.rows.set_epoch(epoch)

    def __len__(self) -> int:
        """Rows of the training set; how many packs they make, the sampler knows."""
        return len(self.rows)

    def __getitem__(self, item: tuple[int, tuple[int, ...]]) -> list[Example]:
        """Return the examples of one pack, in its order.

        Raises:
            ConfigError: as `TrainingSet.__getitem__`.
        """
        epoch, rows = item
        return [self.rows[epoch, row] for row in rows]
