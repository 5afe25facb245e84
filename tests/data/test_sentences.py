"""Where a long text is split, and what is left of it."""

from __future__ import annotations

import re

import pytest

from slmtk.data.sentences import Piece, estimate_seconds, split_sentences, split_text


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith met J. R. R. Tolkien in the U.S. Army.", "They talked."],
        ['"Stop!" he cried.', "“Why?” she asked.", "(Nobody knew.)", "Yes!"],
        ["It cost 3.50 dollars, i.e. too much.", "See No. 5.", "No.", "It was I.", "Then we left."],
        ["We left at 5 p.m. by train.", "We came at 5 p.m.", "It rained."],
        ["Tea, milk, etc. were there.", "Tea, milk, etc.", "Nothing else was."],
        ["1. Buy milk.", "2. Go home in 1999.", "3. Sleep."],
        ["The end... or not?!", "Wait… what?", "Yes."],
        ["Am 3. Mai kam Hr. Meyer bzw. seine Frau.", "Z.B. gestern."],
        ["¿Quién es?", "¡Soy yo!", "La Sra. Pérez."],
        ["क्या हाल है?", "मैं ठीक हूँ।", "धन्यवाद।"],
        ["ما اسمك؟", "اسمي علي."],
    ],
)
def test_sentences_end_where_they_end(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_sentences_without_blanks_between_them_end_too():
    assert split_sentences("他说：“你好。”然后走了。真的吗？是的！") == [
        "他说：“你好。”",
        "然后走了。",
        "真的吗？",
        "是的！",
    ]


def test_what_takes_no_longer_than_allowed_stays_whole():
    assert estimate_seconds("one two three") == pytest.approx(13 / 12)
    assert estimate_seconds("in 1999") == pytest.approx(3 / 12 + 4 * 0.3)
    assert estimate_seconds("你好") == pytest.approx(0.4)
    text = "One. Two.  Three."
    assert split_text(f"  {text} ", 1.5) == [Piece(text)]
    assert split_text("", 1.0) == [Piece("")]


def test_pauses_tell_what_a_piece_ended():
    text = "We went home, and it rained all day. We slept.\n\nThe next day we ate."
    assert split_text(text, 2.0) == [
        Piece("We went home,", 0.15),
        Piece("and it rained all day.", 0.25),
        Piece("We slept.", 0.3),
        Piece("The next day we ate.", 0.0),
    ]


LONG = (
    "This is one rather long sentence with several clauses, as they say, which has to be split; since it takes, by all "
    "accounts, longer than 20 seconds, and so on and on without an end in sight for anybody who listens to it - "
    "ever. 今天天气很好我们一起去公园散步，然后回家吃饭看电视睡觉明天再见好不好呢。"
    "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกันเถอะ"
)


@pytest.mark.parametrize("seconds", [2.0, 3.0, 5.0, 11.0])
def test_no_piece_takes_too_long_and_nothing_is_lost_or_moved(seconds):
    pieces = split_text(LONG, seconds)
    assert max(estimate_seconds(piece.text) for piece in pieces) <= seconds
    assert re.sub(r"\s", "", "".join(piece.text for piece in pieces)) == re.sub(r"\s", "", LONG)
    assert all(0.15 <= piece.pause <= 0.3 for piece in pieces[:-1])
    assert pieces[-1].pause == 0.0
    assert not any(piece.text[0] in ",;，。" for piece in pieces)


@pytest.mark.parametrize("place", range(2, 18))
def test_no_piece_of_a_text_without_blanks_begins_with_a_mark(place):
    pieces = split_text("好" * place + "》" + "好" * (20 - place), 2.0)
    assert len(pieces) == 3
    assert not any(piece.text.startswith("》") for piece in pieces)


def test_a_word_of_letters_is_never_broken():
    assert [p.text for p in split_text("go to https://example.org/a/very/long/address now", 1.0)] == [
        "go to",
        "https://example.org/a/very/long/address",
        "now",
    ]
