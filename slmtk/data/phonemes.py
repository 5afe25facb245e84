"""Text -> tokens of a dataset and of prompts: the sounds of words, not their letters, for models that only speak.

A model trained from scratch on hours of speech has to learn from them, too, which letters stand for which sound, and of
words that it never heard it does not. espeak-ng knows the pronunciation of most words of some hundred languages,
of numbers and of abbreviations. What is lost is the way back: such a model can speak, but not write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slmtk.config import write_json
from slmtk.data.text_ids import FILE_NAME, FORMAT, SPECIAL_TOKENS, check_ids, check_unicode
from slmtk.errors import ConfigError, FormatError

KIND = "phonemes"
STRESS = "ˈˌ"
SPACE = " "
"""The token between two words."""
_MARKS = (",", ".", ";", ":", "!", "?", "-")
# What prompts put around the words is a token each: it is not spoken. Spelt out here and not taken from the prompts,
# because a saved tokenizer's ids follow from the order of these.
_TEMPLATES = (": Read this sentence:", " You should speak like: ", " The speech is: ", ".\n\n", ".\n ")
_FIXED = (*SPECIAL_TOKENS, SPACE, *_MARKS, *_TEMPLATES)
_PARTS = re.compile("|".join([*map(re.escape, _TEMPLATES), r"(?<=\s)-+(?=\s)|--+", r"[,.;:!?]+(?=\s|$|[,.;:!?])"]))


def parse_phonemes(name: str) -> str | None:
    """Return the language of "phonemes" (en-us) or "phonemes:LANGUAGE", None if ``name`` is another kind."""
    match = re.fullmatch(r"phonemes(?::([\w-]+))?", name)
    return (match[1] or "en-us") if match else None


class PhonemeTokenizer:
    """One token a phone, stress marks with their vowel; one between words, one a mark, one a template of prompts.

    Attributes:
        name: "phonemes:" and the language.
        language: espeak-ng's name of it.
        phones: those that have a token of their own. Another one is spelt by those it is written with, or left out.
        vocab_size: special tokens, marks and templates, then ``phones``.
    """

    eos_id = 0
    bos_id = 1

    def __init__(self, language: str, phones: Sequence[str]) -> None:
        """Take ``phones`` in their order."""
        self.name = f"{KIND}:{language}"
        self.language = language
        self.phones = tuple(phones)
        self._tokens = (*_FIXED, *self.phones)
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        self.vocab_size = len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the phones of ``text``.

        Raises:
            ConfigError: espeak-ng does not know the language.
            FormatError: ``text`` holds a lone surrogate.
            MissingDependencyError: espeakng-loader is not installed.
        """
        check_unicode(text)
        ids = [self._ids[token] for phone in phones_of(text, self.language) for token in self._spell(phone)]
        spaces = self._ids[SPACE]
        return [number for i, number in enumerate(ids) if number != spaces or (i > 0 and ids[i - 1] != spaces)]

    def _spell(self, phone: str) -> list[str]:
        for form in (phone, phone.lstrip(STRESS)):
            if form in self._ids:
                return [form]
        return [sign for sign in phone if sign in self._ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The phones and marks of ``ids`` in a row, special tokens left out: not the text they came from.

        Raises:
            FormatError: an id is not one of the tokenizer's.
        """
        check_ids(ids, self.vocab_size)
        return "".join(self._tokens[number] for number in ids if number >= len(SPECIAL_TOKENS))

    def save(self, folder: Path) -> None:
        """Write the one file that says language and phones."""
        saved = {"format": FORMAT, "kind": KIND, "name": self.name, "language": self.language}
        write_json(folder / FILE_NAME, {**saved, "phones": list(self.phones)})


def load_phonemes(saved: dict[str, Any], path: Path) -> PhonemeTokenizer:
    """Return what `PhonemeTokenizer.save` wrote to ``path``.

    Raises:
        FormatError: it names no language or phones.
    """
    language, phones = saved.get("language"), saved.get("phones")
    if not isinstance(language, str) or not isinstance(phones, list) or not all(isinstance(p, str) for p in phones):
        raise FormatError(f"{path} is of kind phonemes, but names no language and list of phones; copy it again")
    return PhonemeTokenizer(language, phones)


def find_phones(texts: Iterable[str], language: str) -> PhonemeTokenizer:
    """A tokenizer of all phones that ``texts`` are spoken with, and of each without its stress.

    Raises:
        ConfigError: nothing of ``texts`` can be spoken, or espeak-ng does not know the language.
        MissingDependencyError: espeakng-loader is not installed.
    """
    phones: set[str] = set()
    for text in texts:
        phones.update(phones_of(text, language))
    phones |= {phone.lstrip(STRESS) for phone in phones}
    phones -= {*_FIXED, ""}
    if not phones:
        raise ConfigError(f"--tokenizer {KIND}:{language}: there is no text to be spoken among the codes")
    return PhonemeTokenizer(language, sorted(phones))


def phones_of(text: str, language: str) -> Iterator[str]:
    """Phones, marks, templates and `SPACE` in the order of ``text``."""
    from slmtk.synthesis.phonemes import pronounce

    pieces, between = [], []
    start = 0
    for match in _PARTS.finditer(text):
        pieces.append(text[start : match.start()])
        between.append(match[0])
        start = match.end()
    pieces.append(text[start:])
    spoken = pronounce(tuple(pieces), language)
    for words, mark in zip(spoken, [*between, ""], strict=True):
        for number, word in enumerate(words):
            if number:
                yield SPACE
            yield from word
        if mark in _TEMPLATES:
            yield mark
        elif mark:
            yield mark[-1] if mark[-1] in _MARKS else "-"
