"""A row of a dataset -> what the model reads and learns: where every head's targets are lined up. Dataset -> batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmtk.data.dataset_columns import DatasetRow
from slmtk.data.prompts import (
    ANSWER_TASKS,
    HEARING_TASKS,
    SPEAKING_TASKS,
    SPEECH_ALONE,
    Prompt,
    Words,
    asr_prompt,
    qa_prompt,
    text_prompt,
    tts_prompt,
)
from slmtk.data.text_tokenizer import TextTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.layout import MISSING, Layout, from_steps, to_steps
from slmtk.spec import CodecSpec

IGNORE = -100
REFERENCE_SECONDS = 3.0
"""Of a reference's codes, at most so much of their beginning stands in a prompt."""


@dataclass(frozen=True)
class Example:
    """One row as the model sees it.

    Attributes:
        input_ids: int64 [L, H].
        text_labels: int64 [L], ids or `IGNORE`.
        speech_labels: int64 [L, H], rows of the heads or `IGNORE`.
        placeholder: the speaker's position or -1.
        speaker: float32 [D] or None.
        id: of the dataset's row, for messages.
    """

    input_ids: Tensor
    text_labels: Tensor
    speech_labels: Tensor
    placeholder: int
    speaker: Tensor | None
    id: str = ""


def row_example(
    row: DatasetRow,
    reference: DatasetRow | None,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    layout: Layout,
    *,
    speaker_aware: bool,
    reference_prompt: bool = False,
) -> Example:
    """Make the example of a row of any task.

    Args:
        row: what is learnt.
        reference: whose voice it is to be said in, for a row that is spoken; not used otherwise.
        tokenizer: the vocabulary's.
        vocabulary: of the model.
        layout: of the model.
        speaker_aware: the prompt has a place for the reference's speaker vector.
        reference_prompt: the reference's codes stand in that place, `REFERENCE_SECONDS` of them at most.

    Raises:
        ConfigError: the row needs a reference's vector or codes, or those of its question, and there are none, or its
            task is unknown.
        FormatError: its text is not Unicode text.
    """
    prompt = row_prompt(row, tokenizer, vocabulary, speaker_aware=speaker_aware, reference_prompt=reference_prompt)
    speaker = clip = None
    if row.task in SPEAKING_TASKS and reference_prompt:
        if reference is None or not reference.num_frames:
            raise ConfigError(f"row {row.id!r} has no reference with codes; train without --reference-prompt")
        clip = reference_clip(_tensor(reference.codes), vocabulary.spec)
    elif prompt.placeholder is not None:
        vector = None if reference is None else reference.speaker_vector
        if vector is None:
            raise ConfigError(f"row {row.id!r} has no speaker vector; train without --speaker-aware")
        speaker = torch.from_numpy(np.array(vector, dtype=np.float32))
    question = None
    if row.task in HEARING_TASKS:
        if row.question_codes is None:
            raise ConfigError(f"row {row.id!r} has no spoken question; build the dataset with --spoken-questions")
        question = _tensor(row.question_codes)
    example = make_example(prompt, _tensor(row.codes), vocabulary, layout, speaker, clip, question)
    return replace(example, id=row.id)


def row_prompt(
    row: DatasetRow,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    speaker_aware: bool,
    reference_prompt: bool = False,
) -> Prompt:
    """Return the prompt of a row of any task.

    Raises:
        ConfigError: its task is unknown.
        FormatError: its text is not Unicode text.
    """
    if row.task == "tts":
        return tts_prompt(
            row.text, tokenizer, vocabulary, speaker_aware=speaker_aware, reference_prompt=reference_prompt
        )
    if row.task in ANSWER_TASKS:
        question = None if row.task in HEARING_TASKS else row.question or ""
        text = None if row.task in SPEECH_ALONE else row.text
        return qa_prompt(
            question, text, tokenizer, vocabulary, speaker_aware=speaker_aware, reference_prompt=reference_prompt
        )
    if row.task == "asr":
        return asr_prompt(row.text, tokenizer, vocabulary)
    if row.task == "text":
        return text_prompt(row.text, row.question, tokenizer, vocabulary)
    raise ConfigError(f"row {row.id!r} has the task {row.task!r}, which this slmtk does not know; upgrade slmtk")


def reference_clip(codes: Tensor, spec: CodecSpec) -> Tensor:
    """Return the beginning of a reference's codes that a prompt takes: int64 [K, T] -> int64 [K, min(T, 3 s)]."""
    return codes[:, : int(REFERENCE_SECONDS * spec.frame_rate)]


def make_example(
    prompt: Prompt,
    codes: Tensor,
    vocabulary: Vocabulary,
    layout: Layout,
    speaker: Tensor | None = None,
    reference: Tensor | None = None,
    question: Tensor | None = None,
) -> Example:
    """Follow ``prompt``, with codes where it says so.

    Args:
        prompt: words and places of codes, in order.
        codes: int64 [K, T], the row's.
        vocabulary: says which id stands for which code.
        layout: says which codes are one step.
        speaker: float32 [D] for the prompt's placeholder.
        reference: int64 [K, T'], for a prompt that gives a voice by its codes.
        question: int64 [K, T''], for a prompt that asks by speech.

    Returns:
        the example. Its labels stand at the position of the token itself, not yet shifted: ``<sosp>`` is a text label
        and predicts the first step from its place; the place of the last step predicts ``<eosp>`` in every head. In
        the interleaved layout codes are text labels too. What carries no loss has no label at all.

    Raises:
        ShapeError: the codes have another K than the layout.
        ConfigError: the prompt asks for a reference's or a question's codes and there are none.
    """
    pieces = []
    words, length, placeholder = 0, 0, -1
    for part in prompt.parts:
        if isinstance(part, Words):
            if prompt.placeholder is not None and 0 <= prompt.placeholder - words < len(part.ids):
                placeholder = length + prompt.placeholder - words
            words += len(part.ids)
            pieces.append(_words(part, layout))
        else:
            pieces.append(_speech(_codes_of(part.of, codes, reference, question), part.loss, vocabulary, layout))
        length += len(pieces[-1][0])
    input_ids, text_labels, speech_labels = (torch.cat(column) for column in zip(*pieces, strict=True))
    return Example(input_ids, text_labels, speech_labels, placeholder, speaker)


