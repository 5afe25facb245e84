"""One answer -> its scores, and many answers -> a row of the benchmark's table, with bootstrap intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmtk.metrics.answers import exact_match, token_f1
from slmtk.metrics.intervals import bootstrap_mean, bootstrap_ratio
from slmtk.metrics.normalize import get_normalizer
from slmtk.metrics.wer import align_texts
from slmtk.stages.trivia import Question

_NORMALIZER = "whisper-english"
_DIGITS = 4


@dataclass(frozen=True)
class Answer:
    """A question, what the model wrote and said, and what that is worth: a line of answers.jsonl."""

    id: str
    split: str
    role: str
    question: str
    answers: tuple[str, ...]
    reference: str
    text: str
    """What the model wrote."""
    transcript: str
    """What the recogniser heard; "" where the model did not speak."""
    wav: str | None
    """The speech, relative to the run's folder; kept for failures too if there is any."""
    reason: str
    """"" for success, else why there is no whole speech."""
    em_text: float
    f1_text: float
    em_speech: float
    f1_speech: float
    word_errors: int
    """Between text and transcript, both normalised."""
    words: int
    """Of the normalised text."""
    similarity: float | None
    """Of the speech to the role's reference; None where there is none to judge."""
    similarity_other_roles: float | None
    """Mean similarity of the speech to the other roles' references."""
    seconds_audio: float
    seconds_wall: float
    steps: int


def score_answer(
    question: Question,
    record: Mapping[str, Any],
    transcript: str,
    similarities: tuple[float, float | None] | None,
) -> Answer:
    """Score one answer.

    Args:
        question: what was asked, and what is right.
        record: of the model's answer: text, wav, reason, seconds_audio, seconds_wall, steps.
        transcript: of its speech; "" for a failure, whose words then all count as deleted.
        similarities: of its speech to the role's reference and to the other roles' (mean), if it could be judged.
    """
    normalize = get_normalizer(_NORMALIZER)
    counts = align_texts(normalize(record["text"]), normalize(transcript))
    own, others = similarities or (None, None)
    return Answer(
        id=question.id,
        split=question.split,
        role=question.role,
        question=question.question,
        answers=question.answers,
        reference=str(question.reference),
        text=record["text"],
        transcript=transcript,
        wav=record["wav"],
        reason=record["reason"],
        em_text=_exact(record["text"], question.answers),
        f1_text=token_f1(record["text"], question.answers),
        em_speech=_exact(transcript, question.answers),
        f1_speech=token_f1(transcript, question.answers),
        word_errors=counts.errors,
        words=counts.reference_length,
        similarity=None if own is None else round(own, _DIGITS),
        similarity_other_roles=None if others is None else round(others, _DIGITS),
        seconds_audio=record["seconds_audio"],
        seconds_wall=record["seconds_wall"],
        steps=record["steps"],
    )


def _exact(prediction: str, answers: Sequence[str]) -> float:
    """Exact match, but silence is never right: the official script has it equal to an answer like "The"."""
    return exact_match(prediction, answers) if prediction.strip() else 0.0


def summarize(answers: Sequence[Answer]) -> dict[str, Any]:
    """Means and corpus rates over one or more ``answers``, as {"value", "low", "high"} (bootstrap 95 % interval).

    Returns:
        questions, succeeded, success_rate, failures (by reason); em_text, f1_text, em_speech, f1_speech in [0, 1];
        wer (errors over words of all answers; None if the model wrote no word); similarity and similarity_other_roles
        in [-1, 1] over the similarity_scored answers whose speech could be judged (None if there is none).
    """
    judged = [answer for answer in answers if answer.similarity is not None]
    pairs = [answer for answer in judged if answer.similarity_other_roles is not None]
    succeeded = sum(not answer.reason for answer in answers)
    return {
        "questions": len(answers),
        "succeeded": succeeded,
        "success_rate": round(succeeded / len(answers), _DIGITS),
        "failures": dict(sorted(Counter(answer.reason for answer in answers if answer.reason).items())),
        **{
            name: _mean([float(getattr(answer, name)) for answer in answers])
            for name in ("em_text", "f1_text", "em_speech", "f1_speech")
        },
        "wer": _ratio([answer.word_errors for answer in answers], [answer.words for answer in answers]),
        "similarity": _mean([answer.similarity or 0.0 for answer in judged]),
        "similarity_other_roles": _mean([answer.similarity_other_roles or 0.0 for answer in pairs]),
        "similarity_scored": len(judged),
    }


def _mean(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    interval = bootstrap_mean(values)
    return _numbers(sum(values) / len(values), interval.low, interval.high)


def _ratio(errors: Sequence[int], words: Sequence[int]) -> dict[str, float] | None:
    if not sum(words):
        return None
    interval = bootstrap_ratio(errors, words)
    return _numbers(sum(errors) / sum(words), interval.low, interval.high)


def _numbers(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": round(value, _DIGITS), "low": round(low, _DIGITS), "high": round(high, _DIGITS)}
