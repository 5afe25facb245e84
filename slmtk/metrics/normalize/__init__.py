"""Texts -> the words that are compared: on the way from transcript to score, the same for reference and hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from slmtk.errors import ConfigError
from slmtk.metrics.normalize import chinese, marks, nemo, whisper

Normalizer = Callable[[str], str]

_MAKERS: dict[str, Callable[[], Normalizer]] = {
    "whisper-english": whisper.english,
    "whisper-basic": whisper.basic,
    "basic": lambda: marks.basic,
    "none": lambda: marks.single_blanks,
    "seed-tts": lambda: marks.seed_tts,
    "seed-tts-zh": chinese.seed_tts_zh,
    "f5": lambda: marks.f5,
    "nemo-english": nemo.english,
}
NORMALIZERS = tuple(_MAKERS)


@cache
def get_normalizer(name: str) -> Normalizer:
    """Return the function that makes texts comparable; its words lie between single blanks.

    - "whisper-english": OpenAI Whisper's EnglishTextNormalizer: lower case, no punctuation, numbers in digits
      ("fifty" is "50"), contractions spelled out ("don't" is "do not"), titles ("Mr." is "mister"), American spelling,
      no "um".
    - "whisper-basic": OpenAI Whisper's BasicTextNormalizer, which VERSA uses: lower case, marks to blanks ("don't" is
      "don t"), what stands in brackets left out, any script.
    - "basic": lower case, apostrophes inside words kept, every other mark or symbol a blank, in any script.
    - "none": nothing but single blanks.
    - "seed-tts": seed-tts-eval's for English: marks deleted ("well-known" is "wellknown") but the straight apostrophe,
      lower case; "fifty" and "50" differ.
    - "seed-tts-zh": seed-tts-eval's for Chinese: simplified characters, marks deleted, every character a word.
    - "f5": F5-TTS's for English: as "seed-tts", and apostrophes deleted too ("don't" is "dont").
    - "nemo-english": NeMo's written-to-spoken grammar ("50" is "fifty", "Mr." is "mister"), then everything but the
      letters a to z deleted ("don't" is "dont"), lower case.

    Raises:
        ConfigError: no normaliser of that name.
        MissingDependencyError: it needs a package that is not installed.
    """
    if name not in _MAKERS:
        raise ConfigError(f"no normaliser {name!r}; available: {', '.join(NORMALIZERS)}")
    return _MAKERS[name]()