def prompt_start(
    prompt: Prompt,
    vocabulary: Vocabulary,
    layout: Layout,
    codes: Tensor | None = None,
    reference: Tensor | None = None,
    question: Tensor | None = None,
) -> tuple[Tensor, int | None]:
    """Return a prompt that is to be gone on from (`slmtk.data.prompts.prefix_prompt`) as a model reads it.

    Args:
        prompt: words and places of codes.
        vocabulary: of the model.
        layout: of the model.
        codes: int64 [K, T] to be recognised, for "asr".
        reference: int64 [K, T'], for a prompt that gives a voice by its codes.
        question: int64 [K, T''], for "sqa".

    Returns:
        its ids, int64 [L, H], and the position of ``<|placeholder|>`` among them, None if there is none.

    Raises:
        ShapeError: codes have another K than the layout.
        ConfigError: the prompt asks for codes that are not given.
    """
    if codes is None and any(not isinstance(part, Words) and part.of == "row" for part in prompt.parts):
        raise ConfigError("this prompt asks for codes to recognise, and none were given")
    nothing = torch.zeros(layout.num_codebooks, 0, dtype=torch.int64)
    own = nothing if codes is None else codes
    made = make_example(prompt, own, vocabulary, layout, reference=reference, question=question)
    return made.input_ids, None if made.placeholder < 0 else made.placeholder


def prompt_steps(
    prompt: Prompt,
    vocabulary: Vocabulary,
    layout: Layout,
    codes: Tensor | None = None,
    reference: Tensor | None = None,
) -> Tensor:
    """Return the ids of `prompt_start` alone, int64 [L, H]; it raises the same."""
    return prompt_start(prompt, vocabulary, layout, codes, reference)[0]


def step_ids(steps: Tensor, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Codes of steps -> ids of the vocabulary: int64 [N, H] with `MISSING` -> int64 [N, H]."""
    if layout.kind == "interleaved":
        return steps + _interleaved_offsets(len(steps), vocabulary, layout)[:, None]
    offsets = torch.tensor([vocabulary.code_offset(layout.stream_of(head)) for head in range(layout.num_heads)])
    return torch.where(steps == MISSING, vocabulary.pad, steps + offsets)


def step_rows(steps: Tensor, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Codes of steps -> rows of the heads: a code is its own row, ``<pad>`` is the row behind ``<eosp>``'s."""
    pad_rows = _eosp_rows(vocabulary, layout) + 1
    return torch.where(steps == MISSING, pad_rows, steps)


def codes_of_labels(example: Example, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    """Read the codes back from what the model is trained to predict: int64 [K, T].

    The way back goes through the labels alone, so that a dataset or layout that teaches noise can be heard.

    Raises:
        ShapeError: interleaved codes end within a frame.
    """
    if layout.kind == "interleaved":
        labels = example.text_labels
        ids = labels[(labels >= vocabulary.first_code) & (labels < vocabulary.eosp)]
        return from_steps((ids - _interleaved_offsets(len(ids), vocabulary, layout))[:, None], layout)
    rows = example.speech_labels[example.speech_labels[:, 0] != IGNORE]
    limits = _eosp_rows(vocabulary, layout)
    rows = rows[(rows != limits).any(dim=1)]  # without the step of <eosp>
    return from_steps(torch.where(rows >= limits, MISSING, rows), layout)


def _words(part: Words, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.tensor(part.ids, dtype=torch.int64)
    spread = ids[:, None].expand(-1, layout.num_heads)
    return spread, ids if part.loss else torch.full_like(ids, IGNORE), torch.full_like(spread, IGNORE)


def _speech(codes: Tensor, loss: bool, vocabulary: Vocabulary, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    steps = to_steps(codes, layout)
    end = torch.full((1, layout.num_heads), vocabulary.eosp)
    ids = torch.cat([step_ids(steps, vocabulary, layout), end])
    text, speech = torch.full_like(ids[:, 0], IGNORE), torch.full_like(ids, IGNORE)
    if loss and layout.kind == "interleaved":
        text = ids[:, 0].clone()
    elif loss:
        speech = torch.cat([step_rows(steps, vocabulary, layout), _eosp_rows(vocabulary, layout)])
    return ids, text, speech


def _codes_of(whose: str, codes: Tensor, reference: Tensor | None, question: Tensor | None) -> Tensor:
    if whose == "row":
        return codes
    if whose == "question":
        if question is None:
            raise ConfigError("this prompt asks by the codes of a spoken question, and none were given")
        return question
    if reference is None:
        raise ConfigError("this prompt gives a voice by the codes of a reference, and none were given")
    return reference


def _interleaved_offsets(count: int, vocabulary: Vocabulary, layout: Layout) -> Tensor:
    offsets = [vocabulary.code_offset(layout.stream_of(0, step)) for step in range(layout.num_codebooks)]
    return torch.tensor(offsets)[torch.arange(count) % layout.num_codebooks]


def _eosp_rows(vocabulary: Vocabulary, layout: Layout) -> Tensor:
    sizes = vocabulary.spec.codebook_sizes
    return torch.tensor([[sizes[layout.stream_of(head)] for head in range(layout.num_heads)]])


def _tensor(codes: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.array(codes, dtype=np.int64))
