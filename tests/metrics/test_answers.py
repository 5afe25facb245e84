"""TriviaQA's normalisation, exact match and F1, worked out by hand after the official script."""

from __future__ import annotations

import pytest

from slmtk.errors import FormatError
from slmtk.metrics.answers import exact_match, normalize_answer, token_f1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Beatles", "beatles"),
        ("A_Hard_Day's_Night", "hard day s night"),
        ("Sunset Boulevard (film)", "sunset boulevard film"),
        ("  an   apple; THE a  pear ", "apple pear"),
        ("‘Theatre’ another anthem", "theatre another anthem"),
        ("U.S.A.", "u s"),  # the last "a" is an article to the official script
        ("...", ""),
    ],
)
def test_answers_are_normalised_as_by_the_official_script(text, expected):
    assert normalize_answer(text) == expected


def test_one_alias_that_matches_is_enough():
    aliases = ["Sinclair Lewis", "Harry Sinclair Lewis", "Lewis, (Harry) Sinclair"]
    assert exact_match("the sinclair lewis.", aliases) == 1.0
    assert exact_match("lewis harry sinclair", aliases) == 1.0
    assert exact_match("Sinclair", aliases) == 0.0


def test_f1_is_worked_out_by_hand():
    # "was sinclair lewis" and "sinclair lewis": precision 2/3, recall 1, F1 0.8; "harry sinclair lewis": 2/3.
    assert token_f1("It was Sinclair Lewis", ["Sinclair Lewis"]) == pytest.approx(2 / 3)
    assert token_f1("was Sinclair Lewis", ["Harry Sinclair Lewis", "Sinclair Lewis"]) == pytest.approx(0.8)


def test_words_count_as_often_as_they_occur():
    # Both "new" are shared: 2 of 3 words and of 4; if they counted once it were 1 of each.
    assert token_f1("new new york", ["new new jersey city"]) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_nothing_said_scores_nothing():
    assert (exact_match("", ["Paris"]), token_f1("", ["Paris"])) == (0.0, 0.0)
    assert token_f1("the", ["a"]) == 0.0


@pytest.mark.parametrize("answers", [[], "Paris"])
def test_answers_must_be_a_list_of_texts(answers):
    with pytest.raises(FormatError, match="expected a list"):
        exact_match("Paris", answers)
