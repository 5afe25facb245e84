"""Codes and texts -> the dataset's rows, one after the other; every row that is left out is counted and named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from slmtk.data.dataset_columns import TASK_JOIN, DatasetRow
from slmtk.data.dataset_writer import DatasetWriter, SplitStats
from slmtk.data.filters import why_drop, why_drop_text
from slmtk.data.prompts import normalize_text
from slmtk.data.splits import split_of
from slmtk.data.text_tokenizer import TextTokenizer
from slmtk.data.texts import Text
from slmtk.errors import AudioError, ConfigError
from slmtk.progress import Progress
from slmtk.shards import CodesRow, check_row
from slmtk.stages.build_dataset.config import BuildDatasetConfig
from slmtk.stages.build_dataset.folder import DROPPED_NAME
from slmtk.stages.build_dataset.sources import Sources
from slmtk.stages.build_dataset.speakers import CodecVectors, RecordedVectors
from slmtk.stages.build_dataset.spoken import SpokenQuestions

Counts = dict[str, dict[str, float]]


@dataclass
class _Drops:
    """Counts of rows left out, and the file that names them."""

    file: TextIO
    reasons: Counts = field(default_factory=dict)

    def add(self, name: str, seconds: float, reason: str) -> None:
        counts = self.reasons.setdefault(reason, {"rows": 0, "seconds": 0.0})
        counts["rows"] += 1
        counts["seconds"] += seconds
        line = {"id": name, "reason": reason, "seconds": round(seconds, 3)}
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def summary(self) -> Counts:
        """Reasons in the order of the alphabet, so that it does not depend on which row came first."""
        return {
            reason: {"rows": int(counts["rows"]), "seconds": round(counts["seconds"], 3)}
            for reason, counts in sorted(self.reasons.items())
        }


class _Maker:
    """Makes rows, or says why not."""

    def __init__(
        self,
        sources: Sources,
        tokenizer: TextTokenizer,
        vectors: CodecVectors | RecordedVectors,
        config: BuildDatasetConfig,
        spoken: SpokenQuestions | None,
    ) -> None:
        self.sources, self.tokenizer, self.vectors, self.config = sources, tokenizer, vectors, config
        self.spoken = spoken

    def of_codes(self, row: CodesRow) -> DatasetRow | str:
        text = normalize_text(row.text or "")
        columns = {**row.extra, "duration": row.duration, "num_frames": row.codes.shape[1]}
        reason = why_drop(text, row.duration, columns, self.config.filters)
        if reason is None and not row.codes.shape[1]:
            reason = "no codes"
        question = self.sources.questions.get(row.id)
        heard = self.spoken if question is not None else None
        if reason is None and heard is not None:
            reason = heard.why_drop(row.id, self.config.filters)
        if reason is not None:
            return reason
        try:
            vector = self.vectors.of(row)
        except AudioError as error:
            return f"no speaker vector ({error.kind})"
        return DatasetRow(
            id=row.id,
            task=_tasks(question, self.config),
            text=text,
            question=question,
            codes=row.codes.astype(np.int64),
            speaker_vector=vector,
            speaker=row.speaker,
            num_frames=row.codes.shape[1],
            num_text_tokens=self._count(text, question),
            duration=row.duration,
            timbre=self._timbre(row),
            question_codes=None if heard is None else heard.of(row.id),
        )

    def of_text(self, text: Text) -> DatasetRow | str:
        tokens = self._count(text.text, text.instruction)
        reason = why_drop_text(text.text, tokens, self.config.max_text_tokens)
        if reason is not None:
            return reason
        codes = np.zeros((self.sources.spec.num_codebooks, 0), np.int64)
        return DatasetRow(text.id, "text", text.text, text.instruction, codes, None, None, 0, tokens, 0.0)

    def _count(self, text: str, question: str | None) -> int:
        return len(self.tokenizer.encode(text)) + len(self.tokenizer.encode(question or ""))

    def _timbre(self, row: CodesRow) -> NDArray[np.float32] | None:
        return None if isinstance(self.vectors, CodecVectors) else row.speaker_vector


def write_rows(
    sources: Sources,
    out: Path,
    tokenizer: TextTokenizer,
    vectors: CodecVectors | RecordedVectors,
    config: BuildDatasetConfig,
    progress: Progress,
    spoken: SpokenQuestions | None = None,
) -> tuple[dict[str, SplitStats], Counts]:
    """Write the Parquet files and the names of what was left out; a few hundred rows are in memory at a time.

    Returns:
        what each split holds, and what was left out by reason.

    Raises:
        FormatError: a row of codes is damaged, or a file of texts is.
        ConfigError: a row has no speaker to split by.
    """
    maker = _Maker(sources, tokenizer, vectors, config, spoken)
    writer = DatasetWriter(out, sources.spec, vectors.vectors, spoken_questions=spoken is not None)
    try:
        with (out / DROPPED_NAME).open("w", encoding="utf-8") as file:
            drops = _Drops(file)
            with progress.task("build", sources.num_codes, "rows") as task:
                for row in sources.codes():
                    check_row(row, sources.spec)
                    _put(row.id, row.duration, maker.of_codes(row), writer, drops, config)
                    task.advance(1)
            if sources.texts:
                with progress.task("build", None, "texts") as task:
                    for text in sources.plain_texts():
                        _put(text.id, 0.0, maker.of_text(text), writer, drops, config)
                        task.advance(1)
        return writer.close(), drops.summary()
    finally:
        writer.abort()


def _put(
    name: str,
    seconds: float,
    made: DatasetRow | str,
    writer: DatasetWriter,
    drops: _Drops,
    config: BuildDatasetConfig,
) -> None:
    if isinstance(made, str):
        drops.add(name, seconds, made)
    else:
        # An utterance's tasks are one row, so that none of them is trained on while another is kept for measuring.
        writer.add(split_of(_split_key(made, config.split.by), config.split), made)


def _tasks(question: str | None, config: BuildDatasetConfig) -> str:
    spoken = config.answers if question is not None else [task for task in config.tasks if task == "tts"]
    return TASK_JOIN.join([*spoken, *(task for task in config.tasks if task == "asr")])


def _split_key(row: DatasetRow, by: str) -> str:
    if by == "text":
        return row.text if row.question is None else normalize_text(row.question)
    # A text without speech has no speaker to keep together.
    if by == "utterance" or row.task == "text":
        return row.id
    if row.speaker is None:
        raise ConfigError(f"utterance {row.id!r} has no speaker to split by; use --split-by utterance or text")
    return row.speaker


def check_splits(splits: dict[str, SplitStats], drops: Counts, config: BuildDatasetConfig) -> list[str]:
    """Warnings about splits that stayed empty.

    Raises:
        ConfigError: nothing is left to train on.
    """
    kept = sum(stats.rows for stats in splits.values())
    if not kept:
        reasons = (
            ", ".join(f"{counts['rows']} {reason}" for reason, counts in drops.items()) or "the codes have no rows"
        )
        raise ConfigError(f"no row is left for the dataset: {reasons}; loosen the filters")
    by, mend = config.split.by, "take another --seed, a larger fraction, or split by utterance"
    if "train" not in splits:
        raise ConfigError(f"all {kept} rows fell into {' and '.join(splits)} and none into train; {mend}")
    wanted = {"dev": config.split.dev_fraction, "test": config.split.test_fraction}
    return [
        f"no {by} fell into {split} ({fraction:g} of {kept} rows was asked for): {mend}"
        for split, fraction in wanted.items()
        if fraction > 0 and split not in splits
    ]
