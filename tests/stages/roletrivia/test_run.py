from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.roletrivia_bench import command
from slmtk.errors import AudioError, ConfigError, FormatError
from slmtk.models.said import Ask, Said
from slmtk.progress import SilentProgress
from slmtk.stages.roletrivia import RoleTriviaConfig, Source, roletrivia, run, systems
from tests.cli.test_dry_run import save_model

# What the model writes, how loud its speech is (which tells the fake recogniser what it hears), and whether it failed.
ANSWERS = {
    "How many sides has a triangle?": ("Three.", 0.3, ""),
    "What colour is snow?": ("The blue sky.", 0.2, ""),
    "What is one and one?": ("two cats", 0.1, "no_end"),
    "Who swims?": ("", 0.0, ""),
}
HEARD = {30: "three", 20: "blue sky white", 45: "fish"}
ROWS = [
    {"id": "a", "question": "How many sides has a triangle?", "answers": ["three", "3"], "role": "x", "split": "id"},
    {"id": "b", "question": "What colour is snow?", "answers": ["white"], "role": "y", "split": "id"},
    {"id": "c", "question": "What is one and one?", "answers": ["two", "two cats"], "role": "x", "split": "ood"},
    {"id": "d", "question": "Who swims?", "answers": ["fish"], "role": "y", "split": "ood"},
]


class FakeSynthesizer:
    """Answers from a table, in any order; its speech is a constant, whose level names the answer."""

    asked: list[tuple[str, str]]

    @classmethod
    def load(cls, model: Path, *, device: str, codec_checkpoint: Path | None) -> FakeSynthesizer:
        return cls()

    def voice(self, path: Path) -> SimpleNamespace:
        return SimpleNamespace(id=path.stem)

    def answer_each(
        self, asks: Sequence[Ask], sampling: object, *, batch_size: int
    ) -> Iterator[tuple[int, SimpleNamespace]]:
        for place, ask in reversed(list(enumerate(asks))):
            self.asked.append((str(ask.question), ask.voice.id))
            text, level, reason = ANSWERS[str(ask.question)]
            yield place, speech("" if ask.form == "speech" else text, level, reason)

    def each(
        self, task: str, said: Sequence[Said], sampling: object, *, batch_size: int
    ) -> Iterator[tuple[int, SimpleNamespace]]:
        for place, one in enumerate(said):
            self.asked.append((f"{task}: {one.text}", one.voice.id))
            yield place, speech(one.text, {"fish": 0.45}.get(one.text, 0.2), "")


def speech(text: str, level: float, reason: str) -> SimpleNamespace:
    wav = torch.full((8000,), level) if level else torch.zeros(0)
    return SimpleNamespace(text=text, wav=wav, sample_rate=16_000, reason=reason, steps=40)


