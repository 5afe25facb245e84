"""Normalisers on worked examples; Whisper's against the examples of its own tests."""

from __future__ import annotations

import hashlib
import random
from importlib.resources import files

import pytest

from slmtk.errors import ConfigError
from slmtk.metrics.normalize import get_normalizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fifty!", "50"),
        ("50", "50"),
        ("I don't know.", "i do not know"),
        ("can't", "can not"),
        ("Mr. Smith", "mister smith"),
        ("Mister Smith", "mister smith"),
        ("the colour", "the color"),
        ("Um, well-known uh", "well known"),
        ("[noise] yes (laughs)", "yes"),
        ("Café", "cafe"),
        ("", ""),
        # From here on: the examples of openai-whisper's tests/test_normalizer.py.
        ("five twenty four", "524"),
        ("two point five million", "2500000"),
        ("two double o eight", "2008"),
        ("nineteen fifties", "1950s"),
        ("thirty first", "31st"),
        ("july third twenty twenty", "july 3rd 2020"),
        ("two dollars and seventy cents", "$2.70"),
        ("three and a half million", "3500000"),
        ("$0.36", "¢36"),
        ("b747", "b 747"),
        ("10 th", "10th"),
        ("minus 500", "-500"),
        ("ninety percent", "90%"),
        ("mobilisation", "mobilization"),
        ("cancelation", "cancellation"),
        ("Let's", "let us"),
        ("he's like", "he is like"),
        ("she's been like", "she has been like"),
        ("10km", "10 km"),
        ("RC232", "rc 232"),
        ("Mr. Park visited Assoc. Prof. Kim Jr.", "mister park visited associate professor kim junior"),
    ],
)
def test_whisper_english_writes_what_whisper_writes(text, expected):
    assert get_normalizer("whisper-english")(text) == expected


def test_the_spelling_table_is_the_published_one():
    table = files("slmtk.metrics").joinpath("whisper_english_spelling.json").read_bytes()
    assert hashlib.sha256(table).hexdigest() == "6607f948be9824d2e1b2fa2223cd94c06c45afa4e05ea0e3d5e1f2bdffde2465"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't know, Mr. Smith!", "i don t know mr smith"),
        ("Fifty, not 50", "fifty not 50"),
        ("well-known [noise] <unk> (laughs)", "well known"),
        ("Café हिन्दी", "café ह न द"),  # vowel signs are marks to it
        ("", ""),
    ],
)
def test_whisper_basic_blanks_out_marks_and_keeps_diacritics(text, expected):
    assert get_normalizer("whisper-basic")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Don’t -- stop: 'now'! ", "don't stop now"),
        ("Fünf  Äpfel, 50 %", "fünf äpfel 50"),
        ("rock'n'roll o' clock", "rock'n'roll o clock"),
        ("हिन्दी।", "हिन्दी"),
        ("你好，世界", "你好 世界"),
        ("", ""),
    ],
)
def test_basic_keeps_words_and_drops_marks_in_any_script(text, expected):
    assert get_normalizer("basic")(text) == expected


def test_none_changes_blanks_alone():
    assert get_normalizer("none")(" A,\tb \n c. ") == "A, b c."


def test_an_unknown_normalizer_lists_the_known():
    known = "whisper-english, whisper-basic, basic, none, seed-tts, seed-tts-zh, f5, nemo-english"
    with pytest.raises(ConfigError, match=f"no normaliser 'whisper'; available: {known}"):
        get_normalizer("whisper")


# Texts out of all that people write: letters, marks of several scripts, digits, brackets, blanks of several kinds.
_LETTERS = "aBéß'’‘`´-–—_.,;:!?¿\"“”()[]{}<>/\\|@#$%&*+=~^0159 \t\n\u3000你好世界，。、「」我們हिन्"


@pytest.mark.parametrize("name", ["whisper-english", "whisper-basic", "basic", "none", "seed-tts", "f5"])
def test_words_lie_between_single_blanks_whatever_is_written(name):
    draw = random.Random(f"texts for {name}")
    normalize = get_normalizer(name)
    for _ in range(300):
        text = "".join(draw.choices(_LETTERS, k=draw.randrange(30)))
        assert normalize(text) == " ".join(normalize(text).split()), text
