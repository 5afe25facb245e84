"""Rows of every task as a model sees them, with ids and labels worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slmtk.data.dataset_columns import DatasetRow
from slmtk.data.examples import (
    IGNORE,
    codes_of_labels,
    prompt_start,
    prompt_steps,
    reference_clip,
    row_example,
    step_ids,
)
from slmtk.data.prompts import prefix_prompt
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.layout import Layout
from slmtk.spec import CodecSpec, Stream

# 4 frames a second, so that a reference's 3 s are 12. Ids: x 263..266, y 267..269, <eosp> 270, <pad> 271.
SPEC = CodecSpec("small", 16_000, 4_000, (Stream("x", 4), Stream("y", 3)), speaker_dim=2)
VOCABULARY = Vocabulary(259, SPEC)
BYTES = ByteTokenizer()
CODES = np.array([[0, 3, 1], [2, 0, 1]])
ROW = DatasetRow("u", "tts", "Hi", None, CODES, np.array([1, 2], np.float32), "s", 3, 2, 0.75)
OTHER = DatasetRow("v", "tts", "Ho", None, CODES[:, ::-1], np.array([3, 4], np.float32), "s", 3, 2, 0.75)
GROUPED, INTERLEAVED, DELAYED = Layout("grouped", 2, 2), Layout("interleaved", 2), Layout("delayed", 2)
LAYOUTS = [GROUPED, INTERLEAVED, DELAYED, Layout("interleaved", 2, order=(1, 0)), Layout("grouped", 2, 1, (1, 0))]


def make(row: DatasetRow, layout: Layout, reference: DatasetRow | None = None, **settings: bool):
    settings = {"speaker_aware": False, **settings}
    return row_example(row, reference, BYTES, VOCABULARY, layout, **settings)


def said(example) -> str:
    """What the text labels teach, as text, codes and control tokens left out."""
    return BYTES.decode([n for n in example.text_labels.tolist() if 0 <= n < 256])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", ["tts", "qa"])
def test_codes_of_a_spoken_row_read_back_from_its_labels_alone(task: str, layout: Layout):
    row = dataclasses.replace(ROW, task=task, question="Who?")
    example = make(row, layout)
    assert codes_of_labels(example, VOCABULARY, layout).tolist() == CODES.tolist()
    assert example.id == "u"
    assert said(example) == (" Hi" if task == "qa" else "") + " The speech is: .\n\n"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_codes_to_be_recognised_are_read_and_carry_no_label(layout: Layout):
    example = make(dataclasses.replace(ROW, task="asr"), layout)
    spoken = make(ROW, layout)
    assert example.speech_labels.eq(IGNORE).all()
    assert not (example.text_labels >= 259).any()
    assert said(example) == " The text is: Hi.\n\n"
    count = layout.num_steps(3) + 1  # the steps and <eosp>
    start = int((spoken.input_ids[:, 0] == VOCABULARY.sosp).nonzero()) + 1
    here = int((example.input_ids[:, 0] == VOCABULARY.sosp).nonzero()) + 1
    assert torch.equal(example.input_ids[here : here + count], spoken.input_ids[start : start + count])


def test_a_text_has_no_codes_and_all_of_it_but_bos_is_learnt():
    row = DatasetRow("t", "text", "Hi", None, np.zeros((2, 0), np.int64), None, None, 0, 2, 0.0)
    example = make(row, GROUPED, speaker_aware=True)
    assert example.input_ids.tolist() == [[257] * 4, [72] * 4, [105] * 4, [256] * 4]
    assert example.text_labels.tolist() == [IGNORE, 72, 105, 256]
    assert example.speech_labels.eq(IGNORE).all()
    assert (example.placeholder, example.speaker) == (-1, None)


def test_the_vector_is_the_references_and_only_spoken_rows_have_one():
    example = make(ROW, GROUPED, OTHER, speaker_aware=True)
    assert example.speaker is not None
    assert example.speaker.tolist() == [3.0, 4.0]
    assert example.input_ids[example.placeholder].tolist() == [VOCABULARY.placeholder] * 4
    heard = make(dataclasses.replace(ROW, task="asr"), GROUPED, OTHER, speaker_aware=True)
    assert (heard.placeholder, heard.speaker) == (-1, None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reference_codes_stand_in_the_prompt_without_labels(layout: Layout):
    example = make(ROW, layout, OTHER, speaker_aware=True, reference_prompt=True)
    alone = make(ROW, layout)
    assert codes_of_labels(example, VOCABULARY, layout).tolist() == CODES.tolist()
    assert (example.text_labels != IGNORE).sum() == (alone.text_labels != IGNORE).sum()
    assert (example.speech_labels != IGNORE).sum() == (alone.speech_labels != IGNORE).sum()
    first, second = (example.input_ids[:, 0] == VOCABULARY.sosp).nonzero()[:, 0].tolist()
    count = layout.num_steps(3) + 1
    other = make(dataclasses.replace(OTHER, task="asr"), layout).input_ids
    start = int((other[:, 0] == VOCABULARY.sosp).nonzero()) + 1
    assert torch.equal(example.input_ids[first + 1 : first + 1 + count], other[start : start + count])
    assert example.text_labels[: second - len(" The speech is: ")].eq(IGNORE).all()
    assert (example.placeholder, example.speaker) == (-1, None)


def test_a_reference_is_cropped_to_three_seconds_from_its_beginning():
    codes = torch.arange(40).reshape(2, 20)
    assert reference_clip(codes, SPEC).tolist() == codes[:, :12].tolist()
    assert torch.equal(reference_clip(codes[:, :5], SPEC), codes[:, :5])
    long = dataclasses.replace(OTHER, codes=np.zeros((2, 20), np.int64), num_frames=20)
    short = dataclasses.replace(OTHER, codes=np.zeros((2, 12), np.int64), num_frames=12)
    lengths = [len(make(ROW, GROUPED, row, reference_prompt=True).input_ids) for row in (long, short)]
    assert lengths[0] == lengths[1]


def test_ids_of_codes_follow_the_order_of_streams():
    steps = torch.tensor([[2], [0], [0], [3]])  # y0 x0 y1 x1
    ids = step_ids(steps, VOCABULARY, Layout("interleaved", 2, order=(1, 0)))
    assert ids.tolist() == [[267 + 2], [263], [267], [263 + 3]]
    assert step_ids(torch.tensor([[2, 0]]), VOCABULARY, Layout("grouped", 2, 1, (1, 0))).tolist() == [[269, 263]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_generation_begins_with_is_the_beginning_of_what_was_trained_on(layout: Layout):
    prompt = prefix_prompt("tts", "Hi", BYTES, VOCABULARY, reference_prompt=True)
    start = prompt_steps(prompt, VOCABULARY, layout, reference=torch.from_numpy(OTHER.codes.copy()))
    assert torch.equal(start, make(ROW, layout, OTHER, reference_prompt=True).input_ids[: len(start)])
    assert start[-1].tolist() == [VOCABULARY.sosp] * layout.num_heads
    heard = prompt_steps(prefix_prompt("asr", "", BYTES, VOCABULARY), VOCABULARY, layout, torch.from_numpy(CODES))
    assert torch.equal(heard, make(dataclasses.replace(ROW, task="asr"), layout).input_ids[: len(heard)])
    assert heard[-1].tolist() == [ord(":")] * layout.num_heads


ASKED = dataclasses.replace(
    ROW, task="sqa", question="Who?", question_codes=np.array([[3, 3, 2, 0, 1], [1, 2, 2, 0, 1]])
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("voice", [{}, {"speaker_aware": True}, {"reference_prompt": True}])
def test_a_spoken_question_is_read_without_labels_and_answered_as_a_written_one(layout, voice):
    heard, written = (
        make(ASKED, layout, OTHER, **voice),
        make(dataclasses.replace(ASKED, task="qa"), layout, OTHER, **voice),
    )
    assert codes_of_labels(heard, VOCABULARY, layout).tolist() == CODES.tolist()
    assert said(heard) == said(written) == " Hi The speech is: .\n\n"
    assert (heard.speech_labels != IGNORE).sum() == (written.speech_labels != IGNORE).sum()
    asked = dataclasses.replace(ROW, task="asr", codes=ASKED.question_codes)
    shown, count = make(asked, layout).input_ids, layout.num_steps(5) + 1
    here, there = (int((ids[:, 0] == VOCABULARY.sosp).nonzero()[0]) + 1 for ids in (heard.input_ids, shown))
    assert torch.equal(heard.input_ids[here : here + count], shown[there : there + count])
    assert heard.text_labels[: here + count].eq(IGNORE).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", ["qa-speech", "sqa-speech"])
def test_an_answer_in_speech_alone_has_no_text(task: str, layout: Layout):
    example = make(dataclasses.replace(ASKED, task=task), layout)
    assert codes_of_labels(example, VOCABULARY, layout).tolist() == CODES.tolist()
    assert said(example) == " The speech is: .\n\n"
    read = BYTES.decode([number for number in example.input_ids[:, 0].tolist() if number < 256])
    assert "Answer in speech alone." in read
    assert ("Who?" in read) == (task == "qa-speech")
    assert "Hi" not in read


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_speakers_place_is_found_behind_the_codes_of_a_question(layout: Layout):
    example = make(ASKED, layout, OTHER, speaker_aware=True)
    places = (example.input_ids == VOCABULARY.placeholder).all(1).nonzero()[:, 0].tolist()
    assert places == [example.placeholder]
    assert example.speaker is not None
    assert example.speaker.tolist() == [3.0, 4.0]
    prompt = prefix_prompt("sqa", "", BYTES, VOCABULARY, speaker_aware=True)
    question = torch.from_numpy(ASKED.question_codes)
    start, place = prompt_start(prompt, VOCABULARY, layout, question=question)
    assert torch.equal(start, example.input_ids[: len(start)])
    assert place == example.placeholder


def test_what_is_missing_is_said_with_the_row():
    with pytest.raises(ConfigError, match="row 'u' has no spoken question"):
        make(dataclasses.replace(ROW, task="sqa"), GROUPED)
    with pytest.raises(ConfigError, match="codes of a spoken question"):
        prompt_start(prefix_prompt("sqa", "", BYTES, VOCABULARY), VOCABULARY, GROUPED)
    with pytest.raises(ConfigError, match=r"'u' has no speaker vector; train without --speaker-aware"):
        make(ROW, GROUPED, dataclasses.replace(OTHER, speaker_vector=None), speaker_aware=True)
    with pytest.raises(ConfigError, match=r"'u' has no reference with codes"):
        make(ROW, GROUPED, None, reference_prompt=True)
    with pytest.raises(ConfigError, match="task 'song'"):
        make(dataclasses.replace(ROW, task="song"), GROUPED)
    with pytest.raises(ConfigError, match="codes to recognise"):
        prompt_steps(prefix_prompt("asr", "", BYTES, VOCABULARY), VOCABULARY, GROUPED)
    with pytest.raises(ConfigError, match="codes of a reference"):
        prompt_steps(prefix_prompt("tts", "Hi", BYTES, VOCABULARY, reference_prompt=True), VOCABULARY, GROUPED)
