"""Word and character error rates: what was said against what was heard, the last step before a score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True, slots=True)
class Counts:
    """How a hypothesis differs from its reference, in words or characters.

    Attributes:
        substitutions: of the reference, heard as something else.
        deletions: of the reference, not heard.
        insertions: heard, not in the reference.
        hits: of the reference, heard.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Words (or characters) of the reference."""
        return self.substitutions + self.deletions + self.hits

    @property
    def rate(self) -> float:
        """Errors per word of the reference; may exceed 1. Without a reference: 0 if nothing was heard, else 1."""
        if not self.reference_length:
            return float(self.errors > 0)
        return self.errors / self.reference_length

    def __add__(self, other: Counts) -> Counts:
        """Sum of both."""
        return Counts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Counts:
    """Count the fewest edits that make ``hypothesis`` of ``reference``: words, or the characters of two strings.

    An empty reference counts every word heard as inserted, an empty hypothesis every word as deleted. Edits are those
    of rapidfuzz, which jiwer counts too; asked directly it takes a part of the time of jiwer's checks and tables.
    """
    if reference == hypothesis:
        return Counts(hits=len(reference))
    if isinstance(reference, str) and isinstance(hypothesis, str):
        edits = Levenshtein.editops(reference, hypothesis)
    else:
        # rapidfuzz compares hashes of words; small numbers are exact.
        numbers: dict[str, int] = {}
        said = [numbers.setdefault(word, len(numbers)) for word in reference]
        edits = Levenshtein.editops(said, [numbers.setdefault(word, len(numbers)) for word in hypothesis])
    # Every unit of one side is a hit or has an edit: three sums for three unknowns, without a Python object an edit.
    hits = sum([block.size for block in edits.as_matching_blocks()])
    deletions, insertions = (len(edits) - (len(side) - hits) for side in (hypothesis, reference))
    return Counts(len(edits) - deletions - insertions, deletions, insertions, hits)


def align_texts(reference: str, hypothesis: str) -> Counts:
    """Align the words between the blanks of two normalised texts."""
    return align(reference.split(), hypothesis.split())


def align_characters(reference: str, hypothesis: str) -> Counts:
    """Align the characters of two normalised texts, single blanks between words included, as jiwer's CER does."""
    return align(reference, hypothesis)


def text_units(text: str, unit: str = "word") -> list[str]:
    """Return what a rate is counted in: the words of a normalised text, or its characters without blanks.

    Args:
        text: normalised.
        unit: "word" or "character".
    """
    return text.split() if unit == "word" else [character for character in text if not character.isspace()]


def corpus_counts(utterances: Iterable[Counts]) -> Counts:
    """Sum over utterances; its ``rate`` is the corpus error rate, in which long utterances weigh more."""
    return reduce(add, utterances, Counts())


def mean_rate(utterances: Sequence[Counts]) -> float:
    """Mean of the utterances' rates, in which each utterance weighs the same; 0 of none."""
    return sum(counts.rate for counts in utterances) / len(utterances) if utterances else 0.0


def all_deleted(reference: str) -> tuple[Counts, Counts]:
    """Counts of words and of characters for an utterance of which nothing was said at all."""
    return align_texts(reference, ""), align_characters(reference, "")
