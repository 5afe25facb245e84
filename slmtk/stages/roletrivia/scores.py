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
from slmtk.stages.roletrivia.questions import Question

NORMALIZER = "whisper-english"
"""What makes text and transcript comparable for the WER."""
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
    text: str | None
    """What was written; None for an answer in speech alone."""
    transcript: str | None
    """What the recogniser heard; "" where there is no whole speech, None from a system that does not speak."""
    wav: str | None
    """The speech, relative to the answers' folder; kept for failures too if there is any."""
    reason: str
    """"" for success, else why there is no whole answer."""
    em_text: float | None
    f1_text: float | None
    em_speech: float | None
    f1_speech: float | None
    word_errors: int | None
    """Between text and transcript, both normalised; None unless the answer is written and spoken."""
    words: int | None
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
    transcript: str | None,
    similarities: tuple[float, float | None] | None,
) -> Answer:
    """Score one answer.

    Args:
        question: what was asked, and what is right.
        record: of the answer: text (None for speech alone), wav, reason, seconds_audio, seconds_wall, steps.
        transcript: of its speech; "" for a failure, whose words then all count as deleted; None from a system that
            does not speak.
        similarities: of its speech to the role's reference and to the other roles' (mean), if it could be judged.
    """
    text: str | None = record["text"]
    counts = None
    if text is not None and transcript is not None:
        normalize = get_normalizer(NORMALIZER)
        counts = align_texts(normalize(text), normalize(transcript))
    own, others = similarities or (None, None)
    return Answer(
        id=question.id,
        split=question.split,
        role=question.role,
        question=question.question,
        answers=question.answers,
        reference=str(question.reference),
        text=text,
        transcript=transcript,
        wav=record["wav"],
        reason=record["reason"],
        em_text=_exact(text, question.answers),
        f1_text=None if text is None else token_f1(text, question.answers),
        em_speech=_exact(transcript, question.answers),
        f1_speech=None if transcript is None else token_f1(transcript, question.answers),
        word_errors=None if counts is None else counts.errors,
        words=None if counts is None else counts.reference_length,
        similarity=None if own is None else round(own, _DIGITS),
        similarity_other_roles=None if others is None else round(others, _DIGITS),
        seconds_audio=record["seconds_audio"],
        seconds_wall=record["seconds_wall"],
        steps=record["steps"],
    )


def _exact(prediction: str | None, answers: Sequence[str]) -> float | None:
    """Exact match, but silence is never right: the official script has it equal to an answer like "The"."""
    if prediction is None:
        return None
    return exact_match(prediction, answers) if prediction.strip() else 0.0


def summarize(answers: Sequence[Answer]) -> dict[str, Any]:
    """Means and corpus rates over one or more ``answers``, as {"value", "low", "high"} (bootstrap 95 % interval).

    Returns:
        questions, succeeded, success_rate, failures (by reason); em_text, f1_text, em_speech, f1_speech in [0, 1]
        (None for what the system does not do: write, or speak); wer (errors over words of all answers; None if there is
        no word that was written to be spoken); similarity and similarity_other_roles in [-1, 1] over the
        similarity_scored answers whose speech could be judged (None if there is none).
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
            name: _mean([value for answer in answers if (value := getattr(answer, name)) is not None])
            for name in ("em_text", "f1_text", "em_speech", "f1_speech")
        },
        "wer": _ratio([answer.word_errors or 0 for answer in answers], [answer.words or 0 for answer in answers]),
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
