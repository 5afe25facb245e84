"""Transcripts that nobody would write: loops, too much, too little, too fast; marks beside an utterance's score."""

from __future__ import annotations

from collections.abc import Sequence

REPEATED, TOO_FAST, TOO_LONG, TOO_SHORT = "repeated", "too_fast", "too_long", "too_short"
FLAGS = {
    REPEATED: "one to ten words three times or more in a row, more often than in the text",
    TOO_FAST: "more than 30 characters a second",
    TOO_LONG: "more than twice the characters of the text",
    TOO_SHORT: "less than half the characters of the text",
}
"""Name of a mark -> what it says."""

_LONGEST_NGRAM = 10
_REPEATS = 3
# About twice the pace of somebody who reads English in a hurry; a transcript beyond it was not said.
_CHARACTERS_PER_SECOND = 30.0
_RATIO = 2.0
# "I" heard as "Aye" is no hallucination: texts this near in length are never too long or too short.
_NEAR = 5


def hallucination_flags(reference: Sequence[str], hypothesis: Sequence[str], seconds: float | None) -> tuple[str, ...]:
    """Return the marks (`FLAGS`) that a transcript deserves; the speech or the recogniser may be at fault.

    Args:
        reference: normalised words, or characters, of the text.
        hypothesis: of the transcript.
        seconds: of speech; None if unknown.
    """
    said, heard = sum(map(len, reference)), sum(map(len, hypothesis))
    marks = {
        REPEATED: _loops(reference, hypothesis),
        TOO_FAST: seconds is not None and heard > _CHARACTERS_PER_SECOND * seconds,
        TOO_LONG: heard > _RATIO * said and heard - said > _NEAR,
        TOO_SHORT: _RATIO * heard < said and said - heard > _NEAR,
    }
    return tuple(name for name, marked in marks.items() if marked)


def _loops(reference: Sequence[str], hypothesis: Sequence[str]) -> bool:
    if len(hypothesis) - len(set(hypothesis)) < _REPEATS - 1:
        return False
    for length in range(1, min(_LONGEST_NGRAM, len(hypothesis) // _REPEATS) + 1):
        repeats = most_repeats(hypothesis, length)
        if repeats >= _REPEATS and repeats > most_repeats(reference, length):
            return True
    return False


def most_repeats(words: Sequence[str], length: int) -> int:
    """Return how often some ``length`` words stand in a row, at most: 3 for "go on go on go on", 1 for "go on".

    Args:
        words: any.
        length: of what repeats, 1 or more.
    """
    if len(words) < length:
        return 0
    longest = same = 0
    for earlier, later in zip(words, words[length:], strict=False):
        same = same + 1 if earlier == later else 0
        longest = max(longest, same)
    return longest // length + 1
