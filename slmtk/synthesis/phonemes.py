"""Text -> phones by espeak-ng inside the process: how words are pronounced, in the International Phonetic Alphabet.

As in `slmtk.synthesis.espeak`, the library is loaded afresh for each text, so that its phones depend on nothing that
was asked before. Source of the signature and of the mode's bits: espeak-ng 1.52, ``speak_lib.h``.
"""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache
from typing import Any

from slmtk.errors import ConfigError
from slmtk.synthesis.espeak import loaded

SEPARATOR = "_"
_CHARS_UTF8 = 1
_IPA = 2
_MODE = _IPA | ord(SEPARATOR) << 8
# espeak-ng marks words of another language so: "(en)...(fr)".
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")


@lru_cache(maxsize=4096)
def pronounce(texts: tuple[str, ...], language: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Phones of each word of each of ``texts``: a stressed vowel begins with its stress mark, as in "ˈæ".

    Args:
        texts: pieces between marks; each is pronounced by itself.
        language: espeak-ng's name of a language or accent, such as "en-us".

    Returns:
        For each text its words, each a tuple of phones; a text without anything to say has no words. Numbers and
        abbreviations are spoken out, so the words are not those that were written.

    Raises:
        ConfigError: espeak-ng has no such language.
        MissingDependencyError: espeakng-loader is not installed.
        SlmtkError: espeak-ng cannot run.
    """
    with loaded() as library:
        if library.espeak_SetVoiceByName(language.encode()):
            raise ConfigError(f"espeak-ng has no language {language!r}; expected one such as en-us, en-gb, de or cmn")
        function = library.espeak_TextToPhonemes
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
        return tuple(_words(_transcribe(function, text)) for text in texts)


def _transcribe(function: Any, text: str) -> str:
    content = ctypes.create_string_buffer(text.encode())
    place = ctypes.c_void_p(ctypes.addressof(content))
    clauses = []
    while place.value:  # one clause a call; the place becomes null behind the last
        clauses.append((function(ctypes.byref(place), _CHARS_UTF8, _MODE) or b"").decode())
    return _LANGUAGE_SWITCH.sub("", " ".join(clauses))


def _words(transcription: str) -> tuple[tuple[str, ...], ...]:
    words = (tuple(phone for phone in word.split(SEPARATOR) if phone) for word in transcription.split())
    return tuple(word for word in words if word)
