"""Batches, padded and packed, with numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from slmtk.data.collate import collate, collate_packed
from slmtk.data.examples import IGNORE, Example
from slmtk.errors import ShapeError


def example(first: int, length: int, placeholder: int = -1, speaker: list[float] | None = None) -> Example:
    """Ids first, first + 1, ... in two heads; the labels are the ids, but for the first position."""
    ids = torch.arange(first, first + length)
    labels = ids.clone()
    labels[0] = IGNORE
    vector = None if speaker is None else torch.tensor(speaker)
    return Example(torch.stack([ids, ids + 100], dim=1), labels, labels[:, None].expand(-1, 2), placeholder, vector)


A, B, C = example(10, 3, 1, [1.0, 2.0]), example(20, 2), example(30, 1, 0, [3.0, 4.0])


def test_a_padded_batch_names_the_places_of_its_speakers_by_row_and_position():
    batch = collate([A, B, C], pad_id=0)
    assert batch["input_ids"][:, :, 0].tolist() == [[10, 11, 12], [20, 21, 0], [30, 0, 0]]
    assert batch["input_ids"][:, :, 1].tolist() == [[110, 111, 112], [120, 121, 0], [130, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch["text_labels"].tolist() == [[IGNORE, 11, 12], [IGNORE, 21, IGNORE], [IGNORE] * 3]
    assert batch["placeholder"].tolist() == [[0, 1], [2, 0]]
    assert batch["speaker"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert set(batch) == {"input_ids", "attention_mask", "text_labels", "speech_labels", "placeholder", "speaker"}


def test_packed_rows_hold_whole_examples_each_in_its_segment_with_positions_of_its_own():
    batch = collate_packed([[A, B], [C]], pad_id=0, length=7)
    assert batch["input_ids"][:, :, 0].tolist() == [[10, 11, 12, 20, 21, 0, 0], [30, 0, 0, 0, 0, 0, 0]]
    assert batch["segments"].tolist() == [[1, 1, 1, 2, 2, 0, 0], [1, 0, 0, 0, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 0, 1, 2, 3, 4, 5]]
    assert batch["text_labels"].tolist() == [
        [IGNORE, 11, 12, IGNORE, 21, IGNORE, IGNORE],
        [IGNORE] * 7,
    ]
    assert torch.equal(batch["speech_labels"], batch["text_labels"][..., None].expand(-1, -1, 2))
    assert batch["placeholder"].tolist() == [[0, 1], [1, 0]]
    assert batch["speaker"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert "attention_mask" not in batch


def test_a_placeholder_behind_other_examples_is_found_where_it_lies():
    batch = collate_packed([[B, C, A]], pad_id=0)
    assert batch["input_ids"].shape == (1, 6, 2)
    assert batch["placeholder"].tolist() == [[0, 2], [0, 4]]
    assert batch["speaker"].tolist() == [[3.0, 4.0], [1.0, 2.0]]


def test_a_batch_without_speakers_has_no_places_and_no_vectors():
    batch = collate([B], pad_id=0)
    assert batch["placeholder"].shape == (0, 2)
    assert batch["placeholder"].dtype == torch.int64
    assert "speaker" not in batch


def test_a_row_that_is_too_long_is_refused():
    with pytest.raises(ShapeError, match="5 positions and does not fit into 4"):
        collate_packed([[C], [A, B]], pad_id=0, length=4)
