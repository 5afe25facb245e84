"""Answers on disk -> what a listener makes of them: a transcript, and how like the role the voice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from slmtk import audio
from slmtk.asr.base import Recognizer
from slmtk.errors import AudioError
from slmtk.metrics.similarity import cosine
from slmtk.progress import Progress
from slmtk.speakers.base import SpeakerEncoder
from slmtk.stages.roletrivia.questions import Question
from slmtk.stages.roletrivia.scores import Answer, score_answer

# Heard together, so that a recogniser can sort them by length and batch them.
_TOGETHER = 64


class Listener:
    """A recogniser and a speaker encoder, and the roles' voices."""

    def __init__(self, recognizer: Recognizer, encoder: SpeakerEncoder, questions: Sequence[Question]) -> None:
        """Listen to the references.

        Raises:
            AudioError: a reference cannot be judged.
        """
        self.recognizer, self.encoder = recognizer, encoder
        pairs = sorted({(question.role, question.reference) for question in questions})
        self._voices = {(role, path): encoder.embed(audio.read(path, encoder.sample_rate)[0]) for role, path in pairs}

    def score(
        self,
        questions: Sequence[Question],
        records: Sequence[Mapping[str, Any]],
        folder: Path,
        progress: Progress,
        *,
        speaks: bool,
    ) -> list[Answer]:
        """Hear every answer from its file, so that resumed and fresh answers are scored alike.

        Args:
            questions: what was asked.
            records: of the answers, in the same order.
            folder: that their sound files are relative to.
            progress: told of each answer.
            speaks: whether the system gives its answers aloud.
        """
        answers: list[Answer] = []
        with progress.task("scoring", len(questions), "answers") as task:
            for start in range(0, len(questions), _TOGETHER):
                part = list(zip(questions, records, strict=True))[start : start + _TOGETHER]
                heard = self._hear([record for _, record in part], folder)
                for (question, record), wav, transcript in zip(part, *heard, strict=True):
                    alike = None if wav is None else self._similarities(*wav, question)
                    answers.append(score_answer(question, record, transcript if speaks else None, alike))
                    task.advance(1)
        return answers

    def _hear(
        self, records: Sequence[Mapping[str, Any]], folder: Path
    ) -> tuple[list[tuple[Tensor, int] | None], list[str]]:
        """Whole speech and its transcript; None and "" for failures."""
        whole = [record["wav"] is not None and not record["reason"] for record in records]
        wavs = [audio.read(folder / r["wav"]) if good else None for r, good in zip(records, whole, strict=True)]
        rate = self.recognizer.sample_rate
        texts = iter(self.recognizer.transcribe([audio.resample(*wav, rate) for wav in wavs if wav is not None]))
        return wavs, ["" if wav is None else next(texts) for wav in wavs]

    def _similarities(self, wav: Tensor, sample_rate: int, question: Question) -> tuple[float, float | None] | None:
        """Cosine with the role's own reference, and the mean over other roles' references if there are any."""
        try:
            vector = self.encoder.embed(audio.resample(wav, sample_rate, self.encoder.sample_rate))
        except AudioError:
            return None  # too short or silent: `summarize` counts it as not scored
        own = cosine(vector, self._voices[question.role, question.reference])
        others = [cosine(vector, other) for (role, _), other in self._voices.items() if role != question.role]
        return own, sum(others) / len(others) if others else None
