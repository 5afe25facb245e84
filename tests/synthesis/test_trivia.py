"""The shipped questions, and how they are dealt to roles and wordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.errors import ConfigError
from slmtk.metrics.answers import exact_match, normalize_answer
from slmtk.synthesis.grammar import phrases_jsgf
from slmtk.synthesis.trivia import Asked, Lesson, Trivia, benchmark, lessons, load_trivia

ONE = Trivia("a", "a1?", ("red", "rot"), "id", "x", ("a2?",), "a3?")
TWO = Trivia("b", "b1?", ("blue",), "id", "x", ("b2?",), "b3?")
NEW = Trivia("c", "c1?", ("red", "rot"), "ood", "x")


def test_a_question_with_a_kept_back_wording_is_never_answered_by_the_role_that_will_be_asked():
    assert lessons([ONE, TWO, NEW], 3) == [
        Lesson(1, 0, "b2?", "blue"),
        Lesson(0, 1, "a1?", "red"),
        Lesson(0, 2, "a2?", "red"),
        Lesson(1, 2, "b1?", "blue"),
    ]


def test_the_benchmark_asks_both_wordings_of_one_role_and_the_roles_in_turn():
    assert benchmark([ONE, TWO, NEW], 2) == [
        Asked("a", ONE, "a1?", "id", 0),
        Asked("a-reworded", ONE, "a3?", "id-reworded", 0),
        Asked("b", TWO, "b1?", "id", 1),
        Asked("b-reworded", TWO, "b3?", "id-reworded", 1),
        Asked("c", NEW, "c1?", "ood", 0),
    ]


def test_a_question_without_one_is_answered_by_every_role():
    plain = Trivia("a", "a1?", ("red",), "id")
    assert lessons([plain, NEW], 2) == [Lesson(0, 0, "a1?", "red"), Lesson(0, 1, "a1?", "red")]
    assert lessons([plain], 1) == [Lesson(0, 0, "a1?", "red")]


def test_a_role_cannot_be_kept_back_when_there_is_only_one():
    with pytest.raises(ConfigError, match="2 or more voices"):
        lessons([ONE], 1)


def test_there_are_over_a_hundred_questions_of_ten_categories_with_aliases():
    trivia = load_trivia("mini")
    splits = Counter(item.split for item in trivia)
    assert splits["id"] >= 70
    assert splits["ood"] >= 30
    assert len({item.category for item in trivia}) == 10
    assert len({item.id for item in trivia}) == len(trivia)
    for item in trivia:
        assert len(item.answers) >= 2, item
        assert 1 <= len(item.answers[0].split()) <= 3, item
        assert all(text.endswith("?") or text.endswith(".") for text in asked_in_training(item)), item
        assert bool(item.reworded) == (len(item.wordings) == 2) == (item.split == "id"), item


def asked_in_training(item: Trivia) -> tuple[str, ...]:
    return (item.question, *item.wordings)


def test_no_question_of_the_benchmark_is_trained_on_but_those_of_its_id_split():
    trivia = load_trivia("mini")
    trained = {normalize_answer(lesson.question) for lesson in lessons(trivia, 8)}
    asked = benchmark(trivia, 8)
    assert {row.split for row in asked if normalize_answer(row.question) in trained} == {"id"}
    assert all(normalize_answer(row.question) in trained for row in asked if row.split == "id")
    questions = [
        normalize_answer(text) for item in trivia for text in (*asked_in_training(item), item.reworded) if text
    ]
    assert len(set(questions)) == len(questions)  # nowhere is one wording asked for two answers


def test_no_role_is_asked_what_it_answered_in_training_and_all_wordings_are_trained():
    trivia = load_trivia("mini")
    taught = lessons(trivia, 8)
    pairs = {(lesson.voice, trivia[lesson.index].id) for lesson in taught}
    assert not pairs & {(row.voice, row.item.id) for row in benchmark(trivia, 8)}
    known = [item for item in trivia if item.split == "id"]
    assert len(taught) == len(pairs) == 7 * len(known)
    assert {lesson.question for lesson in taught} == {text for item in known for text in asked_in_training(item)}


def test_the_recogniser_knows_every_word_of_the_answers(tmp_path: Path):
    grammar = tmp_path / "g.jsgf"
    grammar.write_text(phrases_jsgf([item.answers[0] for item in load_trivia("mini")]))
    PocketsphinxRecognizer.create(grammar=grammar)  # raises FormatError for a word that it lacks


def test_a_question_with_the_answer_in_it_would_be_no_question():
    for item in load_trivia("mini"):
        for text in (*asked_in_training(item), item.reworded):
            words = f" {normalize_answer(text)} "
            assert not any(f" {normalize_answer(answer)} " in words for answer in item.answers), (text, item.answers)


def test_some_answers_of_the_unseen_part_can_be_given_and_others_were_never_spoken():
    trivia = load_trivia("mini")
    spoken = {lesson.answer for lesson in lessons(trivia, 8)}
    unseen = [any(exact_match(answer, item.answers) for answer in spoken) for item in trivia if item.split == "ood"]
    assert 10 <= sum(unseen) <= len(unseen) - 10


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="no trivia questions 'maxi'; expected one of sample, mini"):
        load_trivia("maxi")
