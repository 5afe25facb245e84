"""Who is asked: a speech model, a text model, or a text model whose answers a speech model reads aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor

from slmtk import audio
from slmtk.errors import ConfigError
from slmtk.models.said import Ask, Said, Speech
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer, Voice
from slmtk.stages import dry_run
from slmtk.stages.roletrivia.config import MODEL, RoleTriviaConfig
from slmtk.stages.roletrivia.questions import Question
from slmtk.stages.roletrivia.text_model import TextModel

BASELINES_NAME = "baselines"
_Item = TypeVar("_Item")
# So many batches are prepared together: near the end of a part fewer questions are left than there are places.
_BATCHES = 16


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        text: what was written; None for speech alone.
        wav: float32 [S]; None from a system that does not speak.
        sample_rate: of ``wav`` in Hz.
        reason: "" for success, else why there is no whole answer.
        steps: of the speech model.
    """

    text: str | None
    wav: Tensor | None = None
    sample_rate: int = 0
    reason: str = ""
    steps: int = 0


class System(Protocol):
    """Somebody who answers."""

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        """Yield place and answer of each question, in the order in which they are finished."""
        ...


@dataclass(frozen=True)
class Spec:
    """What a system is made of.

    Attributes:
        name: as the user wrote it; "model" for the model.
        kind: "model", "text" or "cascade".
        base: the text model, "" in a model.
        model: the folder of the speech model; None in a text model.
        writes: whether it gives its answer in writing.
        speaks: whether it gives its answer aloud.
    """

    name: str
    kind: str
    base: str = ""
    model: Path | None = None
    writes: bool = True

    @property
    def speaks(self) -> bool:
        """Whether it gives its answer aloud."""
        return self.model is not None

    @property
    def folder(self) -> str:
        """Where its answers lie, relative to the run's folder."""
        return (
            "." if self.kind == MODEL else f"{BASELINES_NAME}/{re.sub(r'[^A-Za-z0-9.]+', '-', self.name).strip('-.')}"
        )


def specs_of(config: RoleTriviaConfig) -> list[Spec]:
    """The model, if there is one, and the baselines, in the order in which they were named.

    Raises:
        ConfigError: a baseline is neither "text:BASE" nor "cascade:BASE+MODEL", or two share a folder.
    """
    specs = [] if config.model is None else [Spec(MODEL, MODEL, "", config.model, config.form != "speech")]
    specs += [_baseline(text) for text in config.baselines]
    folders = [spec.folder for spec in specs]
    for spec in specs:
        if folders.count(spec.folder) > 1:
            raise ConfigError(f"--baseline {spec.name}: a second one whose answers would lie in {spec.folder}")
    return specs


def _baseline(text: str) -> Spec:
    kind, _, rest = text.partition(":")
    base, _, model = rest.rpartition("+")  # a path may hold a "+" of its own
    if kind == "text" and rest:
        return Spec(text, kind, rest)
    if kind == "cascade" and base and model:
        return Spec(text, kind, base, Path(model))
    raise ConfigError(f"--baseline {text!r}; expected text:BASE or cascade:BASE+MODEL (BASE writes, MODEL reads aloud)")


def check(spec: Spec, task: str) -> str:
    """One line on a system from its files alone; weights stay unread.

    Raises:
        FormatError: a folder is there and holds no model.
        ConfigError: its model was not trained for what it is to do.
    """
    base = f"text model: {spec.base}" + ("" if Path(spec.base).exists() else " (of the hub, unless it is cached)")
    if spec.model is None:
        return base
    if spec.kind == "cascade":
        return f"{base}, read aloud by {dry_run.model(spec.model, 'tts')}"
    return dry_run.model(spec.model, task)


