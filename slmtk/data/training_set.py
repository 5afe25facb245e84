"""A dataset's split as the trainer wants it: examples by index, and an order that puts like lengths together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from slmtk.data.collate import Example, make_example
from slmtk.data.dataset import DatasetFolder, DatasetRow
from slmtk.data.prompts import Prompt, qa_prompt, tts_prompt
from slmtk.errors import ConfigError
from slmtk.layout import Layout

PROMPT_TOKENS = 40
"""Roughly what a template adds to a row's own text tokens; only the order of batches depends on it."""


class TrainingSet(Dataset[Example]):
    """Rows of one split as `Example`."""

    def __init__(
        self,
        folder: DatasetFolder,
        split: str,
        layout: Layout,
        *,
        speaker_aware: bool,
        reference: str = "other",
        seed: int = 0,
    ) -> None:
        """Open ``split`` of ``folder`` for a model of ``layout``.

        ``reference`` is whose speaker vector conditions a row: that of "other" recordings of the same speaker, drawn
        anew in each epoch from ``seed``, or the row's "own".
        """
        self._tokenizer = folder.tokenizer
        self._vocabulary = folder.vocabulary
        self._layout = layout
        self._speaker_aware = speaker_aware
        self.rows = folder.rows(split)
        self._seed, self._epoch = seed, 0
        self._peers: dict[str, list[int]] = {}
        if speaker_aware and reference == "other":
            for place, speaker in enumerate(self.rows.speakers):
                if speaker is not None:
                    self._peers.setdefault(speaker, []).append(place)

    def set_epoch(self, epoch: int) -> None:
        """Draw the references of ``epoch``; the data loader calls this, on resuming too."""
        self._epoch = epoch

    def reference_of(self, index: int) -> int:
        """Row whose speaker vector conditions row ``index``: its own if its speaker has no other or is not known.

        A vector estimated from the very speech that is to be predicted tells of its words, and a model that has learnt
        to read them there does not heed the text.
        """
        peers = self._peers.get(self.rows.speakers[index] or "", [])
        if len(peers) < 2:
            return index
        chosen = peers[int(np.random.default_rng([self._seed, self._epoch, index]).integers(len(peers) - 1))]
        return peers[-1] if chosen == index else chosen

    def __len__(self) -> int:
        """Rows of the split."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        """Return row ``index`` as an example.

        Raises:
            ConfigError: the model is speaker-aware and the row has no speaker vector.
        """
        row = self.rows[index]
        speaker = None
        if self._speaker_aware:
            vector = self.rows[self.reference_of(index)].speaker_vector
            if vector is None:
                raise ConfigError(f"row {row.id!r} has no speaker vector; train without --speaker-aware")
            speaker = torch.from_numpy(np.array(vector, dtype=np.float32))
        codes = torch.from_numpy(np.array(row.codes, dtype=np.int64))
        return make_example(self._prompt(row), codes, self._vocabulary, self._layout, speaker)

    def _prompt(self, row: DatasetRow) -> Prompt:
        if row.task == "qa":
            return qa_prompt(
                row.question or "", row.text, self._tokenizer, self._vocabulary, speaker_aware=self._speaker_aware
            )
        return tts_prompt(row.text, self._tokenizer, self._vocabulary, speaker_aware=self._speaker_aware)

    def lengths(self) -> NDArray[np.int64]:
        """About how many positions each row takes, int64 [rows]."""
        frames = np.asarray(self.rows.num_frames, dtype=np.int64)
        steps = -(-frames * self._layout.num_codebooks // self._layout.num_heads)
        return steps + np.asarray(self.rows.num_text_tokens, dtype=np.int64) + PROMPT_TOKENS


class LengthBucketSampler(Sampler[int]):
    """Shuffled indices, each run of ``batch_size`` of like lengths; the order depends on seed and epoch alone."""

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, seed: int, *, batches_per_bucket: int = 32) -> None:
        """``lengths`` int64 [rows]; a bucket of ``batches_per_bucket`` batches is drawn at random, then sorted."""
        self._lengths = lengths
        self._batch_size = batch_size
        self._bucket = batch_size * batches_per_bucket
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``; the trainer calls this, on resuming too."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Rows."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield every row once."""
        random = np.random.default_rng([self._seed, self._epoch])
        order = random.permutation(len(self._lengths))
        buckets = [order[i : i + self._bucket] for i in range(0, len(order), self._bucket)]
        batches: list[Any] = []
        for bucket in buckets:
            ordered = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches += [ordered[i : i + self._batch_size] for i in range(0, len(ordered), self._batch_size)]
        # A short batch in the middle would shift every batch after it, so it stays last.
        short = [batch for batch in batches if len(batch) < self._batch_size]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        for index in random.permutation(len(full)):
            yield from (int(row) for row in full[index])
        for batch in short:
            yield from (int(row) for row in batch)
