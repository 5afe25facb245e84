"""Write the embedded corpus: sentences of a small grammar in synthetic voices, in LibriSpeech layout."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk import audio
from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.errors import ConfigError
from slmtk.progress import Progress, Task
from slmtk.synthesis import espeak
from slmtk.synthesis.grammar import SENTENCES, phrases_jsgf
from slmtk.synthesis.trivia import SETS, Lesson, Trivia, benchmark, lessons, load_trivia

FORMAT = 1
_SENTENCES, _ANSWERS, _TEST = "1", "2", "3"  # chapters: ids stay unique if train and test are read as one corpus
_REFERENCE_SENTENCES = 3
_REFERENCE_PAUSE_SECONDS = 0.2
DEFAULT_VOICES = {"sample": espeak.SAMPLE_VOICES, "mini": espeak.ROLE_VOICES}
"""Names of the voices by the questions that they answer."""


@dataclass(frozen=True)
class MakeCorpusConfig:
    """Settings of `make_corpus`."""

    sentences: int = 1600
    """Spoken sentences in the training part, all different, each by one voice."""
    test_sentences: int = 40
    """Further, different sentences in the test part."""
    voices: tuple[str, ...] | None = None
    """Names of `slmtk.synthesis.espeak.VOICES`, or espeak-ng's own ("en-us+m3@40"); None: `DEFAULT_VOICES`."""
    trivia: str = "sample"
    """Questions: "sample" (twenty) or "mini" (a small RoleTriviaQA, answered by eight roles)."""
    seed: int = 0
    """Of the choice of sentences; the test part does not depend on ``sentences``."""

    def __post_init__(self) -> None:
        """Check the numbers, voices and name of the questions.

        Raises:
            ConfigError: a number is not positive, there is no voice, one occurs twice, or there are no such questions.
        """
        if self.trivia not in SETS:
            raise ConfigError(f"no trivia questions {self.trivia!r}; expected one of {', '.join(SETS)}")
        if min(self.sentences, self.test_sentences) < 1:
            raise ConfigError(
                f"sentences: {self.sentences}, test sentences: {self.test_sentences}; 1 or more are needed"
            )
        names = [voice.name for voice in self.speakers]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"voices: {', '.join(names) or 'none'}; one or more different voices are needed")

    @property
    def speakers(self) -> list[espeak.Voice]:
        """The voices themselves."""
        names = DEFAULT_VOICES[self.trivia] if self.voices is None else self.voices
        return [espeak.parse_voice(name) for name in names]


@dataclass(frozen=True)
class MakeCorpusReport:
    """What was written."""

    out: str
    utterances: dict[str, int]
    """Recordings per group: train (sentences), answers (in the training part, too), test."""
    seconds_audio: dict[str, float]
    """Duration per group."""
    voices: list[str]
    """Names of the speakers."""
    words: int
    """Different words in the grammar."""
    possible_sentences: int
    """That the grammar allows."""
    seconds_wall: float
    """That it took; 0 if the same corpus was there already."""


@dataclass(frozen=True)
class _Line:
    """One recording to be: where it goes, who speaks, what."""

    part: str
    id: str
    voice: espeak.Voice
    text: str
    question: str = ""


def make_corpus(out: Path, config: MakeCorpusConfig, progress: Progress) -> MakeCorpusReport:
    """Write the corpus into ``out``, whole or not at all; docs/roletrivia.md and corpus.json describe its files.

    Args:
        out: a folder that does not exist, is empty, or holds this very corpus already.
        config: what to speak.
        progress: told of each recording.

    Raises:
        ConfigError: ``out`` holds something else, more sentences are asked for than the grammar has, or one voice is to
            answer questions that keep one back.
        MissingDependencyError: espeakng-loader is not installed.
    """
    settings = _settings(config)
    done = _already_there(out, settings)
    if done is not None:
        return done
    start = time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        work.chmod(0o755)
        report = _write(work, out, config, settings, progress, start)
        os.replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report


def _settings(config: MakeCorpusConfig) -> dict[str, Any]:
    values: dict[str, Any] = {"format": FORMAT, "sentences": config.sentences, "test_sentences": config.test_sentences}
    if config.trivia != "sample":
        questions = [to_jsonable(item) for item in load_trivia(config.trivia)]
        values |= {"trivia": config.trivia, "questions": fingerprint(questions)}
    grammar = {name: list(words) for name, words in SENTENCES.slots}
    engine = f"espeak-ng {espeak.version()}"
    settings: dict[str, Any] = to_jsonable(
        {
            **values,
            "seed": config.seed,
            "voices": config.speakers,
            "grammar": grammar,
            "engine": engine,
            "sample_rate": 16_000,
        }
    )
    return settings


def _already_there(out: Path, settings: dict[str, Any]) -> MakeCorpusReport | None:
    manifest = out / "corpus.json"
    if manifest.is_file():
        values = json.loads(manifest.read_text(encoding="utf-8"))
        if values.get("settings") == settings:
            return MakeCorpusReport(**{**values["report"], "out": str(out), "seconds_wall": 0.0})
        raise ConfigError(f"{out} holds a corpus made with other settings; choose another folder or delete it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty and no corpus of slmtk's; choose another folder")
    return None


