from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmtk.errors import FormatError
from slmtk.stages.roletrivia.text_model import INSTRUCTION, TextModel
from tests.helpers.tiny_text_model import write_text_model

# What is learned, and what must come of it: an answer ends with its line, or with the end token.
PLAIN = {"Who swims?": " fish\nQuestion: Who", "How many legs has a cat?": " four\n", "Snow?": "<end>"}
CHATTED = {"Who swims?": "fish", "How many legs has a cat?": "four\nlegs"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answers = {f"{INSTRUCTION}\nQuestion: {question}\nAnswer:": answer for question, answer in PLAIN.items()}
    return write_text_model(tmp_path_factory.mktemp("plain"), answers, steps=100)


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answers = {f"<user>{INSTRUCTION}\n{question}<me>": f"{answer}<end>" for question, answer in CHATTED.items()}
    return write_text_model(tmp_path_factory.mktemp("chat"), answers, chat=True, steps=40)


def answers(model: TextModel, questions: list[str]) -> list[tuple[str, str]]:
    found = {place: (text, reason) for place, text, reason in model.answer(questions)}
    return [found[place] for place in range(len(questions))]


def test_a_model_without_a_template_goes_on_to_the_end_of_the_line(plain: Path):
    expected = [("fish", ""), ("four", ""), ("", "empty")]
    assert answers(TextModel(str(plain), "cpu", 1), list(PLAIN)) == expected


def test_questions_of_other_lengths_beside_it_change_no_answer(plain: Path, chatting: Path):
    for folder, questions in ((plain, list(PLAIN)), (chatting, list(CHATTED))):
        assert answers(TextModel(str(folder), "cpu", 3), questions) == answers(
            TextModel(str(folder), "cpu", 1), questions
        )


def test_a_model_with_a_template_is_asked_in_it(chatting: Path):
    model = TextModel(str(chatting), "cpu", 2)
    assert model.prompt("Who swims?") == f"<user>{INSTRUCTION}\nWho swims?<me>"
    assert answers(model, list(CHATTED)) == [("fish", ""), ("four\nlegs", "")]


def test_an_answer_that_does_not_end_is_cut_and_said_to_be(tmp_path: Path):
    answer = {f"{INSTRUCTION}\nQuestion: a\nAnswer:": "b" * 60}
    folder = write_text_model(tmp_path, answer, steps=15)
    assert answers(TextModel(str(folder), "cpu", 1), ["a"]) == [("b" * 48, "no_end")]


def test_a_question_is_asked_once_wherever_it_stands(plain: Path, monkeypatch: pytest.MonkeyPatch):
    model = TextModel(str(plain), "cpu", 8)
    asked: list[str] = []
    monkeypatch.setattr(model, "_generate", lambda batch: asked.extend(batch) or [(text.upper(), "") for text in batch])
    assert answers(model, ["a", "bb", "a"]) == [("A", ""), ("BB", ""), ("A", "")]
    assert answers(model, ["bb", "c"]) == [("BB", ""), ("C", "")]
    assert asked == ["a", "bb", "c"]


def test_a_folder_that_holds_no_language_model_is_refused_in_a_line(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    with pytest.raises(FormatError, match="no causal language model could be loaded") as caught:
        TextModel(str(tmp_path), "cpu", 1)
    assert "\n" not in str(caught.value)
