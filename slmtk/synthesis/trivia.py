"""The sample of trivia questions that ships with slmtk: written for it, with answers in the embedded corpus's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Trivia:
    """One question.

    Attributes:
        id: unique in the sample.
        question: as it is asked.
        answers: the canonical answer first, then others that are right too.
        split: "id" for those whose answers the embedded corpus speaks in its training part, "ood" for the others.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    split: str


def load_trivia() -> list[Trivia]:
    """The twenty questions of the sample: twelve "id", eight "ood"."""
    text = resources.files("slmtk.synthesis").joinpath("trivia.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [Trivia(row["id"], row["question"], tuple(row["answers"]), row["split"]) for row in rows]
