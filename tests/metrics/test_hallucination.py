"""Marks of transcripts, on sentences short enough to count along."""

from __future__ import annotations

import pytest

from slmtk.metrics.hallucination import FLAGS, hallucination_flags, most_repeats


def flags(reference: str, hypothesis: str, seconds: float | None = 10.0) -> tuple[str, ...]:
    return hallucination_flags(reference.split(), hypothesis.split(), seconds)


@pytest.mark.parametrize(
    ("words", "length", "expected"),
    [
        ("go on go on go on", 2, 3),
        ("go on go on go", 2, 2),
        ("go on", 2, 1),
        ("go", 2, 0),
        ("no no no yes no no", 1, 3),
        ("a b c a b c", 3, 2),
        ("", 1, 0),
    ],
)
def test_repeats_in_a_row_are_counted(words, length, expected):
    assert most_repeats(words.split(), length) == expected


def test_a_loop_is_marked_unless_the_text_has_it_too():
    assert flags("we go on and on today", "we go on go on go on today") == ("repeated",)
    assert flags("we go on and on", "we go on go on") == ()
    assert flags("no no no said he", "no no no said he") == ()
    assert flags("no no no said he", "no no no no said he") == ("repeated",)


def test_words_that_come_back_apart_are_no_loop():
    assert flags("the a the b the c", "the d the e the f") == ()


def test_more_than_thirty_characters_a_second_were_not_said():
    assert flags("abcde " * 6, "abcde fghij klmno pqrst uvwxy zabcd", 1.0) == ()
    assert flags("abcde " * 6, "abcde fghij klmno pqrst uvwxy zabcde", 1.0) == ("too_fast",)
    assert flags("abcde " * 6, "abcde fghij klmno pqrst uvwxy zabcde", None) == ()


def test_transcripts_twice_or_half_as_long_are_marked():
    assert flags("abcdefgh", "abcdefgh ijklmnop") == ()
    assert flags("abcdefgh", "abcdefgh ijklmnopq") == ("too_long",)
    assert flags("abcdefgh ijklmnop", "abcdefgh") == ()
    assert flags("abcdefgh ijklmnopq", "abcdefgh") == ("too_short",)
    assert flags("abcdefgh", "") == ("too_short",)


def test_a_few_letters_make_no_hallucination():
    assert flags("i", "oh my") == ()
    assert flags("well", "") == ()


def test_every_mark_is_explained():
    marks = flags("a b", "go on go on go on go on", 0.1) + flags("abcdefgh", "")
    assert set(marks) == set(FLAGS)
