"""A file of trivia questions and a folder of voices -> a benchmark of spoken answers, and what to train on for it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk.config import changes, to_jsonable, write_json, write_text
from slmtk.errors import ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.progress import Progress
from slmtk.stages import dry_run
from slmtk.stages.roletrivia.columns import Columns
from slmtk.stages.roletrivia.roles import read_roles
from slmtk.stages.roletrivia.triviaqa import Item, read_items
from slmtk.stages.synth import SynthConfig, SynthReport, synth

QUESTIONS_NAME, TRAINING_NAME, ASKED_NAME, BUILD_NAME = "questions.jsonl", "training.jsonl", "asked.jsonl", "build.json"
ANSWERS_FOLDER, ASKED_FOLDER, REFERENCES_FOLDER = "answers", "asked", "references"
SEEN, UNSEEN = "id", "ood"


@dataclass(frozen=True)
class BuildConfig:
    """How a benchmark is made."""

    ood_share: float = 0.1
    """Share of the questions that are kept back from training."""
    unseen_roles: int = 0
    """So many roles answer only questions that are kept back."""
    limit: int | None = None
    """Take the first so many questions."""
    columns: Columns = field(default_factory=Columns)
    """Names of the columns of question and answers."""
    answers_by: Path | None = None
    """Model that speaks the answers to train on; None leaves them to be spoken."""
    questions_spoken_by: Path | None = None
    """Model that speaks the questions; None leaves them as text."""
    sampling: Sampling = field(default_factory=Sampling)
    """How both speak; its seed also decides who answers what, and what is kept back."""
    batch_size: int = 8
    """Texts that are spoken at once."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a value is out of its range.
        """
        if not 0 <= self.ood_share <= 1:
            raise ConfigError(f"--ood-share {self.ood_share}: expected a share from 0 to 1")
        if self.unseen_roles < 0 or (self.limit is not None and self.limit < 1):
            raise ConfigError(f"--unseen-roles {self.unseen_roles} and --limit {self.limit} must be 0 and 1 or more")


@dataclass(frozen=True)
class BuildReport:
    """What was made.

    Attributes:
        out: the folder.
        questions: in all.
        id: of them, to train on.
        ood: of them, kept back.
        roles: how many.
        unseen_roles: of them, with questions that are kept back alone.
        left_out: rows without a question or an answer, or whose question came before.
        answers_spoken: whole recordings of answers; None if no model was to speak them.
        questions_spoken: whole recordings of questions; None if no model was to speak them.
    """

    out: str
    questions: int
    id: int
    ood: int
    roles: int
    unseen_roles: int
    left_out: int
    answers_spoken: int | None = None
    questions_spoken: int | None = None


def build(trivia: str | Path, roles: Path, out: Path, config: BuildConfig, progress: Progress) -> BuildReport:
    """Give every question a role and a part, and let models speak what is to be spoken.

    Writes ``out``/questions.jsonl (the benchmark), references (a clip of each role), training.jsonl (what to train on:
    questions, answers and voices, which both `slmtk synth` and `slmtk build-dataset --questions` read), and, by the
    models that were named, answers and asked (folders of `slmtk synth`). Started again, it goes on.

    Args:
        trivia: what `triviaqa.read_items` reads.
        roles: what `roles.read_roles` reads.
        out: a new or empty folder, or one that the same build began.
        config: parts and models.
        progress: told of each text that is spoken.

    Raises:
        FormatError: questions or voices cannot be read.
        ConfigError: ``out`` holds something else, no role is left for training, or a model cannot read aloud.
        AudioError: a recording cannot be read.
    """
    items, left_out = read_items(trivia, config.columns, config.limit)
    clips = read_roles(roles)
    if config.unseen_roles >= len(clips):
        raise ConfigError(
            f"--unseen-roles {config.unseen_roles}: {roles} has {len(clips)} roles; leave one to train on"
        )
    rows = _cast(items, list(clips), config)
    _take(out, {"trivia": str(trivia), "roles": str(roles), "rows": len(rows), **_settings(config)})
    rows = [{**row, "reference": _copied(clips[row["role"]], row["role"], out)} for row in rows]
    _write_lists(out, rows)
    answers = _speak(out, TRAINING_NAME, ANSWERS_FOLDER, config.answers_by, config, progress)
    asked = _speak(out, ASKED_NAME, ASKED_FOLDER, config.questions_spoken_by, config, progress)
    if asked is not None:
        spoken = [_with_recording(row, out) for row in rows]
        _write_lines(out / QUESTIONS_NAME, spoken)
    seen = sum(row["split"] == SEEN for row in rows)
    report = BuildReport(
        out=str(out),
        questions=len(rows),
        id=seen,
        ood=len(rows) - seen,
        roles=len(clips),
        unseen_roles=config.unseen_roles,
        left_out=left_out,
        answers_spoken=None if answers is None else answers.succeeded,
        questions_spoken=None if asked is None else asked.succeeded,
    )
    return report


def plan(trivia: str | Path, roles: Path, out: Path, config: BuildConfig) -> dry_run.Plan:
    """What `build` would do; recordings and weights stay unread.

    Raises:
        FormatError: questions, voices or a model are there and cannot be used.
        ConfigError: a model was not trained to read aloud.
    """
    reads = [
        dry_run.source("questions", trivia, lambda path: f"{len(read_items(path, config.columns)[0])} questions"),
        dry_run.source("roles", roles, lambda path: f"{len(read_roles(path))} roles"),
    ]
    does = [f"give each question a role, keep {config.ood_share:g} of them back"]
    for what, model in (("answers", config.answers_by), ("questions", config.questions_spoken_by)):
        if model is not None:
            reads.append(dry_run.model(model, "tts"))
            does.append(f"speak the {what} on {config.device}")
    return dry_run.Plan(tuple(reads), tuple(does), str(out))


def _cast(items: Sequence[Item], roles: Sequence[str], config: BuildConfig) -> list[dict[str, Any]]:
    """Rows of the benchmark in the file's order; within each part the roles take turns."""
    random_ = random.Random(config.sampling.seed)
    names = random_.sample(list(roles), len(roles))
    kept_back = set(random_.sample(range(len(items)), round(config.ood_share * len(items))))
    known = names[: len(names) - config.unseen_roles]
    turns = {SEEN: 0, UNSEEN: 0}
    rows = []
    for number, item in enumerate(items):
        split = UNSEEN if number in kept_back else SEEN
        able = names if split == UNSEEN else known
        role = able[turns[split] % len(able)]
        turns[split] += 1
        rows.append(
            {
                "id": f"q{number:06d}",
                "question": item.question,
                "answers": list(item.answers),
                "role": role,
                "split": split,
                "source_id": item.id,
                "asker": able[turns[split] % len(able)],
            }
        )
    return rows


