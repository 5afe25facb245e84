"""The folder of one system's answers: begun, gone on with after an interruption, and finished by its scores."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.errors import ConfigError
from slmtk.progress import Progress
from slmtk.stages.roletrivia.config import RoleTriviaConfig
from slmtk.stages.roletrivia.questions import Question
from slmtk.stages.roletrivia.scores import Answer
from slmtk.stages.roletrivia.systems import BASELINES_NAME, Loader, Reply, Spec

RUN_NAME, ANSWERS_NAME, SCORES_NAME = "run.json", "answers.jsonl", "scores.json"
CLIPS_NAME = "clips"
_WORK = "unfinished"


def refuse_stranger(out: Path) -> None:
    """Refuse a folder that is neither new nor a benchmark run's.

    Raises:
        ConfigError: it is such a folder.
    """
    if out.is_file():
        raise ConfigError(f"{out} is a file; name a folder")
    if not out.exists() or (out / RUN_NAME).is_file():
        return
    # A run of baselines alone, or one that was interrupted at its very beginning, has not more than these.
    if any(path.name not in (CLIPS_NAME, BASELINES_NAME, SCORES_NAME) for path in out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no benchmark run; name a new folder")


class AnswerFolder:
    """Where the answers of one system are kept."""

    def __init__(self, out: Path, spec: Spec, questions: Sequence[Question], config: RoleTriviaConfig) -> None:
        """Take the folder for this system.

        Raises:
            ConfigError: it holds answers of another model, to other questions, or by another sampling.
        """
        self.folder = out / spec.folder
        self._questions = questions
        key = _key(spec, questions, config)
        run = self.folder / RUN_NAME
        if run.is_file() and json.loads(run.read_text(encoding="utf-8"))["fingerprint"] != key:
            raise ConfigError(
                f"{self.folder} holds answers of another model, to other questions or by another sampling; name a new "
                "folder"
            )
        write_json(run, {"fingerprint": key, "system": spec.name, "config": to_jsonable(config)})
        (self.folder / _WORK).mkdir(exist_ok=True)
        self.known = self._known()

    def ask(self, spec: Spec, loader: Loader, progress: Progress) -> list[dict[str, Any]]:
        """Return the record of every question's answer; those that are not known are asked, and kept on disk."""
        missing = [question for question in self._questions if question.id not in self.known]
        records = dict(self.known)
        with progress.task(f"answers of {spec.name}", len(self._questions), "questions") as task:
            task.advance(len(self._questions) - len(missing))
            system = loader.load(spec) if missing else None
            started = time.perf_counter()
            for place, reply in system.answer(missing) if system else ():
                # Batch mates share their time: an answer is given what passed since the last one.
                now = time.perf_counter()
                records[missing[place].id] = self._keep(missing[place], reply, now - started)
                started = now
                task.advance(1, missing[place].id)
        return [records[question.id] for question in self._questions]

    def finish(self, answers: Sequence[Answer]) -> None:
        """Write the answers with their scores, and tidy up."""
        lines = [json.dumps(to_jsonable(answer), ensure_ascii=False) + "\n" for answer in answers]
        write_text(self.folder / ANSWERS_NAME, "".join(lines))
        shutil.rmtree(self.folder / _WORK, ignore_errors=True)

    def _known(self) -> dict[str, dict[str, Any]]:
        """Records that are there: a finished run's in answers.jsonl, an interrupted one's in a folder."""
        known: dict[str, dict[str, Any]] = {}
        if (self.folder / ANSWERS_NAME).is_file():
            lines = (self.folder / ANSWERS_NAME).read_text(encoding="utf-8").split("\n")
            known = {record["id"]: record for record in map(json.loads, filter(None, lines))}
        for question in self._questions:
            path = self._record(question)
            if path.is_file():
                known[question.id] = json.loads(path.read_text(encoding="utf-8"))
        return known

    def _record(self, question: Question) -> Path:
        return self.folder / _WORK / f"{question.id}.json"

    def _keep(self, question: Question, reply: Reply, seconds: float) -> dict[str, Any]:
        name = None
        if reply.wav is not None and len(reply.wav):
            name = f"wav/{question.id}.wav"
            audio.write(self.folder / name, reply.wav, reply.sample_rate)
        record = {
            "text": reply.text,
            "wav": name,
            "reason": reply.reason,
            "seconds_audio": round(0 if reply.wav is None or not name else len(reply.wav) / reply.sample_rate, 4),
            "seconds_wall": round(seconds, 4),
            "steps": reply.steps,
        }
        write_json(self._record(question), record)
        return record


def _key(spec: Spec, questions: Sequence[Question], config: RoleTriviaConfig) -> str:
    """Digest of all that the answers depend on; the number of questions at once is not among it."""
    settings = [config.sampling, config.device, config.codec_checkpoint] if spec.speaks else [config.device]
    if spec.kind == "model":
        settings += [config.ask, config.form]
    places = [Path(place) for place in (spec.base, spec.model) if place]
    files = [file for place in places if place.is_dir() for file in sorted(place.glob("*.*"))]
    weights = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.suffix in (".safetensors", ".json")
    ]
    return fingerprint([spec, settings, list(questions), weights])
