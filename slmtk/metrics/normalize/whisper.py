"""The two normalisers that came with Whisper, in the copy that transformers carries."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files

from slmtk.metrics.normalize.marks import single_blanks


def english() -> Callable[[str], str]:
    """Return EnglishTextNormalizer.

    Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C; transformers' copy
    with the spelling table of openai-whisper 20250625.
    """
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    table = files("slmtk.metrics").joinpath("whisper_english_spelling.json").read_text(encoding="utf-8")
    make: Callable[[dict[str, str]], Callable[[str], str]] = EnglishTextNormalizer
    normalize = make(json.loads(table))
    return lambda text: single_blanks(normalize(text))


def basic() -> Callable[[str], str]:
    """Return BasicTextNormalizer as it is by default: diacritics stay, words are not split into letters."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    make: Callable[[], Callable[[str], str]] = BasicTextNormalizer
    normalize = make()
    return lambda text: single_blanks(normalize(text))
