"""Examples -> a batch of ids and labels, padded or packed. Dataset -> model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slmtk.data.examples import IGNORE, Example, codes_of_labels, make_example, step_ids, step_rows
from slmtk.errors import ShapeError

__all__ = ["IGNORE", "Example", "codes_of_labels", "collate", "collate_packed", "make_example", "step_ids", "step_rows"]


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """Pad examples on the right to the longest, one a row.

    Args:
        examples: B of them, one or more, of one layout.
        pad_id: id at positions that nobody attends to.

    Returns:
        the arguments of `SpeechLM.forward`: input_ids int64 [B, L, H], attention_mask int64 [B, L], text_labels int64
        [B, L], speech_labels int64 [B, L, H], placeholder int64 [P, 2] (row and position of every placeholder) and,
        where there are placeholders, speaker float32 [P, D], the vector of each.
    """
    batch = _rows([[example] for example in examples], pad_id, None)
    mask = torch.zeros_like(batch["text_labels"])
    for row, example in enumerate(examples):
        mask[row, : len(example.input_ids)] = 1
    return {**batch, "attention_mask": mask}


def collate_packed(rows: Sequence[Sequence[Example]], pad_id: int, length: int | None = None) -> dict[str, Tensor]:
    """Lay several examples behind each other in each row.

    Args:
        rows: the examples of each of the B rows, of one layout.
        pad_id: id at the positions behind a row's last example.
        length: L; None takes that of the longest row.

    Returns:
        as `collate`, but for attention_mask: segments int64 [B, L] (1, 2, ... for a row's examples, 0 for the padding
        at its end; a position attends to its own segment alone) and position_ids int64 [B, L] (from 0 in every
        example, and again in the padding).

    Raises:
        ShapeError: a row is longer than ``length``.
    """
    batch = _rows(rows, pad_id, length)
    segments = torch.zeros_like(batch["text_labels"])
    positions = torch.zeros_like(segments)
    for row, examples in enumerate(rows):
        start = 0
        for number, example in enumerate(examples, 1):
            end = start + len(example.input_ids)
            segments[row, start:end] = number
            positions[row, start:end] = torch.arange(end - start)
            start = end
        positions[row, start:] = torch.arange(segments.shape[1] - start)
    return {**batch, "segments": segments, "position_ids": positions}


def _rows(rows: Sequence[Sequence[Example]], pad_id: int, length: int | None) -> dict[str, Tensor]:
    """Ids, labels and speakers of examples that stand behind each other in each row."""
    longest = max(sum(len(example.input_ids) for example in examples) for examples in rows)
    if length is not None and longest > length:
        raise ShapeError(f"a row of examples has {longest} positions and does not fit into {length}; pack fewer")
    heads = next(example.input_ids.shape[1] for examples in rows for example in examples)
    shape = (len(rows), longest if length is None else length)
    batch = {
        "input_ids": torch.full((*shape, heads), pad_id),
        "text_labels": torch.full(shape, IGNORE),
        "speech_labels": torch.full((*shape, heads), IGNORE),
    }
    places, speakers = [], []
    for row, examples in enumerate(rows):
        start = 0
        for example in examples:
            end = start + len(example.input_ids)
            for name in batch:
                batch[name][row, start:end] = getattr(example, name)
            if example.placeholder >= 0:
                places.append([row, start + example.placeholder])
                speakers.append(example.speaker)
            start = end
    batch["placeholder"] = torch.tensor(places, dtype=torch.int64).reshape(-1, 2)
    vectors = [speaker for speaker in speakers if speaker is not None]
    # One that is missing leaves all out: the model then says that it needs them.
    if vectors and len(vectors) == len(speakers):
        batch["speaker"] = torch.stack(vectors).float()
    return batch
