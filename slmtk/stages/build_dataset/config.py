"""What `build_dataset` is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk.data.filters import FilterConfig
from slmtk.data.prompts import ANSWER_TASKS, HEARING_TASKS
from slmtk.data.splits import SplitConfig
from slmtk.errors import ConfigError

CODE_TASKS = ("tts", "asr")
"""Tasks that any utterance with a text can serve."""


@dataclass(frozen=True)
class BuildDatasetConfig:
    """Settings of `build_dataset`.

    Attributes:
        tokenizer: "bytes", a hub id or a local folder: the text tokenizer of the model to be trained; "bpe:N" makes
            one of N tokens from the texts themselves, "phonemes" or "phonemes:LANGUAGE" one of the sounds they are
            spoken with (by espeak-ng; en-us), both for a model trained from scratch.
        tasks: what every utterance serves, of `CODE_TASKS`.
        questions: jsonl of {"id", "question"}: those utterances are spoken answers, and not read.
        answer_tasks: what each answer serves, of `slmtk.data.prompts.ANSWER_TASKS`; none for "qa", and with spoken
            questions "sqa" too.
        spoken_questions: folders of codes in which the questions are asked aloud, each under its line's "question_id"
            or, without one, under the id of its answer.
        texts: files of texts without speech, as `slmtk.data.texts.read_texts` takes them.
        max_text_tokens: longer texts without speech are left out.
        speaker_encoder: whose speaker vectors the rows get: "codec" for those in the codes, or what
            `slmtk.speakers.base.load_named_encoder` takes.
        audio: the recordings of the codes, one source for each folder or one for all; an encoder needs them.
        device: where the speaker encoder runs.
        filters: what is left out.
        split: what is kept from training.
        overwrite: replace a dataset that OUT holds already.
    """

    tokenizer: str = "bytes"
    tasks: tuple[str, ...] = ("tts",)
    questions: Path | None = None
    answer_tasks: tuple[str, ...] = ()
    spoken_questions: tuple[Path, ...] = ()
    texts: tuple[Path, ...] = ()
    max_text_tokens: int = 2048
    speaker_encoder: str = "codec"
    audio: tuple[str, ...] = ()
    device: str = "auto"
    filters: FilterConfig = field(default_factory=FilterConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            ConfigError: an unknown task or one twice, an encoder without recordings or the other way round, or tasks of
                answers without what they need.
        """
        self._check_answers()
        if not self.tasks or set(self.tasks) - set(CODE_TASKS) or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                f"--task {', '.join(self.tasks)}: expected one or more of {', '.join(CODE_TASKS)}, each once"
            )
        if self.max_text_tokens < 1:
            raise ConfigError(f"--max-text-tokens {self.max_text_tokens} must be 1 or more")
        if self.speaker_encoder != "codec" and not self.audio:
            raise ConfigError(
                f"--speaker-encoder {self.speaker_encoder} listens to recordings; name those of the codes with --audio"
            )
        if self.speaker_encoder == "codec" and self.audio:
            raise ConfigError("--audio is for a --speaker-encoder other than codec, whose vectors are in the codes")

    @property
    def answers(self) -> tuple[str, ...]:
        """What each answer serves, in the order of `slmtk.data.prompts.ANSWER_TASKS`."""
        asked = self.answer_tasks or (("qa", "sqa") if self.spoken_questions else ("qa",))
        return tuple(task for task in ANSWER_TASKS if task in asked)

    def _check_answers(self) -> None:
        named = ", ".join(self.answer_tasks)
        if set(self.answer_tasks) - set(ANSWER_TASKS) or len(set(self.answer_tasks)) != len(self.answer_tasks):
            raise ConfigError(f"--answer-task {named}: expected some of {', '.join(ANSWER_TASKS)}, each once")
        if self.questions is None and (self.answer_tasks or self.spoken_questions):
            option = "--answer-task" if self.answer_tasks else "--spoken-questions"
            raise ConfigError(f"{option} is for answers; name what they answer with --questions")
        heard = bool(set(self.answers) & set(HEARING_TASKS))
        if heard and not self.spoken_questions:
            raise ConfigError(f"--answer-task {named} needs questions that are asked aloud; name --spoken-questions")
        if self.spoken_questions and not heard:
            raise ConfigError(
                f"--spoken-questions are not heard in --answer-task {named}; add {' or '.join(HEARING_TASKS)}"
            )


@dataclass(frozen=True)
class BuildDatasetReport:
    """What came of it.

    Attributes:
        out: the dataset's folder.
        rows_read: utterances of all codes, and texts.
        rows_kept: rows of the dataset.
        rows_dropped: rows left out; ``dropped.jsonl`` names them.
        dropped: rows and seconds by the first reason that held.
        tasks: those that occur, of `slmtk.data.prompts.TASKS`.
        examples: how many rows serve each task; a row may serve several.
        splits: rows, tasks, seconds, frames, text tokens, speakers and files of each.
        warnings: what the user should know.
        up_to_date: the dataset was there already, made from the same input with the same settings.
    """

    out: str
    rows_read: int
    rows_kept: int
    rows_dropped: int
    dropped: dict[str, dict[str, float]]
    tasks: list[str]
    examples: dict[str, int]
    splits: dict[str, Any]
    warnings: list[str]
    up_to_date: bool = False


def make_report(out: Path, index: dict[str, Any], *, up_to_date: bool = False) -> BuildDatasetReport:
    """Say what the dataset whose ``slmtk.json`` is ``index`` holds."""
    kept = sum(int(stats["rows"]) for stats in index["splits"].values())
    dropped = sum(int(counts["rows"]) for counts in index["dropped"].values())
    examples: dict[str, int] = {}
    for stats in index["splits"].values():
        for task, count in stats.get("tasks", {}).items():
            examples[task] = examples.get(task, 0) + int(count)
    return BuildDatasetReport(
        out=str(out),
        rows_read=kept + dropped,
        rows_kept=kept,
        rows_dropped=dropped,
        dropped=index["dropped"],
        tasks=index["tasks"],
        examples=dict(sorted(examples.items())),
        splits=index["splits"],
        warnings=index["warnings"],
        up_to_date=up_to_date,
    )