@dataclass
class Loader:
    """Loads systems one at a time; a text model that two of them share is loaded, and asked, once."""

    config: RoleTriviaConfig
    device: str
    _text_models: dict[str, TextModel] = field(default_factory=dict)

    def load(self, spec: Spec) -> System:
        """Load it.

        Raises:
            FormatError: a model cannot be read.
            ConfigError: its model was not trained for what it is to do.
        """
        text_model = self._text_model(spec.base) if spec.base else None
        if spec.model is None:
            assert text_model is not None  # by `specs_of`
            return Writer(text_model)
        synthesizer = Synthesizer.load(spec.model, device=self.device, codec_checkpoint=self.config.codec_checkpoint)
        settings = self.config.sampling, self.config.batch_size
        if text_model is not None:
            return Cascade(text_model, synthesizer, *settings)
        return Speaker(synthesizer, self.config.ask, self.config.form, *settings)

    def _text_model(self, base: str) -> TextModel:
        if base not in self._text_models:
            self._text_models.clear()  # of two large ones only one may fit
            self._text_models[base] = TextModel(base, self.device, self.config.batch_size)
        return self._text_models[base]


class Speaker:
    """A model trained to answer aloud."""

    def __init__(self, synthesizer: Synthesizer, ask: str, form: str, sampling: Sampling, batch_size: int) -> None:
        """Take the model; ``ask`` and ``form`` as in `RoleTriviaConfig`."""
        self._synthesizer, self._sampling, self._batch_size = synthesizer, sampling, batch_size
        self._ask, self._form = ask, form

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        """Yield place and answer of each question.

        Raises:
            AudioError: a recording cannot be used.
        """
        voice = cache(self._synthesizer.voice)
        for first, part in _chunks(questions, self._batch_size):
            asks = [self._question(question, voice(question.reference)) for question in part]
            for place, speech in self._synthesizer.answer_each(asks, self._sampling, batch_size=self._batch_size):
                yield first + place, _reply(speech, None if self._form == "speech" else speech.text)

    def _question(self, question: Question, voice: Voice) -> Ask:
        codes = None
        if self._ask == "speech":
            assert question.question_audio is not None  # the questions were read so
            codec = self._synthesizer.codec
            wav, _ = audio.read(question.question_audio, codec.spec.sample_rate)
            codes = codec.encode(audio.pad_to_frames(wav, codec.spec.frame_size)[None]).codes[0].cpu().numpy()
        return Ask(question.question, voice, codes, self._form)


class Writer:
    """A text model alone: what is known without speaking."""

    def __init__(self, text_model: TextModel) -> None:
        """Take the model."""
        self._text_model = text_model

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        """Yield place and answer of each question."""
        for place, text, reason in self._text_model.answer([question.question for question in questions]):
            yield place, Reply(text, reason=reason)


class Cascade:
    """A text model whose answers a speech model reads aloud; success is that of its speech."""

    def __init__(self, text_model: TextModel, synthesizer: Synthesizer, sampling: Sampling, batch_size: int) -> None:
        """Take both models."""
        self._text_model, self._synthesizer = text_model, synthesizer
        self._sampling, self._batch_size = sampling, batch_size

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        """Yield place and answer of each question.

        Raises:
            AudioError: a recording cannot be used.
        """
        voice = cache(self._synthesizer.voice)
        texts = {place: text for place, text, _ in self._text_model.answer([q.question for q in questions])}
        spoken = [place for place in sorted(texts) if texts[place]]
        for place in sorted(texts.keys() - set(spoken)):
            yield place, Reply("", reason="empty")
        for first, part in _chunks(spoken, self._batch_size):
            said = [Said(texts[place], voice(questions[place].reference)) for place in part]
            for number, speech in self._synthesizer.each("tts", said, self._sampling, batch_size=self._batch_size):
                yield spoken[first + number], _reply(speech, texts[spoken[first + number]])


def _chunks(items: Sequence[_Item], batch_size: int) -> Iterator[tuple[int, Sequence[_Item]]]:
    """Parts of ``items``, and the place of the first of each: what is prepared before anything is answered."""
    size = _BATCHES * batch_size
    for first in range(0, len(items), size):
        yield first, items[first : first + size]


def _reply(speech: Speech, text: str | None) -> Reply:
    # Speech of no samples is no success, whatever the model thinks of it.
    reason = speech.reason or ("" if len(speech.wav) else "empty")
    return Reply(text, speech.wav, speech.sample_rate, reason, speech.steps)