def _settings(config: BuildConfig) -> dict[str, Any]:
    """What decides who answers what; a model that speaks may be named later."""
    names = ("ood_share", "unseen_roles", "limit", "columns")
    settings: dict[str, Any] = to_jsonable({name: getattr(config, name) for name in names})
    return {**settings, "seed": config.sampling.seed}


def _take(out: Path, settings: Mapping[str, Any]) -> None:
    run = out / BUILD_NAME
    if run.is_file():
        differences = changes(json.loads(run.read_text(encoding="utf-8")), settings)
        if differences:
            raise ConfigError(f"{out} holds another benchmark ({'; '.join(differences)}); name a new folder")
    elif out.exists() and (out.is_file() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty and holds no benchmark that was begun; name a new folder")
    write_json(run, settings)


def _copied(clip: Path, role: str, out: Path) -> str:
    """Copy a role's clip, so that the benchmark is whole by itself, and return its place in it."""
    if "/" in role or role.startswith("."):
        raise FormatError(f"the role {role!r} cannot be a file's name")
    name = f"{REFERENCES_FOLDER}/{role}{clip.suffix.lower()}"
    if not (out / name).is_file():
        (out / REFERENCES_FOLDER).mkdir(exist_ok=True)
        temporary = (out / name).with_name(f".{role}.tmp")
        shutil.copyfile(clip, temporary)
        temporary.replace(out / name)
    return name


def _write_lists(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    references = {row["role"]: row["reference"] for row in rows}
    seen = [row for row in rows if row["split"] == SEEN]
    training = [
        {"id": row["id"], "text": row["answers"][0], **{name: row[name] for name in ("question", "role", "reference")}}
        for row in seen
    ]
    asked = [
        # Somebody else asks, as far as there is somebody whose voice is known here.
        {"id": row["id"], "text": row["question"], "reference": references.get(row["asker"], row["reference"])}
        for row in rows
    ]
    _write_lines(out / TRAINING_NAME, training)
    _write_lines(out / ASKED_NAME, asked)
    if not (out / QUESTIONS_NAME).is_file():
        _write_lines(out / QUESTIONS_NAME, [_public(row) for row in rows])


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "asker" and value not in ("", None)}


def _with_recording(row: Mapping[str, Any], out: Path) -> dict[str, Any]:
    name = f"{ASKED_FOLDER}/wav/{row['id']}.wav"
    return {**_public(row), **({"question_audio": name} if (out / name).is_file() else {})}


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _speak(
    out: Path, lines: str, folder: str, model: Path | None, config: BuildConfig, progress: Progress
) -> SynthReport | None:
    if model is None or not (out / lines).read_text(encoding="utf-8"):
        return None
    settings = SynthConfig(model, sampling=config.sampling, device=config.device, batch_size=config.batch_size)
    return synth(str(out / lines), out / folder, settings, progress)
