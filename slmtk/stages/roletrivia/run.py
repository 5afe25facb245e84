"""Spoken role-playing question answering: questions -> a model's answers, as text and speech -> EM, F1, SIM, WER."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmtk.asr.base import Recognizer, load_recognizer
from slmtk.asr.cache import CachedRecognizer
from slmtk.config import to_jsonable, write_json
from slmtk.device import resolve_device
from slmtk.errors import FormatError
from slmtk.progress import Progress
from slmtk.speakers.base import load_speaker_encoder
from slmtk.stages import dry_run
from slmtk.stages.roletrivia.config import RoleTriviaConfig, RoleTriviaReport
from slmtk.stages.roletrivia.folder import CLIPS_NAME, SCORES_NAME, AnswerFolder, refuse_stranger
from slmtk.stages.roletrivia.hearing import Listener
from slmtk.stages.roletrivia.questions import read_trivia
from slmtk.stages.roletrivia.scores import NORMALIZER, Answer, summarize
from slmtk.stages.roletrivia.systems import Loader, check, specs_of
from slmtk.stages.roletrivia.tables import looks_like_hub_id


def roletrivia(place: str | Path, out: Path, config: RoleTriviaConfig, progress: Progress) -> RoleTriviaReport:
    """Ask every system every question of ``place`` in its role's voice, and score what it writes and says.

    Writes ``out``/wav/<id>.wav, answers.jsonl (an answer a line) and, last, scores.json; the same of every baseline in
    ``out``/baselines. A run that was interrupted goes on where it stopped, and a finished one is scored again (perhaps
    by another recogniser, or with one more baseline) without new answers.

    Args:
        place: what `slmtk.stages.roletrivia.tables.read_table` reads.
        out: a new or empty folder, or one that the same run began.
        config: systems, recogniser and encoder.
        progress: told of each answer.

    Raises:
        ConfigError: a model was not trained for what it is to do, or ``out`` is another run's.
        FormatError: the questions or a model cannot be read.
        PluginError: no such recogniser or encoder.
        AudioError: a recording of a role or a question cannot be used.
    """
    specs = specs_of(config)
    for spec in specs:
        if spec.model is not None and not spec.model.is_dir():
            raise FormatError(f"{spec.model} is no folder; expected one written by `slmtk train`")
        check(spec, config.task)
    device = resolve_device(config.device)
    recognizer = _recognizer(config, device, progress)
    encoder = load_speaker_encoder(config.encoder, device=device)
    refuse_stranger(out)
    questions = read_trivia(place, config.source, out / CLIPS_NAME)
    folders = [AnswerFolder(out, spec, questions, config) for spec in specs]
    listener, loader = Listener(recognizer, encoder, questions), Loader(config, device)
    answers: dict[str, list[Answer]] = {}
    for spec, folder in zip(specs, folders, strict=True):
        records = folder.ask(spec, loader, progress)
        answers[spec.name] = listener.score(questions, records, folder.folder, progress, speaks=spec.speaks)
        folder.finish(answers[spec.name])
    report = _report(out, answers, sum(len(folder.known) for folder in folders), (recognizer.name, encoder.name))
    write_json(out / SCORES_NAME, {"config": to_jsonable(config), "scores": report})
    return report


def plan(place: str | Path, out: Path, config: RoleTriviaConfig) -> dry_run.Plan:
    """What `roletrivia` would do; the models' weights and the recordings stay unread, and so does the hub.

    Raises:
        FormatError: the questions or a model are there and cannot be used.
        ConfigError: a model was not trained for what it is to do.
        PluginError: no such recogniser or encoder.
    """

    def describe(path: Path) -> str:
        questions = read_trivia(path, config.source)
        return f"{len(questions)} questions, {len({question.role for question in questions})} roles"

    hub = looks_like_hub_id(place)
    reads = [
        f"questions: {place} (of the hub)" if hub else dry_run.source("questions", place, describe),
        *(check(spec, config.task) for spec in specs_of(config)),
        dry_run.plug_in("slmtk.asr", config.recognizer, config.recognizer_model),
        dry_run.plug_in("slmtk.speakers", config.encoder),
    ]
    if config.grammar is not None:
        reads.append(dry_run.source("grammar", config.grammar))
    return dry_run.Plan(tuple(reads), (f"answer each question aloud on {config.device}, then score",), str(out))


def _recognizer(config: RoleTriviaConfig, device: str, progress: Progress) -> Recognizer:
    recognizer = load_recognizer(
        config.recognizer,
        model=config.recognizer_model,
        revision=config.recognizer_revision,
        grammar=config.grammar,
        device=device,
    )
    if config.cache is None:
        return recognizer
    return CachedRecognizer(recognizer, config.cache, message=progress.message)


def _report(
    out: Path, answers: Mapping[str, Sequence[Answer]], resumed: int, names: tuple[str, str]
) -> RoleTriviaReport:
    systems = {name: {"all": summarize(own), "splits": _by(own, "split")} for name, own in answers.items()}
    first, own = next(iter(answers.items()))
    return RoleTriviaReport(
        out=str(out),
        questions=len(own),
        resumed=resumed,
        recognizer=names[0],
        encoder=names[1],
        normalizer=NORMALIZER,
        seconds_audio=round(sum(answer.seconds_audio for answer in own), 3),
        seconds_wall=round(sum(answer.seconds_wall for answer in own), 3),
        all=systems[first]["all"],
        splits=systems[first]["splits"],
        roles=_by(own, "role"),
        systems=systems,
    )


def _by(answers: Sequence[Answer], name: str) -> dict[str, dict[str, Any]]:
    """Scores of each group of answers that share ``name``."""
    values = sorted({str(getattr(answer, name)) for answer in answers})
    return {value: summarize([a for a in answers if str(getattr(a, name)) == value]) for value in values}
