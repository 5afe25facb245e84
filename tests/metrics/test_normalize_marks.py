"""seed-tts-eval's and F5-TTS's normalisers on worked examples and against their published steps."""

from __future__ import annotations

import random
import string

import pytest

from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.normalize.marks import without_marks


@pytest.mark.parametrize(
    ("text", "seed_tts", "f5"),
    [
        ("The primary coil has fifty turns.", "the primary coil has fifty turns", "the primary coil has fifty turns"),
        (" The primary coil has 50 turns.", "the primary coil has 50 turns", "the primary coil has 50 turns"),
        ("I don't know", "i don't know", "i dont know"),
        ("I don’t know", "i dont know", "i dont know"),  # the curly apostrophe is a Chinese mark to both
        ("'Tis the boys' own", "'tis the boys' own", "tis the boys own"),
        ("Mr. Smith", "mr smith", "mr smith"),
        ("Mister Smith", "mister smith", "mister smith"),
        ("a well-known fact", "a wellknown fact", "a wellknown fact"),
        ("Wait — what?", "wait what", "wait what"),
        ("yes—no", "yesno", "yesno"),
        ("3.5 % of $1,000", "35 of 1000", "35 of 1000"),
        ("COLOUR colour", "colour colour", "colour colour"),
        ("¿Qué?", "¿qué", "¿qué"),  # neither ASCII nor Chinese
        ("...", "", ""),
        ("", "", ""),
    ],
)
def test_marks_are_deleted_and_numbers_stay_as_they_are(text, seed_tts, f5):
    assert get_normalizer("seed-tts")(text) == seed_tts
    assert get_normalizer("f5")(text) == f5


def test_the_deleted_marks_are_those_of_zhon_and_ascii():
    hanzi = pytest.importorskip("zhon.hanzi")
    everything = "".join(map(chr, range(0x20, 0x10000)))
    published = set(hanzi.punctuation + string.punctuation) - {"'"}
    assert set(everything) - set(without_marks(everything)) == published


def test_there_are_82_chinese_marks():
    everything = "".join(map(chr, range(0x80, 0x10000)))
    assert len(everything) - len(without_marks(everything)) == 82


@pytest.mark.parametrize(("name", "kept"), [("seed-tts", "'"), ("f5", "")])
def test_words_are_those_of_the_published_steps(name, kept):
    # The steps: each mark in turn replaced by nothing, two blanks by one, lower case; jiwer then splits at blanks.
    draw = random.Random(name)
    normalize = get_normalizer(name)
    for _ in range(200):
        text = "".join(draw.choices("aB'-.,!?_ 05’—…，。「」·", k=draw.randrange(40)))
        expected = text
        for mark in string.punctuation + "’—…，。「」·":
            expected = expected if mark in kept else expected.replace(mark, "")
        assert normalize(text).split(" ") == (expected.replace("  ", " ").lower().split() or [""]), text
