"""Word and character error rates: what was said against what was heard, the last step before a score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import jiwer


@dataclass(frozen=True)
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
    """Count the fewest edits that make ``hypothesis`` of ``reference``: words without blanks in them.

    An empty reference counts every word heard as inserted, an empty hypothesis every word as deleted.
    Edits are jiwer's.
    """
    if not reference or not hypothesis:  # jiwer refuses an empty reference
        return Counts(deletions=len(reference), insertions=len(hypothesis))
    return _counts(jiwer.process_words(" ".join(reference), " ".join(hypothesis)))


def _counts(output: jiwer.WordOutput | jiwer.CharacterOutput) -> Counts:
    return Counts(output.substitutions, output.deletions, output.insertions, output.hits)


def align_texts(reference: str, hypothesis: str) -> Counts:
    """Align the words between the blanks of two normalised texts."""
    return align(reference.split(), hypothesis.split())


def align_characters(reference: str, hypothesis: str) -> Counts:
    """Align the characters of two normalised texts, single blanks between words included, as jiwer's CER does."""
    if not reference or not hypothesis:
        return Counts(deletions=len(reference), insertions=len(hypothesis))
    return _counts(jiwer.process_characters(reference, hypothesis))


def corpus_counts(utterances: Iterable[Counts]) -> Counts:
    """Sum over utterances; its ``rate`` is the corpus error rate, in which long utterances weigh more."""
    return reduce(add, utterances, Counts())


def mean_rate(utterances: Sequence[Counts]) -> float:
    """Mean of the utterances' rates, in which each utterance weighs the same; 0 of none."""
    return sum(counts.rate for counts in utterances) / len(utterances) if utterances else 0.0


def all_deleted(reference: str) -> tuple[Counts, Counts]:
    """Counts of words and of characters for an utterance of which nothing was said at all."""
    return align_texts(reference, ""), align_characters(reference, "")
