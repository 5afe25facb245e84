"""Folders of codes -> the spoken questions of a dataset's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmtk.config import fingerprint
from slmtk.data.filters import FilterConfig
from slmtk.data.questions import Question, some_of
from slmtk.errors import ConfigError, FormatError
from slmtk.shards import CodesFolder, check_row, open_codes
from slmtk.spec import CodecSpec
from slmtk.stages.build_dataset.sources import check_codecs


class SpokenQuestions:
    """Codes of the questions that are asked aloud, by the utterances that answer them.

    All that are needed are in memory: two bytes a code, some 150 MB for 100,000 questions of three seconds at three
    streams and 80 frames a second.
    """

    def __init__(self, folders: Sequence[CodesFolder], questions: Mapping[str, Question]) -> None:
        """Take the folders in which the spoken questions of ``questions`` are; `read` them before use."""
        self.folders = tuple(folders)
        # A question that names no utterance of its own has that of its answer.
        self._asked_by = {answer: question.spoken or answer for answer, question in questions.items()}
        self._codes: dict[str, tuple[float, NDArray[Any]]] = {}

    def settings(self) -> dict[str, Any]:
        """What the rows depend on; no path of this machine is in it."""
        shards = [[part["sha256"] for part in folder.index["shards"]] for folder in self.folders]
        return {"ids": fingerprint(self._asked_by), "shards": shards}

    def read(self, spec: CodecSpec) -> None:
        """Read the codes.

        Raises:
            FormatError: a folder is damaged, a code is out of its stream's range, or a question is in two folders.
            ConfigError: some questions are in none; names a few.
        """
        wanted = set(self._asked_by.values())
        smallest = np.uint16 if max(spec.codebook_sizes) <= 1 << 16 else np.uint32
        for folder in self.folders:
            for row in folder.rows():
                if row.id not in wanted:
                    continue
                if row.id in self._codes:
                    raise FormatError(f"the spoken question {row.id!r} is twice in the folders of --spoken-questions")
                check_row(row, spec)
                self._codes[row.id] = (row.duration, row.codes.astype(smallest))
        missing = sorted(wanted - self._codes.keys())
        if missing:
            raise ConfigError(
                f"--spoken-questions has no codes of {len(missing)} questions: {some_of(missing)}; name each one's "
                "utterance as question_id in --questions, or take the question out"
            )

    def of(self, answer: str) -> NDArray[np.int64]:
        """Codes of the question that the utterance ``answer`` answers, int64 [K, T]."""
        return self._codes[self._asked_by[answer]][1].astype(np.int64)

    def why_drop(self, answer: str, config: FilterConfig) -> str | None:
        """Return the reason to drop the utterance ``answer`` for its question's sake, None to keep it."""
        seconds, codes = self._codes[self._asked_by[answer]]
        if not codes.shape[1]:
            return "no codes of the question"
        if not seconds >= config.min_seconds:
            return f"question shorter than {config.min_seconds:g} s"
        return f"question longer than {config.max_seconds:g} s" if seconds > config.max_seconds else None


def open_spoken(
    folders: Sequence[Path], questions: Mapping[str, Question], answers: Sequence[CodesFolder]
) -> SpokenQuestions | None:
    """Open the folders of spoken questions; None if there are none.

    Raises:
        CodecMismatchError: their codes are of another codec than those of ``answers``.
        FormatError: a folder is unfinished or damaged.
    """
    if not folders:
        return None
    opened = tuple(open_codes(folder) for folder in folders)
    check_codecs((*answers, *opened))
    return SpokenQuestions(opened, questions)
