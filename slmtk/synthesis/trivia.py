"""The trivia questions that ship with slmtk, written for it: a sample of twenty and a small RoleTriviaQA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from slmtk.errors import ConfigError

SETS = {"sample": "trivia.jsonl", "mini": "roletrivia_mini.jsonl"}
"""Name of each set -> its file beside this module."""
ID, REWORDED, OOD = "id", "id-reworded", "ood"
"""Splits of the benchmark: asked as in training, asked with words that training lacks, not in training."""


@dataclass(frozen=True)
class Trivia:
    """One question.

    Attributes:
        id: unique in its set.
        question: as it is asked.
        answers: the canonical answer first, then others that are right too.
        split: "id" for those whose answers the embedded corpus speaks in its training part, "ood" for the others.
        category: what it is about; "" if its set has no categories.
        wordings: further ways to ask it, for training.
        reworded: a way to ask it that is kept from training; "" if there is none.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    split: str
    category: str = ""
    wordings: tuple[str, ...] = ()
    reworded: str = ""


@dataclass(frozen=True)
class Lesson:
    """One spoken answer to train on.

    Attributes:
        index: of the question in its set.
        voice: of the role that answers, among the corpus's voices.
        question: in the wording that this role is asked.
        answer: the canonical one.
    """

    index: int
    voice: int
    question: str
    answer: str


@dataclass(frozen=True)
class Asked:
    """One question of the benchmark: ``item`` asked as ``question`` of role ``voice``, scored with its ``split``."""

    id: str
    item: Trivia
    question: str
    split: str
    voice: int


def load_trivia(name: str = "sample") -> list[Trivia]:
    """Return a set of `SETS`: "sample" (twelve "id", eight "ood") or "mini", with wordings and categories.

    Raises:
        ConfigError: there is no such set.
    """
    if name not in SETS:
        raise ConfigError(f"no trivia questions {name!r}; expected one of {', '.join(SETS)}")
    text = resources.files("slmtk.synthesis").joinpath(SETS[name]).read_text(encoding="utf-8")
    return [_read(json.loads(line)) for line in text.splitlines()]


def _read(row: dict[str, Any]) -> Trivia:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Trivia(**values)


def lessons(trivia: Sequence[Trivia], voices: int) -> list[Lesson]:
    """Return what to speak for training, voice by voice: the answers to the "id" questions.

    A question without ``reworded`` is answered by every voice. Of one that has it, a wording and a role are kept back:
    the role that the benchmark asks never answers it in training, and the others share its trained wordings among them.

    Raises:
        ConfigError: a role is to be kept back and there is only one.
    """
    if voices < 2 and any(item.reworded for item in trivia):
        raise ConfigError("each question is kept from one role in training, so 2 or more voices are needed")
    known = [(index, item) for index, item in enumerate(trivia) if item.split == ID]
    return [
        Lesson(index, voice, _wording(item, index, voice, voices), item.answers[0])
        for voice in range(voices)
        for index, item in known
        if not item.reworded or voice != _role(index, voices)
    ]


def benchmark(trivia: Sequence[Trivia], voices: int) -> list[Asked]:
    """Return what to ask: each question of a role, roles in turn; its ``reworded`` form follows, of the same role."""
    asked = []
    for index, item in enumerate(trivia):
        voice = _role(index, voices)
        asked.append(Asked(item.id, item, item.question, item.split, voice))
        if item.reworded:
            asked.append(Asked(f"{item.id}-reworded", item, item.reworded, REWORDED, voice))
    return asked


def _role(index: int, voices: int) -> int:
    return index % voices


def _wording(item: Trivia, index: int, voice: int, voices: int) -> str:
    """Counted from the role that is kept back, so that with four voices or more each wording is asked of some role."""
    choices = (item.question, *item.wordings)
    return choices[(voice - _role(index, voices) - 1) % voices % len(choices)]
