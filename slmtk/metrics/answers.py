"""Answers to questions -> exact match and F1, as TriviaQA scores them: the score of spoken question answering."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from slmtk.errors import FormatError

# Source: TriviaQA's evaluation script, version 1.0 (Joshi et al., ACL 2017, arXiv 1705.03551).
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower case, every mark (underscores too) a blank, no articles, single blanks: TriviaQA's own normalisation."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Return 1.0 if ``prediction`` equals one of ``answers`` after normalisation, else 0.0.

    Raises:
        FormatError: there is no answer to compare with.
    """
    found = normalize_answer(prediction)
    return float(any(found == normalize_answer(answer) for answer in _some(answers)))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the best F1, 0 to 1, between the words of ``prediction`` and those of one of ``answers``.

    Words count as often as they occur. Two texts without a word have F1 0, as in the official script.

    Raises:
        FormatError: there is no answer to compare with.
    """
    words = Counter(normalize_answer(prediction).split())
    return max(_f1(words, Counter(normalize_answer(answer).split())) for answer in _some(answers))


def _f1(prediction: Counter[str], answer: Counter[str]) -> float:
    shared = (prediction & answer).total()
    return 2 * shared / (prediction.total() + answer.total()) if shared else 0.0


def _some(answers: Sequence[str]) -> Sequence[str]:
    if isinstance(answers, str) or not answers:
        raise FormatError(f"answers are {answers!r}; expected a list of one text or more")
    return answers
