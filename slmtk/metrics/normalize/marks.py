"""Normalisers that only touch case, marks and blanks: those of seed-tts-eval and F5-TTS, and two of our own."""

from __future__ import annotations

import string
import unicodedata

# hanzi.punctuation of zhon, the same 82 characters in versions 1.1.5 to 2.1.1.
_CHINESE_MARKS = (
    "\u00b7\u2013\u2014\u2018\u2019\u201b\u201c\u201d\u201e\u201f\u2026\u2027"
    "\u3000\u3001\u3002\u3003\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011\u3014\u3015\u3016\u3017"
    "\u3018\u3019\u301a\u301b\u301c\u301d\u301e\u301f\u3030\u303e\u303f\ufe4f\ufe51\ufe54"
    "\uff01\uff02\uff03\uff04\uff05\uff06\uff07\uff08\uff09\uff0a\uff0b\uff0c\uff0d\uff0e\uff0f\uff1a\uff1b\uff1c"
    "\uff1d\uff1e\uff1f\uff20\uff3b\uff3c\uff3d\uff3e\uff3f\uff40\uff5b\uff5c\uff5d\uff5e\uff5f\uff60\uff61\uff62"
    "\uff63\uff64"
)
_ALL_MARKS = str.maketrans("", "", _CHINESE_MARKS + string.punctuation)
_MARKS_BUT_APOSTROPHE = str.maketrans("", "", (_CHINESE_MARKS + string.punctuation).replace("'", ""))


def single_blanks(text: str) -> str:
    """Words of ``text`` between single blanks."""
    return " ".join(text.split())


def basic(text: str) -> str:
    """Lower-case ``text`` and blank out marks and symbols, but for apostrophes between letters."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    kept = [character if _belongs(folded, position) else " " for position, character in enumerate(folded)]
    return single_blanks("".join(kept))


def without_marks(text: str) -> str:
    """Delete ASCII and Chinese marks from ``text``, leaving no blank for them; the straight apostrophe stays.

    Source: process_one in run_wer.py of https://github.com/BytedanceSpeech/seed-tts-eval. The curly apostrophe is among
    the deleted marks, so that "don’t" becomes "dont" and differs from "don't", there as here.
    """
    return text.translate(_MARKS_BUT_APOSTROPHE)


def seed_tts(text: str) -> str:
    """seed-tts-eval's English: `without_marks`, lower case."""
    return single_blanks(without_marks(text).lower())


def f5(text: str) -> str:
    """F5-TTS's English: ASCII and Chinese marks deleted, apostrophes too; lower case.

    Source: run_asr_wer in src/f5_tts/eval/utils_eval.py of https://github.com/SWivid/F5-TTS.
    """
    return single_blanks(text.translate(_ALL_MARKS).lower())


def _belongs(text: str, position: int) -> bool:
    """Tell whether the character at ``position`` is part of a word."""
    if text[position] == "'":
        around = text[max(position - 1, 0) : position] + text[position + 1 : position + 2]
        return len(around) == 2 and around.isalpha()
    # M: marks that belong to letters, such as the vowel signs of Indic scripts; P, S: punctuation and symbols.
    return unicodedata.category(text[position])[0] not in "PS"
