"""Spoken role-playing question answering: questions -> a model's answers, as text and speech -> EM, F1, SIM, WER."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.device import resolve_device
from slmtk.errors import AudioError, ConfigError
from slmtk.metrics.similarity import cosine
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer, Voice
from slmtk.progress import Progress
from slmtk.speakers.base import SpeakerEncoder, load_speaker_encoder
from slmtk.stages import dry_run
from slmtk.stages.roletrivia_scores import Answer, score_answer, summarize
from slmtk.stages.trivia import Columns, Question, read_trivia

RUN_NAME, ANSWERS_NAME, SCORES_NAME = "run.json", "answers.jsonl", "scores.json"
_WORK = "unfinished"


@dataclass(frozen=True)
class RoleTriviaConfig:
    """Settings of a benchmark run."""

    model: Path
    """Folder that ``slmtk train`` wrote, of a model trained to answer."""
    recognizer: str = "pocketsphinx"
    """Plug-in that hears the answers."""
    recognizer_model: str | None = None
    """The recogniser's weights: a local folder or hub id."""
    grammar: Path | None = None
    """JSGF file of all that can be heard; without it the recogniser's general language model."""
    encoder: str = "resemblyzer"
    """Plug-in that compares voices."""
    columns: Columns = field(default_factory=Columns)
    """Names of the questions file's columns."""
    limit: int | None = None
    """Ask the first so many questions of each split only."""
    sampling: Sampling = field(default_factory=Sampling)
    """How text and codes are chosen."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the model's codec."""


@dataclass(frozen=True)
class RoleTriviaReport:
    """What a benchmark run came to; scores are as `roletrivia_scores.summarize` makes them."""

    out: str
    questions: int
    resumed: int
    """Answers that an earlier run into the same folder had given already."""
    recognizer: str
    encoder: str
    seconds_audio: float
    seconds_wall: float
    """That the model took to answer, resumed answers included."""
    all: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    roles: dict[str, dict[str, Any]]


def roletrivia(source: Path, out: Path, config: RoleTriviaConfig, progress: Progress) -> RoleTriviaReport:
    """Ask the model every question of ``source`` in its role's voice, and score what it writes and says.

    Writes ``out``/wav/<id>.wav, answers.jsonl (an answer a line) and, last, scores.json. A run that was interrupted
    goes on where it stopped, and a finished one is scored again (perhaps by another recogniser) without new answers.

    Args:
        source: jsonl of questions (docs/roletrivia.md).
        out: a new or empty folder, or one that the same run began.
        config: model, recogniser and encoder.
        progress: told of each answer.

    Raises:
        ConfigError: the model was not trained to answer questions, or ``out`` is another run's.
        FormatError: the questions or the model cannot be read.
        PluginError: no such recogniser or encoder.
    """
    questions = read_trivia(source, config.columns, config.limit)
    device = resolve_device(config.device)
    recognizer = load_recognizer(
        config.recognizer, model=config.recognizer_model, grammar=config.grammar, device=device
    )
    encoder = load_speaker_encoder(config.encoder)
    synthesizer = _load(config, device)
    _prepare(out, questions, config)
    known = _known_answers(questions, out)
    records = _ask(questions, known, out, synthesizer, config, progress)
    answers = _score(questions, records, out, recognizer, encoder, progress)

    write_text(out / ANSWERS_NAME, "".join(json.dumps(to_jsonable(a), ensure_ascii=False) + "\n" for a in answers))
    splits, roles = (sorted({str(getattr(answer, name)) for answer in answers}) for name in ("split", "role"))
    report = RoleTriviaReport(
        out=str(out),
        questions=len(answers),
        resumed=len(known),
        recognizer=recognizer.name,
        encoder=encoder.name,
        seconds_audio=round(sum(answer.seconds_audio for answer in answers), 3),
        seconds_wall=round(sum(answer.seconds_wall for answer in answers), 3),
        all=summarize(answers),
        splits={name: summarize([a for a in answers if a.split == name]) for name in splits},
        roles={name: summarize([a for a in answers if a.role == name]) for name in roles},
    )
    write_json(out / SCORES_NAME, {"config": to_jsonable(config), "scores": report})
    shutil.rmtree(out / _WORK)
    return report


def plan(source: Path, out: Path, config: RoleTriviaConfig) -> dry_run.Plan:
    """What `roletrivia` would do; the model's weights and the recordings stay unread.

    Raises:
        FormatError: the questions or the model are there and cannot be used.
        ConfigError: the model was not trained to answer questions.
        PluginError: no such recogniser or encoder.
    """

    def describe(path: Path) -> str:
        questions = read_trivia(path, config.columns, config.limit)
        return f"{len(questions)} questions, {len({question.role for question in questions})} roles"

    reads = [
        dry_run.source("questions", source, describe),
        dry_run.model(config.model, "qa"),
        dry_run.plug_in("slmtk.asr", config.recognizer, config.recognizer_model),
        dry_run.plug_in("slmtk.speakers", config.encoder),
    ]
    if config.grammar is not None:
        reads.append(dry_run.source("grammar", config.grammar))
    return dry_run.Plan(tuple(reads), (f"answer each question aloud on {config.device}, then score",), str(out))


