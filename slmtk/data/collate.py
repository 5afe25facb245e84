"""Rows of a dataset -> a batch of ids and labels: where every head's targets are lined up. Dataset -> model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slmtk.data.prompts import Prompt
from slmtk.data.vocabulary import Vocabulary
from slmtk.layout import MISSING, Layout, from_steps, to_steps

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """One utterance as the model sees it.

    Attributes:
        input_ids: int64 [L, H].
        text_labels: int64 [L], ids or `IGNORE`.
        speech_labels: int64 [L, H], rows of the heads or `IGNORE`.
        placeholder: the speaker's position or -1.
        speaker: float32 [D] or None.
    """

    input_ids: Tensor
    text_labels: Tensor
    speech_labels: Tensor
    placeholder: int
    speaker: Tensor | None


def make_example(
    prompt: Prompt, codes: Tensor, vocabulary: Vocabulary, layout: Layout, speaker: Tensor | None = None
) -> Example:
    """Put ``prompt`` around ``codes``.

    Args:
        prompt: the ids before and behind the codes.
        codes: int64 [K, T].
        vocabulary: says which id stands for which code.
        layout: says which codes are one step.
        speaker: float32 [D] for the prompt's placeholder.

    Returns:
        the example. Its labels stand at the position of the token itself, not yet shifted: ``<sosp>`` is a text label
        and predicts the first step from its place; the place of the last step predicts ``<eosp>`` in every head.

    Raises:
        ShapeError: the codes have another K than the layout.
    """
    steps = to_steps(codes, layout)
    speech_ids = step_ids(steps, vocabulary, layout)
    heads = layout.num_heads
    before, after = (
        torch.tensor(ids, dtype=torch.int64)[:, None].expand(-1, heads) for ids in (prompt.before, prompt.after)
    )
    end = torch.full((1, heads), vocabulary.eosp)
    input_ids = torch.cat([before, speech_ids, end, after])
    first, last = len(prompt.before), len(prompt.before) + len(steps)
    text_labels = input_ids[:, 0].clone()
    text_labels[: prompt.label_start] = IGNORE
    speech_labels = torch.full_like(input_ids, IGNORE)
    if layout.kind == "grouped":
        text_labels[first : last + 1] = IGNORE
        speech_labels[first : last + 1] = torch.cat(
            [step_rows(steps, vocabulary, layout), _eosp_rows(vocabulary, layout)]
        )
    placeholder = -1 if prompt.placeholder is None else prompt.placeholder
    return Example(input_ids, text_labels, speech_labels, placeholder, speaker)


def step_ids(steps: Tensor, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Codes of steps -> ids of the vocabulary: int64 [N, H] with `MISSING` -> int64 [N, H]."""
    offsets = [vocabulary.code_offset(k) for k in range(layout.num_codebooks)]
    if layout.kind == "interleaved":
        streams = torch.arange(len(steps)) % layout.num_codebooks
        return steps + torch.tensor(offsets)[streams][:, None]
    ids = steps + torch.tensor(offsets * layout.frames_per_step)
    return torch.where(steps == MISSING, vocabulary.pad, ids)


def step_rows(steps: Tensor, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Codes of steps -> rows of the heads: a code is its own row, ``<pad>`` is the row behind ``<eosp>``'s."""
    pad_rows = _eosp_rows(vocabulary, layout) + 1
    return torch.where(steps == MISSING, pad_rows, steps)


def _eosp_rows(vocabulary: Vocabulary, layout: Layout) -> Tensor:
    sizes = vocabulary.spec.codebook_sizes
    return torch.tensor([[sizes[layout.stream_of(head)] for head in range(layout.num_heads)]])


def codes_of_labels(example: Example, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Read the codes back from what the model is trained to predict: int64 [K, T].

    The way back goes through the labels alone, so that a dataset or layout that teaches noise can be heard.

    Raises:
        ShapeError: interleaved codes end within a frame.
    """
    sizes = vocabulary.spec.codebook_sizes
    if layout.kind == "interleaved":
        labels = example.text_labels
        ids = labels[(labels >= vocabulary.first_code) & (labels < vocabulary.eosp)]
        streams = torch.arange(len(ids)) % layout.num_codebooks
        offsets = torch.tensor([vocabulary.code_offset(k) for k in range(layout.num_codebooks)])
        return from_steps((ids - offsets[streams])[:, None], layout)
    rows = example.speech_labels[example.speech_labels[:, 0] != IGNORE]
    limits = torch.tensor([sizes[layout.stream_of(head)] for head in range(layout.num_heads)])
    rows = rows[(rows != limits).any(dim=1)]  # without the step of <eosp>
    return from_steps(torch.where(rows >= limits, MISSING, rows), layout)


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """Pad examples on the right to the longest: the arguments of `SpeechLM.forward`, as tensors [B, ...]."""
    length = max(len(example.input_ids) for example in examples)
    heads = examples[0].input_ids.shape[1]
    size = len(examples)
    batch = {
        "input_ids": torch.full((size, length, heads), pad_id),
        "attention_mask": torch.zeros(size, length, dtype=torch.int64),
        "text_labels": torch.full((size, length), IGNORE),
        "speech_labels": torch.full((size, length, heads), IGNORE),
        "placeholder": torch.tensor([example.placeholder for example in examples]),
    }
    for row, example in enumerate(examples):
        end = len(example.input_ids)
        batch["input_ids"][row, :end] = example.input_ids
        batch["attention_mask"][row, :end] = 1
        batch["text_labels"][row, :end] = example.text_labels
        batch["speech_labels"][row, :end] = example.speech_labels
    speakers = [example.speaker for example in examples]
    if any(speaker is not None for speaker in speakers):
        width = max(len(speaker) for speaker in speakers if speaker is not None)
        vectors = [torch.zeros(width) if speaker is None else speaker for speaker in speakers]
        batch["speaker"] = torch.stack(vectors).float()
    return batch
