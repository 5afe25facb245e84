"""TriviaQA's normalisation, exact match and F1, worked out by hand after the official script."""

from __future__ import annotations

import random
import re
import string

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
        ("Rock ´n´ `Roll`", "rock n roll"),
        ("“Theatre” – another", "“theatre” – another"),  # of curly quotes only the single ones are marks to it
        ("Théâtre, 1,000,000", "théâtre 1 000 000"),
        ("and another thing", "and another thing"),  # articles go as whole words
        ("...", ""),
    ],
)
def test_answers_are_normalised_as_by_the_official_script(text, expected):
    assert normalize_answer(text) == expected


def test_the_sample_of_the_official_repository_is_right():
    # samples/triviaqa_sample.json and sample_predictions.json: exact match and F1 are 100.
    aliases = ["Sunset Blvd", "West Sunset Boulevard", "Sunset Boulevard", "Sunset Bulevard", "Sunset Blvd."]
    normalized = ["west sunset boulevard", "sunset blvd", "sunset boulevard", "sunset bulevard"]
    for answers in (aliases, normalized):
        assert (exact_match("Sunset Blvd", answers), token_f1("Sunset Blvd", answers)) == (1.0, 1.0)
    # "sunset" of two words said and two of the alias: precision and recall 1/2.
    assert (exact_match("Sunset Street", aliases), token_f1("Sunset Street", aliases)) == (0.0, 0.5)


def test_scores_are_those_of_the_official_steps():
    # The steps of evaluation/triviaqa_evaluation.py, in its order and with its precision and recall.
    marks = set(string.punctuation) | set("‘’´`")

    def words(text: str) -> list[str]:
        spaced = "".join(" " if character in marks else character for character in text.replace("_", " ").lower())
        return re.sub(r"\b(a|an|the)\b", " ", spaced).split()

    def f1(said: list[str], right: list[str]) -> float:
        shared = sum(min(said.count(word), right.count(word)) for word in set(said))
        if not shared:
            return 0.0
        precision, recall = shared / len(said), shared / len(right)
        return 2 * precision * recall / (precision + recall)

    draw = random.Random(0)
    pieces = ["The ", "a ", "an", "Paris", "New_York", "’s", "´", " ", "-", "U.S.", "“x”", "É", "1,0", "(", ")", "`b"]
    for _ in range(500):
        said, *answers = ("".join(draw.choices(pieces, k=draw.randrange(6))) for _ in range(1 + draw.randint(1, 3)))
        rights = [words(answer) for answer in answers]
        assert exact_match(said, answers) == float(words(said) in rights), (said, answers)
        assert token_f1(said, answers) == pytest.approx(max(f1(words(said), right) for right in rights))


def test_aliases_that_are_normalised_already_stay_as_they_are():
    # The dataset's NormalizedAliases pass through the official script's normalisation a second time.
    once = normalize_answer("The U.S.A.'s “A_Team” (an ‘a’) of a-the-n")
    assert normalize_answer(once) == once == "u s s “ team” of n"


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
