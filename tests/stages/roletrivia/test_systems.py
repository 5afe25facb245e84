"""The systems around real (untrained) models: asked and heard as `synth` would, whatever stands beside a question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.config import write_json
from slmtk.models.sampling import Sampling
from slmtk.stages.roletrivia import Question, RoleTriviaConfig
from slmtk.stages.roletrivia.systems import Loader, Reply, check, specs_of
from tests.helpers.tiny_text_model import write_text_model
from tests.helpers.tone import VoicedToneCodec
from tests.helpers.untrained import save_untrained

TASKS = ["tts", "qa", "sqa", "qa-speech", "sqa-speech"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_untrained(tmp_path_factory.mktemp("model") / "model")
    info = json.loads((folder / "slmtk.json").read_text())
    write_json(folder / "slmtk.json", {**info, "tasks": TASKS})
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    folder = tmp_path_factory.mktemp("sounds")
    made = []
    for number, role in enumerate("xyx"):
        reference, asked = folder / f"{role}.wav", folder / f"q{number}.wav"
        audio.write(reference, torch.full((3200,), 0.4), 16_000)
        codes = torch.tensor([[[5 + 9 * number] * 12, [1] * 12]])
        audio.write(asked, VoicedToneCodec().decode(codes, torch.tensor([[0.5]]))[0], 16_000)
        made.append(Question(f"a{number}", f"Question {number}?", ("x",), role, reference, "all", asked))
    return made


def answers(config: RoleTriviaConfig, questions: list[Question]) -> list[Reply]:
    (spec,) = specs_of(config)
    found = dict(Loader(config, "cpu").load(spec).answer(questions))
    return [found[place] for place in range(len(questions))]


def config_of(model: Path, **settings: object) -> RoleTriviaConfig:
    return replace(RoleTriviaConfig(model=model, sampling=Sampling(max_seconds=0.4, max_text_tokens=8)), **settings)


def alike(one: Reply, other: Reply) -> bool:
    assert one.wav is not None
    assert other.wav is not None
    return (one.text, one.reason, one.steps) == (other.text, other.reason, other.steps) and np.array_equal(
        one.wav.numpy(), other.wav.numpy()
    )


@pytest.mark.parametrize("ask", ["text", "speech"])
def test_answers_do_not_depend_on_how_many_are_asked_at_once(model: Path, questions: list[Question], ask: str):
    config = config_of(model, ask=ask, form="speech")
    alone = answers(replace(config, batch_size=1), questions)
    together = answers(replace(config, batch_size=3), questions)
    assert [alike(one, other) for one, other in zip(alone, together, strict=True)] == [True] * 3
    assert [reply.text for reply in alone] == [None] * 3
    assert max(len(reply.wav) for reply in alone if reply.wav is not None) > 0


def test_a_spoken_question_is_heard_and_its_text_is_not_read(
    model: Path, questions: list[Question], monkeypatch: pytest.MonkeyPatch
):
    from slmtk.models.speaker import Synthesizer

    heard = []
    answer_each = Synthesizer.answer_each

    def listen(self, asks, sampling, *, batch_size):
        heard.extend(ask.question_codes[0].tolist() for ask in asks)
        return answer_each(self, asks, sampling, batch_size=batch_size)

    monkeypatch.setattr(Synthesizer, "answer_each", listen)
    spoken = answers(config_of(model, ask="speech", form="speech"), questions)
    assert heard == [[5] * 12, [14] * 12, [23] * 12]
    other_words = [replace(question, question="Something else") for question in questions]
    again = answers(config_of(model, ask="speech", form="speech"), other_words)
    assert all(alike(one, other) for one, other in zip(spoken, again, strict=True))


def test_a_model_that_writes_first_gives_its_text(model: Path, questions: list[Question]):
    assert all(isinstance(reply.text, str) for reply in answers(config_of(model), questions))


def test_a_cascade_reads_the_text_models_answers_aloud(
    model: Path, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from slmtk.models.speaker import Synthesizer
    from slmtk.stages.roletrivia.text_model import INSTRUCTION

    prompts = {f"{INSTRUCTION}\nQuestion: {q.question}\nAnswer:": " low\n" for q in questions}
    base = write_text_model(tmp_path / "base", prompts, steps=25)
    said = []
    each = Synthesizer.each

    def listen(self, task, lines, sampling, *, batch_size):
        said.extend((task, line.text, line.voice.id) for line in lines)
        return each(self, task, lines, sampling, batch_size=batch_size)

    monkeypatch.setattr(Synthesizer, "each", listen)
    config = replace(config_of(model), model=None, baselines=(f"cascade:{base}+{model}",))
    replies = answers(config, questions)
    assert said == [("tts", "low", role) for role in "xyx"]
    assert [reply.text for reply in replies] == ["low"] * 3
    assert all(reply.wav is not None and reply.sample_rate == 16_000 for reply in replies)


def test_a_plan_names_what_a_baseline_needs(model: Path, tmp_path: Path):
    config = RoleTriviaConfig(baselines=("text:someone/base", f"cascade:{tmp_path}+{model}"))
    first, second = (check(spec, "qa") for spec in specs_of(config))
    assert first == "text model: someone/base (of the hub, unless it is cached)"
    assert second.startswith(f"text model: {tmp_path}, read aloud by model: {model} (grouped")
