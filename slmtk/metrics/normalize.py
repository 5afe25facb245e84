"""Texts -> the words that are compared: on the way from transcript to score, the same for reference and hypothesis."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from slmtk.errors import ConfigError

Normalizer = Callable[[str], str]
NORMALIZERS = ("whisper-english", "basic", "none")


@cache
def get_normalizer(name: str) -> Normalizer:
    """Return the function that makes texts comparable; its words lie between single blanks.

    - "whisper-english": OpenAI Whisper's EnglishTextNormalizer: lower case, no punctuation, numbers in digits
      ("fifty" is "50"), contractions spelled out ("don't" is "do not"), titles ("Mr." is "mister"), American spelling,
      no "um". Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C; its
      copy in transformers with the spelling table of openai-whisper 20250625.
    - "basic": lower case, apostrophes inside words kept, every other mark or symbol a blank, in any script.
    - "none": nothing but single blanks.

    Raises:
        ConfigError: no normaliser of that name.
    """
    if name == "whisper-english":
        from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

        table = files("slmtk.metrics").joinpath("whisper_english_spelling.json").read_text(encoding="utf-8")
        make: Callable[[dict[str, str]], Normalizer] = EnglishTextNormalizer
        whisper = make(json.loads(table))
        return lambda text: _single_blanks(whisper(text))
    if name == "basic":
        return _basic
    if name == "none":
        return _single_blanks
    raise ConfigError(f"no normaliser {name!r}; available: {', '.join(NORMALIZERS)}")


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


def _basic(text: str) -> str:
    """Lower-case ``text`` and blank out marks and symbols, but for apostrophes between letters."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    kept = [character if _belongs(folded, position) else " " for position, character in enumerate(folded)]
    return _single_blanks("".join(kept))


def _belongs(text: str, position: int) -> bool:
    """Tell whether the character at ``position`` is part of a word."""
    if text[position] == "'":
        around = text[max(position - 1, 0) : position] + text[position + 1 : position + 2]
        return len(around) == 2 and around.isalpha()
    # M: marks that belong to letters, such as the vowel signs of Indic scripts; P, S: punctuation and symbols.
    return unicodedata.category(text[position])[0] not in "PS"