class FakeTextModel:
    """Knows who swims, and says "white" to everything else but sums."""

    loaded: list[str]

    def __init__(self, base: str, device: str, batch_size: int) -> None:
        self.loaded.append(base)

    def answer(self, questions: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        known = {"Who swims?": ("fish", ""), "What is one and one?": ("", "empty")}
        for place, question in enumerate(questions):
            yield (place, *known.get(question, ("white", "")))


class FakeRecognizer:
    name, sample_rate, rules = "fake ears", 16_000, ""
    calls: list[int]

    def transcribe(self, wavs: Sequence[torch.Tensor]) -> list[str]:
        self.calls.append(len(wavs))
        return [HEARD[round(float(wav[0]) * 100)] for wav in wavs]


class FakeEncoder:
    """Reference x is [1, 0], y [0, 1]; the answer to "a" is [0.6, 0.8], the others cannot be judged."""

    name, sample_rate = "fake memory", 16_000

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        vectors = {50: [1.0, 0.0], 60: [0.0, 1.0], 30: [0.6, 0.8]}
        level = round(float(wav[0]) * 100)
        if level not in vectors:
            raise AudioError("too short", kind="too_short")
        return torch.tensor(vectors[level])


Bench = tuple[Path, RoleTriviaConfig]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A questions file with references beside it, and a model that answers from a table."""
    for role, level in (("x", 0.5), ("y", 0.6)):
        audio.write(tmp_path / f"{role}.wav", torch.full((16_000,), level), 16_000)
    rows = [{**row, "reference": f"{row['role']}.wav"} for row in ROWS]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = save_model(tmp_path / "model", tasks=("tts", "qa", "qa-speech"))
    FakeSynthesizer.asked, FakeRecognizer.calls, FakeTextModel.loaded = [], [], []
    monkeypatch.setattr(systems, "Synthesizer", FakeSynthesizer)
    monkeypatch.setattr(systems, "TextModel", FakeTextModel)
    monkeypatch.setattr(run, "load_recognizer", lambda *_, **__: FakeRecognizer())
    monkeypatch.setattr(run, "load_speaker_encoder", lambda *_, **__: FakeEncoder())
    return tmp_path / "questions.jsonl", RoleTriviaConfig(model=model, device="cpu")


def values(group: dict[str, object]) -> dict[str, object]:
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value for key, value in group.items()
    }


def test_scores_are_those_worked_out_by_hand(bench: Bench, tmp_path: Path):
    report = roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    # a: wrote "Three." and said "three": all right. b: wrote "The blue sky." (wrong), said "blue sky white": one of its
    # three words is right, F1 = 2 / (3 + 1); of its 3 written words "the" is not heard and "white" is added.
    assert values(report.splits["id"]) == {
        "questions": 2,
        "succeeded": 2,
        "success_rate": 1.0,
        "failures": {},
        "em_text": 0.5,
        "f1_text": 0.5,
        "em_speech": 0.5,
        "f1_speech": 0.75,
        "wer": 0.5,  # 2 errors over 1 + 3 words
        "similarity": 0.6,
        "similarity_other_roles": 0.8,
        "similarity_scored": 1,
    }
    # c: wrote an alias but did not come to an end, so its two words count as deleted. d: neither wrote nor spoke.
    assert values(report.splits["ood"]) == {
        "questions": 2,
        "succeeded": 0,
        "success_rate": 0.0,
        "failures": {"empty": 1, "no_end": 1},
        "em_text": 0.5,
        "f1_text": 0.5,
        "em_speech": 0.0,
        "f1_speech": 0.0,
        "wer": 1.0,
        "similarity": None,
        "similarity_other_roles": None,
        "similarity_scored": 0,
    }
    assert values(report.roles["x"])["wer"] == pytest.approx(2 / 3, abs=1e-4)
    assert values(report.all)["wer"] == pytest.approx(4 / 6, abs=1e-4)
    assert values(report.all)["success_rate"] == 0.5


def test_every_question_is_asked_once_in_its_roles_voice(bench: Bench, tmp_path: Path):
    roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    assert sorted(FakeSynthesizer.asked) == sorted((row["question"], row["role"]) for row in ROWS)


def test_the_folder_holds_scores_answers_and_speech(bench: Bench, tmp_path: Path):
    out = tmp_path / "out"
    report = roletrivia(bench[0], out, bench[1], SilentProgress())
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == [
        *("answers.jsonl", "run.json", "scores.json", "wav", "wav/a.wav", "wav/b.wav", "wav/c.wav")
    ]
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [(line["id"], line["transcript"], line["reason"], line["wav"]) for line in lines] == [
        ("a", "three", "", "wav/a.wav"),
        ("b", "blue sky white", "", "wav/b.wav"),
        ("c", "", "no_end", "wav/c.wav"),
        ("d", "", "empty", None),
    ]
    assert json.loads((out / "scores.json").read_text())["scores"]["all"] == report.all


def test_an_interrupted_run_asks_only_what_is_missing(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = roletrivia(bench[0], tmp_path / "whole", bench[1], SilentProgress())
    broken = {key: value for key, value in ANSWERS.items() if "colour" not in key}
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.ANSWERS", broken)
        with pytest.raises(KeyError):
            roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    FakeSynthesizer.asked = []
    # How many are asked at once is no other run.
    report = roletrivia(bench[0], tmp_path / "out", replace(bench[1], batch_size=2), SilentProgress())
    assert sorted(question for question, _ in FakeSynthesizer.asked) == [row["question"] for row in ROWS[:2]]
    assert (report.resumed, report.all, report.splits) == (2, whole.all, whole.splits)


def test_a_finished_run_is_scored_again_without_asking_or_listening(bench: Bench, tmp_path: Path):
    config = replace(bench[1], cache=tmp_path / "cache")
    first = roletrivia(bench[0], tmp_path / "out", config, SilentProgress())
    FakeSynthesizer.asked = []
    assert sum(FakeRecognizer.calls) == 2
    again = roletrivia(bench[0], tmp_path / "out", config, SilentProgress())
    assert (again.resumed, again.all, FakeSynthesizer.asked) == (4, first.all, [])
    assert sum(FakeRecognizer.calls) == 2


def test_a_folder_with_another_models_answers_is_refused(bench: Bench, tmp_path: Path):
    roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    other = save_model(tmp_path / "other", tasks=("qa",))
    with pytest.raises(ConfigError, match="answers of another model"):
        roletrivia(bench[0], tmp_path / "out", replace(bench[1], model=other), SilentProgress())
    with pytest.raises(ConfigError, match="answers of another model"):
        roletrivia(bench[0], tmp_path / "out", replace(bench[1], source=Source(limit=1)), SilentProgress())
    with pytest.raises(ConfigError, match="holds no benchmark run"):
        roletrivia(bench[0], tmp_path, bench[1], SilentProgress())


def test_a_model_that_cannot_answer_is_refused_before_anything_is_written(bench: Bench, tmp_path: Path):
    reader = save_model(tmp_path / "reader")
    with pytest.raises(ConfigError, match="trained for tts and not for 'qa'"):
        roletrivia(bench[0], tmp_path / "out", replace(bench[1], model=reader), SilentProgress())
    with pytest.raises(ConfigError, match="not for 'sqa'"):
        roletrivia(bench[0], tmp_path / "out", replace(bench[1], ask="speech"), SilentProgress())
    with pytest.raises(FormatError, match="is no folder"):
        roletrivia(bench[0], tmp_path / "out", replace(bench[1], model=tmp_path / "none"), SilentProgress())
    assert not (tmp_path / "out").exists()


def test_speech_alone_has_no_text_scores(bench: Bench, tmp_path: Path):
    report = roletrivia(bench[0], tmp_path / "out", replace(bench[1], form="speech"), SilentProgress())
    found = values(report.all)
    assert (found["em_text"], found["f1_text"], found["wer"]) == (None, None, None)
    assert (found["em_speech"], found["f1_speech"]) == (0.25, 0.375)


def test_baselines_stand_beside_the_model(bench: Bench, tmp_path: Path):
    out = tmp_path / "out"
    names = ("text:some/base", f"cascade:some/base+{bench[1].model}")
    roletrivia(bench[0], out, bench[1], SilentProgress())
    FakeSynthesizer.asked = []
    report = roletrivia(bench[0], out, replace(bench[1], baselines=names), SilentProgress())
    assert list(report.systems) == ["model", *names]
    assert report.systems["model"]["all"] == report.all
    # It is right on fish and snow, wrong on the triangle, and silent on the sum.
    text = values(report.systems[names[0]]["all"])
    assert (text["em_text"], text["em_speech"], text["wer"], text["similarity"]) == (0.5, None, None, None)
    assert (text["success_rate"], text["failures"]) == (0.75, {"empty": 1})
    # Aloud, only "fish" is understood: the cost of speaking is a quarter.
    cascade = values(report.systems[names[1]]["all"])
    assert (cascade["em_text"], cascade["em_speech"], cascade["success_rate"]) == (0.5, 0.25, 0.75)
    assert cascade["wer"] == pytest.approx(4 / 3, abs=1e-4)  # twice "blue sky white" for "white", over 3 words
    assert FakeSynthesizer.asked == [("tts: white", "x"), ("tts: white", "y"), ("tts: fish", "y")]
    assert FakeTextModel.loaded == ["some/base"]
    assert (out / "baselines" / "text-some-base" / "answers.jsonl").is_file()


def test_baselines_may_stand_alone(bench: Bench, tmp_path: Path):
    config = replace(bench[1], model=None, baselines=("text:some/base",))
    report = roletrivia(bench[0], tmp_path / "out", config, SilentProgress())
    assert (list(report.systems), values(report.all)["em_text"]) == (["text:some/base"], 0.5)
    again = roletrivia(bench[0], tmp_path / "out", config, SilentProgress())
    assert again.resumed == 4


@pytest.mark.parametrize("name", ["text:", "cascade:base", "cascade:base+", "speech:x", "base"])
def test_a_baseline_that_is_none_is_refused(name: str):
    with pytest.raises(ConfigError, match=r"expected text:BASE or cascade:BASE\+MODEL"):
        systems.specs_of(RoleTriviaConfig(baselines=(name,)))


def test_two_baselines_do_not_share_a_folder():
    with pytest.raises(ConfigError, match="a second one"):
        systems.specs_of(RoleTriviaConfig(baselines=("text:a/b", "text:a-b")))
    with pytest.raises(ConfigError, match="nobody to ask"):
        RoleTriviaConfig()


def test_the_commands_options_reach_the_stage(bench: Bench, tmp_path: Path):
    (tmp_path / "renamed.jsonl").write_text(bench[0].read_text().replace('"question"', '"wondered"'))
    arguments = [str(tmp_path / "renamed.jsonl"), str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    options = ["--question-column", "wondered", "--limit", "1", "--top-p", "0.8", "--temperature", "1", "--seed", "7"]
    options += ["--form", "speech", "--batch-size", "3", "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(command, [*arguments, *options])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "scores.json").read_text())["config"]
    assert (config["source"]["columns"]["question"], config["source"]["limit"]) == ("wondered", 1)
    assert (config["sampling"]["top_p"], config["sampling"]["temperature"], config["sampling"]["seed"]) == (0.8, 1, 7)
    assert (config["form"], config["batch_size"], config["source"]["spoken"]) == ("speech", 3, False)
    assert json.loads(result.stdout)["questions"] == 2
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_somebody_has_to_be_asked(bench: Bench, tmp_path: Path):
    result = CliRunner().invoke(command, [str(bench[0]), str(tmp_path / "out")])
    assert (result.exit_code, "Missing option '--model' (or a --baseline)" in result.output) == (2, True)