def _write(
    work: Path, out: Path, config: MakeCorpusConfig, settings: dict[str, Any], progress: Progress, start: float
) -> MakeCorpusReport:
    voices, trivia = config.speakers, load_trivia(config.trivia)
    held, extra = config.test_sentences, _REFERENCE_SENTENCES
    sentences = SENTENCES.sample(extra + held + config.sentences, config.seed)
    references, unseen, spoken = sentences[:extra], sentences[extra : extra + held], sentences[extra + held :]

    groups = {
        "train": _sentence_lines("train", _SENTENCES, voices, spoken),
        "answers": _answer_lines(voices, trivia),
        "test": _sentence_lines("test", _TEST, voices, unseen),
    }
    with progress.task("make-corpus", sum(map(len, groups.values())), "utterances") as task:
        seconds = {name: _speak_lines(work, lines, task) for name, lines in groups.items()}
    _write_transcripts(work, [line for lines in groups.values() for line in lines])
    _write_references(work, voices, references)
    _write_lists(work, groups, trivia, voices)
    report = MakeCorpusReport(
        out=str(out),
        utterances={name: len(lines) for name, lines in groups.items()},
        seconds_audio={name: round(value, 2) for name, value in seconds.items()},
        voices=[voice.name for voice in voices],
        words=len(SENTENCES.words),
        possible_sentences=SENTENCES.size,
        seconds_wall=round(time.monotonic() - start, 2),
    )
    write_json(
        work / "corpus.json", {"settings": settings, "report": {**to_jsonable(report), "out": "", "seconds_wall": 0}}
    )
    return report


def _sentence_lines(part: str, chapter: str, voices: list[espeak.Voice], texts: list[str]) -> list[_Line]:
    """Sentence i is spoken by voice i mod V, as that voice's utterance i div V."""
    lines = []
    for i, text in enumerate(texts):
        voice = voices[i % len(voices)]
        lines.append(_Line(part, f"{voice.name}-{chapter}-{i // len(voices):04d}", voice, text))
    return lines


def _answer_lines(voices: list[espeak.Voice], trivia: list[Trivia]) -> list[_Line]:
    def line(lesson: Lesson) -> _Line:
        voice = voices[lesson.voice]
        return _Line("train", f"{voice.name}-{_ANSWERS}-{lesson.index:04d}", voice, lesson.answer, lesson.question)

    return [line(lesson) for lesson in lessons(trivia, len(voices))]


def _speak_lines(root: Path, lines: list[_Line], task: Task) -> float:
    seconds = 0.0
    for line in lines:
        wav = espeak.speak(line.text, line.voice)
        audio.write(_chapter(root, line) / f"{line.id}.flac", wav, espeak.SAMPLE_RATE)
        seconds += wav.shape[0] / espeak.SAMPLE_RATE
        task.advance(1)
    return seconds


def _chapter(root: Path, line: _Line) -> Path:
    speaker, chapter, _ = line.id.split("-")
    return root / line.part / speaker / chapter


def _write_transcripts(root: Path, lines: list[_Line]) -> None:
    chapters: dict[Path, list[_Line]] = {}
    for line in lines:
        chapters.setdefault(_chapter(root, line), []).append(line)
    for folder, group in chapters.items():
        name = "-".join(group[0].id.split("-")[:2])
        write_text(folder / f"{name}.trans.txt", "".join(f"{line.id} {line.text.upper()}\n" for line in group))


def _write_references(root: Path, voices: list[espeak.Voice], sentences: list[str]) -> None:
    """One clip of about 6 s per voice: the speaker vector of a single sentence varies with its words."""
    import torch

    pause = torch.zeros(int(_REFERENCE_PAUSE_SECONDS * espeak.SAMPLE_RATE))
    for voice in voices:
        parts = [part for text in sentences for part in (espeak.speak(text, voice), pause)]
        audio.write(root / _reference(voice), torch.cat(parts[:-1]), espeak.SAMPLE_RATE)


def _reference(voice: espeak.Voice) -> str:
    return f"references/{voice.name}.flac"


def _write_lists(root: Path, groups: dict[str, list[_Line]], trivia: list[Trivia], voices: list[espeak.Voice]) -> None:
    write_text(root / "grammar.jsgf", SENTENCES.jsgf())
    write_text(root / "answers.jsgf", phrases_jsgf([item.answers[0] for item in trivia]))
    write_text(root / "unseen.txt", "".join(f"{line.text}\n" for line in groups["test"]))
    _write_jsonl(
        root / "unseen.jsonl",
        (
            {"id": line.id, "text": line.text, "speaker": line.voice.name, "reference": _reference(line.voice)}
            for line in groups["test"]
        ),
    )
    _write_jsonl(root / "questions.jsonl", ({"id": line.id, "question": line.question} for line in groups["answers"]))
    _write_jsonl(root / "roletrivia.jsonl", _benchmark_rows(trivia, voices))


def _benchmark_rows(trivia: list[Trivia], voices: list[espeak.Voice]) -> Iterable[dict[str, Any]]:
    for asked in benchmark(trivia, len(voices)):
        role, item = voices[asked.voice], asked.item
        row: dict[str, Any] = {
            "id": asked.id,
            "question": asked.question,
            "answers": item.answers,
            "split": asked.split,
        }
        category = {"category": item.category} if item.category else {}
        yield {**row, **category, "role": role.name, "reference": _reference(role)}


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
