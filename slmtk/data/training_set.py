"""A dataset's split as the trainer wants it: examples by index, each spoken row with a reference of its speaker."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from slmtk.data.dataset import DatasetFolder
from slmtk.data.examples import Example, row_example
from slmtk.data.prompts import SPEAKING_TASKS
from slmtk.data.sampling import Clock, EpochOrder
from slmtk.data.sampling_lengths import Lengths
from slmtk.layout import Layout

NEAR = 64
"""Recordings among which a reference is drawn: those of the speaker that stand nearest to the row.

In a corpus ordered by speaker they lie in the row's own row group or the next, so that a reference costs no reading."""


class TrainingSet(Dataset[Example]):
    """What there is to learn in one split, as `Example`.

    Attributes:
        rows: the split's rows.
        clock: the epoch, which a sampler made from `order` shares.
    """

    def __init__(
        self,
        folder: DatasetFolder,
        split: str,
        layout: Layout,
        *,
        speaker_aware: bool,
        reference: str = "other",
        reference_prompt: bool = False,
        seed: int = 0,
    ) -> None:
        """Open ``split`` of ``folder`` for a model of ``layout``.

        Args:
            folder: the dataset.
            split: "train", "dev" or "test".
            layout: of the model.
            speaker_aware: prompts have a place for a speaker vector.
            reference: whose voice conditions a row: that of "other" recordings of the same speaker, drawn anew in each
                epoch from ``seed``, or the row's "own".
            reference_prompt: the reference's codes stand in the prompt, not its vector.
            seed: of the references.

        Raises:
            ConfigError: there is no such split.
            FormatError: a file is missing or damaged.
        """
        self._folder, self._split, self._layout = folder, split, layout
        self._tokenizer, self._vocabulary = folder.tokenizer, folder.vocabulary
        self._speaker_aware, self._reference_prompt = speaker_aware, reference_prompt
        self.rows = folder.rows(split)
        self.clock = Clock()
        self._seed = seed
        self._lengths: dict[bool, NDArray[np.int64]] = {}
        self._voices: _Voices | None = None
        if (speaker_aware or reference_prompt) and reference == "other":
            self._voices = _Voices(self.rows.speakers.codes, self.rows.utterances)

    def set_epoch(self, epoch: int) -> None:
        """Draw the references of ``epoch`` for rows that are asked for without one."""
        self.clock.epoch = epoch

    def reference_of(self, index: int, epoch: int | None = None) -> int:
        """Row whose voice conditions row ``index``: its own if its speaker has no other recording or is not known.

        A vector estimated from the very speech that is to be predicted tells of its words, and a model that has learnt
        to read them there does not heed the text. Drawn is one of the `NEAR` recordings of the speaker that stand
        nearest, the utterance itself left out whatever tasks it stands there for.
        """
        if self._voices is None:
            return index
        random = np.random.default_rng([self._seed, self.clock.epoch if epoch is None else epoch, index])
        return self._voices.draw(index, random)

    def __len__(self) -> int:
        """Rows: utterances and texts, each once for every task it stands for."""
        return len(self.rows)

    def __getitem__(self, item: int | tuple[int, int]) -> Example:
        """Return a row as an example.

        Args:
            item: index of the row, with the clock's epoch; or (epoch, index), as samplers say it, so that a worker
                process draws the references of the right epoch whenever it was started.

        Raises:
            ConfigError: the model is told a voice and the row has none: no speaker vector, or no codes.
        """
        epoch, index = item if isinstance(item, tuple) else (self.clock.epoch, item)
        row = self.rows[index]
        reference = None
        if (self._speaker_aware or self._reference_prompt) and row.task in SPEAKING_TASKS:
            other = self.reference_of(index, epoch)
            reference = row if other == index else self.rows[other]
        return row_example(
            row,
            reference,
            self._tokenizer,
            self._vocabulary,
            self._layout,
            speaker_aware=self._speaker_aware,
            reference_prompt=self._reference_prompt,
        )

    def lengths(self, *, exact: bool = False) -> NDArray[np.int64]:
        """Positions that each row takes, int64 [rows].

        Args:
            exact: count the tokens of every text in its prompt: some 30 seconds for a million sentences and a
                tokenizer of words, nothing for bytes. Otherwise the row's own tokens and the template's are added up,
                which is a token or two wrong where a word of the text meets one of the template. With a reference in
                the prompt the length is the longest that the row can take in any epoch.
        """
        if exact not in self._lengths:
            lengths = Lengths(
                self._folder,
                self._split,
                self.rows,
                self._layout,
                speaker_aware=self._speaker_aware,
                reference_prompt=self._reference_prompt,
            )
            self._lengths[exact] = lengths.counted() if exact else lengths.estimated()
        return self._lengths[exact]

    def order(self, seed: int, weights: Mapping[str, float] | None = None, *, packed: bool = False) -> EpochOrder:
        """Order of this set's rows in every epoch, for `LengthBucketSampler` or, ``packed``, for `PackedSampler`.

        Args:
            seed: of the order.
            weights: of tasks, see `EpochOrder`.
            packed: lengths have to be exact.

        Raises:
            ConfigError: a weight is of a task that the split does not have, or no row is left.
        """
        tasks = self.rows.tasks
        return EpochOrder(
            self.lengths(exact=packed),
            self.rows.group_starts,
            self.clock,
            seed,
            tasks=[task or "" for task in tasks.names],
            task_of=tasks.codes,
            weights=weights,
        )


class _Voices:
    """The recordings of every speaker, in the order of the dataset."""

    def __init__(self, speakers: NDArray[np.int32], utterances: NDArray[np.int64]) -> None:
        """Take the speaker (-1: not known) and the utterance of every row; an utterance's rows stand side by side."""
        first = np.flatnonzero(np.diff(utterances, prepend=-1))  # an utterance's first row stands for it
        known = first[speakers[first] >= 0]
        self._speakers, self._utterances = speakers, utterances
        self._rows = known[np.argsort(speakers[known], kind="stable")]
        self._place = np.full(len(utterances) and int(utterances[-1]) + 1, -1, np.int64)
        self._place[utterances[self._rows]] = np.arange(len(self._rows))
        counts = np.bincount(speakers[known], minlength=1)
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts

    def draw(self, row: int, random: np.random.Generator) -> int:
        """Return another utterance's row of the same speaker, ``row`` itself if there is none."""
        speaker = int(self._speakers[row])
        if speaker < 0:
            return row
        place = int(self._place[self._utterances[row]])
        start, end = int(self._starts[speaker]), int(self._ends[speaker])
        if end - start < 2:
            return row
        first = max(start, min(place - NEAR // 2, end - NEAR - 1))
        last = min(end, first + NEAR + 1)
        chosen = first + int(random.integers(last - first - 1))
        return int(self._rows[chosen + (chosen >= place)])
