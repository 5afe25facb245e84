from __future__ import annotations

from pathlib import Path

import pytest

from slmtk.asr.pocketsphinx import PocketsphinxRecognizer
from slmtk.errors import ConfigError
from slmtk.synthesis.grammar import SENTENCES, Grammar, phrases_jsgf
from slmtk.synthesis.trivia import load_trivia

SMALL = Grammar((("number", ("two", "three")), ("animal", ("cats", "dogs", "cows"))))


def test_sentences_are_numbered_with_the_last_slot_fastest():
    sentences = [SMALL.sentence(i) for i in range(SMALL.size)]
    assert sentences == ["two cats", "two dogs", "two cows", "three cats", "three dogs", "three cows"]


def test_samples_are_different_sentences_and_more_of_them_begin_alike():
    assert sorted(SMALL.sample(6, seed=3)) == sorted(SMALL.sentence(i) for i in range(6))
    assert SMALL.sample(6, seed=3)[:4] == SMALL.sample(4, seed=3)
    assert SENTENCES.sample(20, seed=0) != SENTENCES.sample(20, seed=1)


def test_more_sentences_than_there_are_is_an_error():
    with pytest.raises(ConfigError, match="7 different sentences asked for; the grammar has 6"):
        SMALL.sample(7, seed=0)


def test_jsgf_names_slots_in_order():
    assert SMALL.jsgf() == (
        "#JSGF V1.0;\ngrammar sentences;\npublic <sentence> = <number> <animal>;\n"
        "<number> = two | three;\n<animal> = cats | dogs | cows;\n"
    )


def test_the_grammar_of_phrases_has_each_once_in_lower_case():
    assert phrases_jsgf(["Two", "the cat", "two"]) == (
        "#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = two | the cat;\n"
    )


def test_the_recogniser_knows_every_word(tmp_path: Path):
    grammar = tmp_path / "g.jsgf"
    grammar.write_text(SENTENCES.jsgf())
    PocketsphinxRecognizer.create(grammar=grammar)  # raises FormatError for a word that it lacks
    assert (len(SENTENCES.words), len(set(SENTENCES.words)), SENTENCES.size) == (30, 30, 7776)


def test_trivia_has_twenty_questions_whose_answers_are_words_of_the_grammar():
    trivia = load_trivia()
    assert [item.split for item in trivia] == ["id"] * 12 + ["ood"] * 8
    assert len({item.id for item in trivia}) == len({item.question for item in trivia}) == 20
    assert {item.answers[0] for item in trivia} <= set(SENTENCES.words)


def test_no_answer_of_the_unseen_part_is_an_answer_of_the_seen_part():
    seen, unseen = ({a for i in load_trivia() if i.split == split for a in i.answers} for split in ("id", "ood"))
    assert not seen & unseen
