from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.roletrivia_bench import command
from slmtk.errors import AudioError, ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.stages import roletrivia as stage
from slmtk.stages.roletrivia import RoleTriviaConfig, roletrivia
from slmtk.stages.trivia import Columns, Question, read_trivia

# What the model writes, how loud its speech is (which tells the fake recogniser what it hears), and whether it failed.
ANSWERS = {
    "How many sides has a triangle?": ("Three.", 0.3, ""),
    "What colour is snow?": ("The blue sky.", 0.2, ""),
    "What is one and one?": ("two cats", 0.1, "no_end"),
    "Who swims?": ("", 0.0, ""),
}
HEARD = {30: "three", 20: "blue sky white"}
ROWS = [
    {"id": "a", "question": "How many sides has a triangle?", "answers": ["three", "3"], "role": "x", "split": "id"},
    {"id": "b", "question": "What colour is snow?", "answers": ["white"], "role": "y", "split": "id"},
    {"id": "c", "question": "What is one and one?", "answers": ["two", "two cats"], "role": "x", "split": "ood"},
    {"id": "d", "question": "Who swims?", "answers": ["fish"], "role": "y", "split": "ood"},
]


class FakeSynthesizer:
    """Answers from a table; its speech is a constant, whose level names the answer."""

    tasks: tuple[str, ...] = ("tts", "qa")
    asked: list[tuple[str, str]]

    @classmethod
    def load(cls, model: Path, *, device: str, codec_checkpoint: Path | None) -> FakeSynthesizer:
        return cls()

    def voice(self, path: Path) -> SimpleNamespace:
        return SimpleNamespace(id=path.stem)

    def answer(
        self, questions: Sequence[str], voices: Sequence[SimpleNamespace], sampling: object
    ) -> list[SimpleNamespace]:
        speeches = []
        for question, voice in zip(questions, voices, strict=True):
            self.asked.append((question, voice.id))
            text, level, reason = ANSWERS[question]
            wav = torch.full((8000,), level) if level else torch.zeros(0)
            speeches.append(SimpleNamespace(text=text, wav=wav, sample_rate=16_000, reason=reason, steps=40))
        return speeches


class FakeRecognizer:
    name, sample_rate = "fake ears", 16_000

    def transcribe(self, wavs: Sequence[torch.Tensor]) -> list[str]:
        return [HEARD[round(float(wav[0]) * 100)] for wav in wavs]


class FakeEncoder:
    """Reference x is [1, 0], y [0, 1]; the answer to "a" is [0.6, 0.8], the one to "b" cannot be judged."""

    name, sample_rate = "fake memory", 16_000

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        vectors = {50: [1.0, 0.0], 60: [0.0, 1.0], 30: [0.6, 0.8]}
        level = round(float(wav[0]) * 100)
        if level not in vectors:
            raise AudioError("too short", kind="too_short")
        return torch.tensor(vectors[level])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, RoleTriviaConfig]:
    """A questions file with references beside it, and a model that answers from a table."""
    for role, level in (("x", 0.5), ("y", 0.6)):
        audio.write(tmp_path / f"{role}.wav", torch.full((16_000,), level), 16_000)
    rows = [{**row, "reference": f"{row['role']}.wav"} for row in ROWS]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    FakeSynthesizer.asked = []
    monkeypatch.setattr(stage, "Synthesizer", FakeSynthesizer)
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: FakeRecognizer())
    monkeypatch.setattr(stage, "load_speaker_encoder", lambda *_, **__: FakeEncoder())
    return tmp_path / "questions.jsonl", RoleTriviaConfig(model=tmp_path / "model", device="cpu")


def values(group: dict[str, object]) -> dict[str, object]:
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value for key, value in group.items()
    }