def _load(config: RoleTriviaConfig, device: str) -> Synthesizer:
    synthesizer = Synthesizer.load(config.model, device=device, codec_checkpoint=config.codec_checkpoint)
    if "qa" not in synthesizer.tasks:
        raise ConfigError(
            f"the model {config.model} was trained for {', '.join(synthesizer.tasks)} and not to answer questions; "
            "build its dataset with --questions and train again"
        )
    return synthesizer


def _prepare(out: Path, questions: Sequence[Question], config: RoleTriviaConfig) -> None:
    """Take ``out`` for this run; a folder with answers of another model, file or sampling is refused."""
    files = sorted(config.model.glob("*.safetensors")) + sorted(config.model.glob("*.json"))
    weights = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    settings = [str(config.model), config.sampling, config.device, config.codec_checkpoint]
    key = fingerprint([to_jsonable(settings), to_jsonable(list(questions)), weights])
    run = out / RUN_NAME
    if out.exists() and any(out.iterdir()):
        if not run.is_file():
            raise ConfigError(f"{out} is not empty and holds no benchmark run; name a new folder")
        if json.loads(run.read_text(encoding="utf-8"))["fingerprint"] != key:
            raise ConfigError(f"{out} holds answers of another model, questions file or sampling; name a new folder")
    write_json(run, {"fingerprint": key, "config": to_jsonable(config)})
    (out / _WORK).mkdir(exist_ok=True)


def _known_answers(questions: Sequence[Question], out: Path) -> dict[str, dict[str, Any]]:
    """Records that are there already, by id: a finished run's in answers.jsonl, an interrupted one's in a folder."""
    known: dict[str, dict[str, Any]] = {}
    if (out / ANSWERS_NAME).is_file():
        lines = (out / ANSWERS_NAME).read_text(encoding="utf-8").splitlines()
        known = {record["id"]: record for record in map(json.loads, lines)}
    for question in questions:
        path = _record(out, question)
        if path.is_file():
            known[question.id] = json.loads(path.read_text(encoding="utf-8"))
    return known


def _ask(
    questions: Sequence[Question],
    known: dict[str, dict[str, Any]],
    out: Path,
    synthesizer: Synthesizer,
    config: RoleTriviaConfig,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the record of every question's answer; those that are not ``known`` are asked, and kept on disk."""
    voices: dict[Path, Voice] = {}
    records = []
    with progress.task("roletrivia-bench", len(questions), "questions") as task:
        for question in questions:
            record = known.get(question.id)
            if record is None:
                if question.reference not in voices:
                    voices[question.reference] = synthesizer.voice(question.reference)
                record = _answer(question, voices[question.reference], synthesizer, config.sampling, out)
                write_json(_record(out, question), record)
            records.append(record)
            task.advance(1, question.id)
    return records


def _record(out: Path, question: Question) -> Path:
    return out / _WORK / f"{question.id}.json"


def _answer(
    question: Question, voice: Voice, synthesizer: Synthesizer, sampling: Sampling, out: Path
) -> dict[str, Any]:
    started = time.perf_counter()
    (speech,) = synthesizer.answer([question.question], [voice], sampling)
    name = f"wav/{question.id}.wav" if len(speech.wav) else None
    if name is not None:
        audio.write(out / name, speech.wav, speech.sample_rate)
    return {
        "text": speech.text,
        "wav": name,
        # Speech of no samples is no success, whatever the model thinks of it.
        "reason": speech.reason or ("" if name else "empty"),
        "seconds_audio": round(len(speech.wav) / speech.sample_rate, 4),
        "seconds_wall": round(time.perf_counter() - started, 4),
        "steps": speech.steps,
    }


def _score(
    questions: Sequence[Question],
    records: Sequence[dict[str, Any]],
    out: Path,
    recognizer: Recognizer,
    encoder: SpeakerEncoder,
    progress: Progress,
) -> list[Answer]:
    """Hear every answer from its file, so that resumed and fresh answers are scored alike."""
    references = _role_vectors(questions, encoder)
    answers = []
    with progress.task("scoring", len(questions), "answers") as task:
        for question, record in zip(questions, records, strict=True):
            transcript, similarities = "", None
            if record["wav"] is not None and not record["reason"]:
                wav, _ = audio.read(out / record["wav"], recognizer.sample_rate)
                (transcript,) = recognizer.transcribe([wav])
                similarities = _similarities(out / record["wav"], question, references, encoder)
            answers.append(score_answer(question, record, transcript, similarities))
            task.advance(1)
    return answers


def _role_vectors(questions: Sequence[Question], encoder: SpeakerEncoder) -> dict[tuple[str, Path], Any]:
    """Vector of every reference, by role and file.

    Raises:
        AudioError: a reference cannot be judged.
    """
    pairs = sorted({(question.role, question.reference) for question in questions})
    return {(role, path): encoder.embed(audio.read(path, encoder.sample_rate)[0]) for role, path in pairs}


def _similarities(
    wav: Path, question: Question, references: dict[tuple[str, Path], Any], encoder: SpeakerEncoder
) -> tuple[float, float | None] | None:
    """Cosine with the role's own reference, and with the mean over other roles' references if there are any."""
    try:
        vector = encoder.embed(audio.read(wav, encoder.sample_rate)[0])
    except AudioError:
        return None  # too short or silent: summarize counts it as not scored
    own = cosine(vector, references[question.role, question.reference])
    others = [cosine(vector, other) for (role, _), other in references.items() if role != question.role]
    return own, sum(others) / len(others) if others else None
