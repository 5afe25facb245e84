"""A long text -> pieces short enough to be spoken at once, each with the pause behind it: text -> prompts.

Where it is not sure that a sentence ends ("J. R. Tolkien", "the U.S. Army"), it does not end: two sentences said in one
breath are heard as a fault by nobody, a pause within one is.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

PARAGRAPH_PAUSE, SENTENCE_PAUSE, CLAUSE_PAUSE = 0.3, 0.25, 0.15
"""Seconds of silence behind a piece, by what it ends."""

# Slow reading, so that a text is rather split than cut: audio books have 14 to 16 letters and blanks a second.
_SECONDS_PER_LETTER = 1 / 12
_SECONDS_PER_DIGIT = 0.3  # "1999" is said as three words
_SECONDS_PER_SYLLABLE = 0.2  # a character of Chinese, Japanese or Korean

# Behind these a sentence never ends.
_NEVER_LAST = re.compile(
    r"mrs?|m[sxt]|dr|prof|st|ft|rev|hon|pres|gov|sen|rep|gen|col|maj|capt|cmdr|lt|sgt|cpl|pvt|messrs|mme|mlle|sra|srta|"
    r"dra|vs|cf|viz|approx|dept|e\.?g|i\.?e|z\.b|d\.h|bzw|ca|hr|fr|sig"
)
# Behind these one ends if a capital letter follows.
_PERHAPS_LAST = re.compile(
    r"etc|inc|ltd|co|corp|jr|sr|bros|al|[ap]\.m|ph\.d|[bm]\.a|usw|u\.a|str|jan|feb|aug|sept|oct|nov|dec"
)
# These are abbreviations only in front of a number.
_BEFORE_NUMBERS = re.compile(r"nos?|nr|vol|figs?|chap|ch|pp?|art|sec|eq")
_INITIALS = re.compile(r"[A-HJ-Z]|(?:[A-Za-z]\.)+[A-Za-z]")
# "3. Mai": a German ordinal number, not the end of a sentence.
_GERMAN_DATE = re.compile(
    r"(Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert)\b"
)

_CLOSERS = "\"'”’»›)\\]}」』）】》"
_SPACED_ENDS = ".!?…؟۔।॥።"
_UNSPACED_ENDS = "。！？｡។။"
_END = re.compile(rf"[{_SPACED_ENDS}]+[{_CLOSERS}]*(?=\s|$)|[{_UNSPACED_ENDS}]+[{_CLOSERS}{_SPACED_ENDS}]*")
_CLAUSE = re.compile(rf"(?:[,;:،؛]|\s[-–])[{_CLOSERS}]*\s+|[—、，；：]\s*")
_WORD = re.compile(r"\S+\s*")
_PARAGRAPH = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Piece:
    """What is spoken at once.

    Attributes:
        text: without blanks around it.
        pause: seconds of silence behind it; 0 behind the last.
    """

    text: str
    pause: float = 0.0


def estimate_seconds(text: str) -> float:
    """Guess how long a slow reader takes for ``text``."""
    return sum(map(_seconds_of, " ".join(text.split())))


def split_text(text: str, max_seconds: float) -> list[Piece]:
    """Split ``text`` at its sentences if it takes longer than ``max_seconds`` to say.

    A sentence that is still too long is split at clauses, then between words, then, in scripts that write no blanks,
    between characters. A word of letters is never broken, however long it is.

    Args:
        text: any text; blanks around it do not count.
        max_seconds: by `estimate_seconds`.

    Returns:
        one piece or more (one, empty, of an empty text); put together they are ``text`` but for blanks.
    """
    text = text.strip()
    if estimate_seconds(text) <= max_seconds:
        return [Piece(text)]
    pieces: list[Piece] = []
    for paragraph in _PARAGRAPH.split(text):
        for sentence in split_sentences(paragraph):
            parts = _fit(" ".join(sentence.split()), max_seconds)
            pieces += [Piece(part, CLAUSE_PAUSE) for part in parts[:-1]]
            pieces.append(Piece(parts[-1], SENTENCE_PAUSE))
        pieces[-1] = Piece(pieces[-1].text, PARAGRAPH_PAUSE)
    pieces[-1] = Piece(pieces[-1].text)
    return pieces


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph, without blanks around them; none of an empty text."""
    sentences, start = [], 0
    for match in _END.finditer(text):
        if _ends(text, start, match):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the marks in ``match`` end the sentence that begins at ``start``."""
    if match[0][0] in _UNSPACED_ENDS:
        return True
    following = text[match.end() :].lstrip()
    first = following.lstrip("\"'“‘«‹([{¿¡—-")[:1]
    if first.islower():  # "Stop!" he cried.
        return False
    if match[0][0] != "." or match[0].startswith(".."):
        return True
    words = text[start : match.start()].split()
    word = words[-1].lstrip("\"'“‘«‹([{¿¡") if words else ""
    if word.isdigit() and (len(words) == 1 or _GERMAN_DATE.match(following)):  # "1. Buy milk."
        return False
    return not _is_abbreviation(word, first)


def _is_abbreviation(word: str, following: str) -> bool:
    lower = word.lower()
    if _NEVER_LAST.fullmatch(lower) or (_BEFORE_NUMBERS.fullmatch(lower) and following.isdigit()):
        return True
    if _PERHAPS_LAST.fullmatch(lower):
        return not following.isupper()
    return bool(_INITIALS.fullmatch(word))  # not "I": "It was I."


def _fit(text: str, max_seconds: float) -> list[str]:
    """Split a sentence that takes longer than ``max_seconds``, at the weightiest breaks that suffice."""
    if estimate_seconds(text) <= max_seconds:
        return [text.strip()]
    for atoms in (_clauses(text), _WORD.findall(text), list(_characters(text))):
        packed = list(_pack(atoms, max_seconds))
        if len(packed) > 1:
            return [part for piece in packed for part in _fit(piece, max_seconds)]
    return [text.strip()]


def _clauses(text: str) -> list[str]:
    bounds = [0, *(match.end() for match in _CLAUSE.finditer(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds) if text[a:b].strip()]


def _characters(text: str) -> Iterator[str]:
    """Stretches between which a text without blanks may be broken: never in front of a mark or inside a word."""
    held = ""
    for character in text:
        breakable = _is_unspaced(held[-1:]) and _is_unspaced(character)
        if held and (not breakable or unicodedata.category(character)[0] in "MP"):
            held += character
            continue
        if held:
            yield held
        held = character
    if held:
        yield held


def _pack(atoms: list[str], max_seconds: float) -> Iterator[str]:
    """Join neighbours to pieces of about equal length, each at most ``max_seconds`` unless one atom is longer."""
    lengths = [sum(map(_seconds_of, atom)) for atom in atoms]  # with the blanks behind them
    total = sum(lengths)
    wanted = total / math.ceil(total / max_seconds)
    held, seconds = "", 0.0
    for place, (atom, length) in enumerate(zip(atoms, lengths, strict=True)):
        # At the nearer of two breaks; a last piece of one short atom would sound like a slip.
        full = seconds + length > max_seconds or (seconds + length / 2 > wanted and place < len(atoms) - 1)
        if held and full:
            yield held
            held, seconds = "", 0.0
        held, seconds = held + atom, seconds + length
    yield held


def _seconds_of(character: str) -> float:
    if character.isdigit():
        return _SECONDS_PER_DIGIT
    if _is_mark(character):
        return 0.0
    return _SECONDS_PER_SYLLABLE if _is_wide(character) else _SECONDS_PER_LETTER


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) == "W" and character.isalpha()


def _is_unspaced(character: str) -> bool:
    """Whether the script is one that writes no blanks: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    if not character:
        return False
    if _is_mark(character) or unicodedata.east_asian_width(character) in "WF":
        return True
    return unicodedata.name(character, "").startswith(("THAI", "LAO", "KHMER", "MYANMAR"))