def test_scores_are_those_worked_out_by_hand(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
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


def test_every_question_is_asked_once_in_its_roles_voice(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
    roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    assert FakeSynthesizer.asked == [(row["question"], row["role"]) for row in ROWS]


def test_the_folder_holds_scores_answers_and_speech(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
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


def test_an_interrupted_run_asks_only_what_is_missing(
    bench: tuple[Path, RoleTriviaConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = roletrivia(bench[0], tmp_path / "whole", bench[1], SilentProgress())
    broken = {key: value for key, value in ANSWERS.items() if "one and one" not in key}
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.ANSWERS", broken)
        with pytest.raises(KeyError):
            roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    FakeSynthesizer.asked = []
    report = roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    assert [question for question, _ in FakeSynthesizer.asked] == ["What is one and one?", "Who swims?"]
    assert (report.resumed, report.all, report.splits) == (2, whole.all, whole.splits)


def test_a_finished_run_is_scored_again_without_asking(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
    first = roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    FakeSynthesizer.asked = []
    again = roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    assert (again.resumed, again.all, FakeSynthesizer.asked) == (4, first.all, [])


def test_a_folder_with_another_models_answers_is_refused(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
    roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    with pytest.raises(ConfigError, match="answers of another model"):
        roletrivia(bench[0], tmp_path / "out", RoleTriviaConfig(model=tmp_path, device="cpu"), SilentProgress())
    with pytest.raises(ConfigError, match="holds no benchmark run"):
        roletrivia(bench[0], tmp_path, bench[1], SilentProgress())


def test_a_model_that_cannot_answer_is_refused_before_anything_is_written(
    bench: tuple[Path, RoleTriviaConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FakeSynthesizer, "tasks", ("tts",))
    with pytest.raises(ConfigError, match="trained for tts and not to answer questions; build its dataset with"):
        roletrivia(bench[0], tmp_path / "out", bench[1], SilentProgress())
    assert not (tmp_path / "out").exists()


def write(folder: Path, *rows: object) -> Path:
    (folder / "voice.wav").write_bytes(b"")
    path = folder / "trivia.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_columns_have_other_names_if_one_says_so(tmp_path: Path):
    path = write(tmp_path, {"q": " Why? ", "gold": "because", "clip": "voice.wav"})
    names = Columns(question="q", answers="gold", reference="clip")
    expected = Question("trivia-0000", "Why?", ("because",), "voice", tmp_path / "voice.wav", "all")
    assert read_trivia(path, names) == [expected]


def test_the_limit_counts_each_split_by_itself(bench: tuple[Path, RoleTriviaConfig]):
    assert [question.id for question in read_trivia(bench[0], limit=1)] == ["a", "c"]


GOOD = {"question": "Why?", "answers": ["x"], "reference": "voice.wav"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "Why?", "answers": ["x"]}], "no column 'question'; found 'prompt', 'answers'; --question-column"),
        ([{**GOOD, "reference": "none.wav"}], "no recording at .*none.wav"),
        ([{**GOOD, "answers": [" "]}], "row 1 has no answer"),
        ([{**GOOD, "question": ""}], "row 1 has no question"),
        ([{**GOOD, "id": "../x"}], "cannot be a file's name"),
        ([{**GOOD, "id": "x"}, {**GOOD, "id": "x"}], "the id 'x' occurs twice"),
        (["{"], "line 1 is not JSON"),
        (["[]"], "line 1 is not a JSON object"),
        ([""], "holds no question"),
    ],
)
def test_a_file_that_cannot_be_asked_is_refused_in_a_line(tmp_path: Path, rows: list[object], message: str):
    with pytest.raises(FormatError, match=message):
        read_trivia(write(tmp_path, *rows))


def test_a_column_named_on_purpose_must_be_there(tmp_path: Path):
    with pytest.raises(FormatError, match=r"no column 'persona'.*--role-column"):
        read_trivia(write(tmp_path, GOOD), Columns(role="persona"))


def test_the_commands_options_reach_the_stage(bench: tuple[Path, RoleTriviaConfig], tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "renamed.jsonl").write_text(bench[0].read_text().replace('"question"', '"prompt"'))
    arguments = [str(tmp_path / "renamed.jsonl"), str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    options = ["--question-column", "prompt", "--limit", "1", "--top-p", "0.8", "--temperature", "1", "--seed", "7"]
    result = CliRunner().invoke(command, [*arguments, *options])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "scores.json").read_text())["config"]
    assert (config["columns"]["question"], config["limit"]) == ("prompt", 1)
    assert (config["sampling"]["top_p"], config["sampling"]["temperature"], config["sampling"]["seed"]) == (0.8, 1, 7)
    assert json.loads(result.stdout)["questions"] == 2
