"""Which rows of a dataset an epoch reads, and in what order: near each other on disk, shuffled all the same.

**The rule.** The row groups of the split are shuffled; `WINDOW_GROUPS` of them at a time are a window, whose rows are
shuffled (and put into batches or packs) among themselves before the next window begins. So a row group is decoded once
an epoch, not once a row, and no more than a window need stay in memory, however large the dataset is. The order
follows from seed and epoch alone: every process computes all of it and takes its share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from slmtk.errors import ConfigError

WINDOW_GROUPS = 32
"""16,384 rows of a dataset that slmtk wrote: long enough to fill packs, some 200 MB of decoded codes at most."""


@dataclass
class Clock:
    """The epoch, in one place: accelerate tells it now to the sampler, now to the dataset, never reliably to both."""

    epoch: int = 0


def parse_task_weights(text: str) -> dict[str, float]:
    """Read "tts=1,asr=0.5"; empty text is no weights at all.

    Raises:
        ConfigError: it is not of that form, a weight is negative or not finite, or a task stands twice.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        task, sign, value = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not task or not sign or not 0 <= weight < float("inf"):
            raise ConfigError(f"task weights {text!r}: found {part!r}; expected task=weight, such as tts=1,asr=0.5")
        if task in weights:
            raise ConfigError(f"task weights {text!r}: {task} stands there twice; give it one weight")
        weights[task] = weight
    return weights


class EpochOrder:
    """The rows of every epoch in windows, see the rule above.

    A task of weight w gives w times its rows: each row as often as w is whole, and of what remains that share, drawn
    anew in each epoch, one out of each stretch of rows of like length. So epochs differ in rows but not in size.

    Attributes:
        lengths: int64 [rows], positions that each row takes.
        bounds: int64 [rows], those of the longest row that may be drawn in a row's stead. Of one epoch's bounds and
            another's lengths, both sorted, no length exceeds the bound at its place.
        clock: the epoch that is being read.
        seed: of all that is drawn.
        num_rows: rows of an epoch, those read twice counted twice; the same for every epoch.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        group_starts: NDArray[np.int64],
        clock: Clock,
        seed: int,
        *,
        tasks: Sequence[str] = (),
        task_of: NDArray[np.integer] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Take what is known of the rows.

        Args:
            lengths: int64 [rows].
            group_starts: int64 [groups + 1], first row of each row group, and the number of rows.
            clock: shared with the dataset.
            seed: of the order.
            tasks: names of the tasks; needed with ``weights``, as is ``task_of``.
            task_of: integer [rows], index into ``tasks``.
            weights: by task, 0 or more; a task that is not named has weight 1.

        Raises:
            ConfigError: a weight is of a task that no row has, or no row is left.
        """
        self.lengths, self.clock, self.seed = lengths, clock, seed
        self._starts = group_starts
        self._whole = np.arange(len(lengths), dtype=np.int64)  # read in every epoch
        self._strata: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # rows by length, edges of the stretches
        self.bounds = lengths
        if weights and task_of is not None:
            self._weigh(tasks, task_of, weights)
        self.num_rows = len(self._whole) + sum(len(edges) - 1 for _, edges in self._strata)
        if not self.num_rows:
            raise ConfigError("no row is left to train on; give a task a weight greater than 0")

    def _weigh(self, tasks: Sequence[str], task_of: NDArray[np.integer], weights: Mapping[str, float]) -> None:
        if unknown := [task for task in weights if task not in tasks]:
            raise ConfigError(f"a weight for task {unknown[0]!r}, but the split has {', '.join(tasks)}")
        whole, bounds = [], self.lengths.copy()
        for number, task in enumerate(tasks):
            rows = np.flatnonzero(task_of == number)
            times, share = divmod(weights.get(task, 1.0), 1.0)
            whole.append(np.repeat(rows, int(times)))
            if drawn := round(share * len(rows)):
                by_length = rows[np.argsort(self.lengths[rows], kind="stable")]
                edges = np.arange(drawn + 1) * len(rows) // drawn
                self._strata.append((by_length, edges))
                bounds[by_length] = np.repeat(self.lengths[by_length[edges[1:] - 1]], np.diff(edges))
        self._whole, self.bounds = np.sort(np.concatenate(whole)), bounds

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """Rows of ``epoch`` in the dataset's order, int64 [num_rows]."""
        if not self._strata:
            return self._whole
        return np.sort(np.concatenate([self._whole, *self._drawn(epoch)]))

    def _drawn(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, epoch, 1])
        for rows, edges in self._strata:
            yield rows[edges[:-1] + (random.random(len(edges) - 1) * np.diff(edges)).astype(np.int64)]

    def windows(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of ``epoch``, a window at a time, shuffled within it."""
        random = np.random.default_rng([self.seed, epoch])
        rows = self.rows(epoch)
        places = np.searchsorted(rows, self._starts)
        groups = random.permutation(len(self._starts) - 1)
        for first in range(0, len(groups), WINDOW_GROUPS):
            chosen = groups[first : first + WINDOW_GROUPS]
            window = np.concatenate([rows[places[group] : places[group + 1]] for group in chosen])
            if len(window):
                yield random.permutation(window)


class LengthBucketSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, row), each run of ``batch_size`` rows of like length, the runs shuffled within a window."""

    def __init__(self, order: EpochOrder, batch_size: int, *, batches_per_bucket: int = 32) -> None:
        """A bucket of ``batches_per_bucket`` batches is taken from a shuffled window, then sorted by length."""
        self._order = order
        self._batch_size = batch_size
        self._bucket = batch_size * batches_per_bucket

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``; the trainer calls this or the dataset's, on resuming too."""
        self._order.clock.epoch = epoch

    def __len__(self) -> int:
        """Rows of an epoch."""
        return self._order.num_rows

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the rows of the clock's epoch."""
        epoch = self._order.clock.epoch
        return ((epoch, row) for batch in self._batches(epoch) for row in batch.tolist())

    def rows_of(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Rows of the dataset in items ``first`` to ``last`` - 1 of ``epoch``'s order, int64 [last - first]."""
        return np.concatenate([*self._batches(epoch), np.zeros(0, np.int64)])[first:last]

    def _batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        random = np.random.default_rng([self._order.seed, epoch, 2])
        left = np.zeros(0, np.int64)
        for window in self._order.windows(epoch):
            # A short batch would shift every batch after it, so its rows wait for the next window.
            rows = np.concatenate([left, window])
            whole = len(rows) - len(rows) % self._batch_size
            rows, left = rows[:whole], rows[whole:]
            batches: list[NDArray[np.int64]] = []
            for first in range(0, whole, self._bucket):
                bucket = rows[first : first + self._bucket]
                ordered = bucket[np.argsort(self._order.lengths[bucket], kind="stable")]
                batches += np.split(ordered, range(self._batch_size, len(ordered), self._batch_size))
            yield from (batches[place] for place in random.permutation(len(batches)))
        if len(left):
            yield left
