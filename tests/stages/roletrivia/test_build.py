from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.main import cli
from slmtk.data.questions import read_questions
from slmtk.errors import ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.progress import SilentProgress
from slmtk.stages.lines import read_lines
from slmtk.stages.roletrivia import Source, read_trivia
from slmtk.stages.roletrivia.build import BuildConfig, BuildReport, build
from slmtk.stages.roletrivia.triviaqa import read_items
from tests.helpers.untrained import save_untrained

OFFICIAL = {
    "Domain": "Web",
    "Data": [
        {
            "QuestionId": "qz_1--1.txt",
            "Question": "Which street is in Hollywood?",
            "Answer": {
                "Aliases": ["Sunset Blvd", "Sunset Blvd."],
                "NormalizedAliases": ["sunset blvd"],
                "NormalizedValue": "sunset boulevard",
                "Value": "Sunset Boulevard",
                "Type": "WikipediaEntity",
            },
        },
        {"QuestionId": "qz_2", "Question": "Which  street is in hollywood?", "Answer": {"Value": "x"}},
        {"QuestionId": "qz_3", "Question": "Who swims?", "Answer": {"Value": "fish", "Aliases": []}},
        {"QuestionId": "qz_4", "Question": "Unanswered?", "Answer": {}},
    ],
}


@pytest.fixture
def trivia(tmp_path: Path) -> Path:
    rows = [{"question": f"What is {n}?", "answer": f"word {n}", "aliases": [str(n)]} for n in range(20)]
    path = tmp_path / "trivia.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    for place, level in (("ada.wav", 0.2), ("bob/1.wav", 0.3), ("cy.wav", 0.4)):
        audio.write(tmp_path / "roles" / place, torch.full((8000,), level), 16_000)
    return tmp_path / "roles"


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make(trivia: Path, roles: Path, out: Path, **settings: object) -> BuildReport:
    config = BuildConfig(device="cpu", sampling=Sampling(max_seconds=0.4, seed=3))
    return build(trivia, roles, out, replace(config, **settings), SilentProgress())


def test_triviaqas_own_file_is_read_with_every_alias_once(tmp_path: Path):
    path = tmp_path / "web-dev.json"
    path.write_text(json.dumps(OFFICIAL))
    items, left_out = read_items(path)
    assert left_out == 2  # the same question again, and one without an answer
    assert [(item.id, item.question) for item in items] == [
        ("qz_1--1.txt", "Which street is in Hollywood?"),
        ("qz_3", "Who swims?"),
    ]
    expected = ("Sunset Boulevard", "Sunset Blvd", "Sunset Blvd.", "sunset boulevard", "sunset blvd")
    assert items[0].answers == expected
    assert read_items(path, limit=1)[0] == items[:1]


def test_a_json_of_something_else_is_refused(tmp_path: Path):
    path = tmp_path / "x.json"
    for content, message in (("{}", "no list of questions"), ("[1]", "no list of questions"), ("{", "read as JSON")):
        path.write_text(content)
        with pytest.raises(FormatError, match=message):
            read_items(path)


def test_parts_are_a_seeded_share_and_roles_take_turns(trivia: Path, roles: Path, tmp_path: Path):
    report = make(trivia, roles, tmp_path / "out", ood_share=0.25, unseen_roles=1)
    assert (report.questions, report.id, report.ood, report.roles, report.unseen_roles) == (20, 15, 5, 3, 1)
    rows = rows_of(tmp_path / "out" / "questions.jsonl")
    seen = [row["role"] for row in rows if row["split"] == "id"]
    kept_back = [row["role"] for row in rows if row["split"] == "ood"]
    assert sorted(seen.count(role) for role in set(seen)) == [7, 8]
    assert sorted(kept_back.count(role) for role in set(kept_back)) == [1, 2, 2]
    assert len(set(kept_back) - set(seen)) == 1
    make(trivia, roles, tmp_path / "same", ood_share=0.25, unseen_roles=1)
    assert rows_of(tmp_path / "same" / "questions.jsonl") == rows
    make(trivia, roles, tmp_path / "other", ood_share=0.25, unseen_roles=1, sampling=Sampling(seed=4))
    assert rows_of(tmp_path / "other" / "questions.jsonl") != rows


def test_what_was_made_is_a_benchmark_and_a_training_set(trivia: Path, roles: Path, tmp_path: Path):
    out = tmp_path / "out"
    make(trivia, roles, out, ood_share=0.25)
    questions = read_trivia(out / "questions.jsonl")
    assert questions[0].answers == ("word 0", "0")
    assert {question.reference.parent for question in questions} == {out / "references"}
    seen = [question for question in questions if question.split == "id"]
    # The same file tells `synth` what to say in which voice, and `build-dataset` what was asked.
    lines = read_lines(out / "training.jsonl")
    assert [(line.id, line.text, line.reference) for line in lines] == [
        (question.id, question.answers[0], question.reference) for question in seen
    ]
    asked_of = {name: found.text for name, found in read_questions(out / "training.jsonl").items()}
    assert asked_of == {question.id: question.question for question in seen}
    asked = read_lines(out / "asked.jsonl")
    assert [line.text for line in asked] == [question.question for question in questions]
    assert all(line.reference != question.reference for line, question in zip(asked, questions, strict=True))


def test_models_speak_answers_and_questions(trivia: Path, roles: Path, tmp_path: Path):
    out, model = tmp_path / "out", save_untrained(tmp_path / "model")
    settings = {"limit": 4, "ood_share": 0.25, "answers_by": model, "questions_spoken_by": model}
    report = make(trivia, roles, out, **settings)
    assert (report.id, report.ood) == (3, 1)
    assert len(rows_of(out / "answers" / "synth.jsonl")) == 3
    assert report.questions_spoken == sum(not row["reason"] for row in rows_of(out / "asked" / "synth.jsonl"))
    questions = read_trivia(out / "questions.jsonl", Source(spoken=True))
    assert [question.question_audio for question in questions] == [
        out / "asked" / "wav" / f"{question.id}.wav" for question in questions
    ]
    before = (out / "answers" / "synth.jsonl").stat().st_mtime_ns
    assert make(trivia, roles, out, **settings) == report
    assert (out / "answers" / "synth.jsonl").stat().st_mtime_ns == before


def test_a_folder_of_something_else_is_refused(trivia: Path, roles: Path, tmp_path: Path):
    make(trivia, roles, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"holds another benchmark \(ood_share was 0.1, is 0.5\)"):
        make(trivia, roles, tmp_path / "out", ood_share=0.5)
    with pytest.raises(ConfigError, match="is not empty"):
        make(trivia, roles, tmp_path / "roles")
    with pytest.raises(ConfigError, match="has 3 roles; leave one"):
        make(trivia, roles, tmp_path / "new", unseen_roles=3)
    with pytest.raises(ConfigError, match="expected a share"):
        BuildConfig(ood_share=10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no recordings"):
        make(trivia, tmp_path / "empty", tmp_path / "new")
    audio.write(roles / "ada.flac", torch.zeros(800), 16_000)
    with pytest.raises(FormatError, match="the role 'ada' twice"):
        make(trivia, roles, tmp_path / "new")


def test_the_command_answers_to_two_names(trivia: Path, roles: Path, tmp_path: Path):
    arguments = [str(trivia), str(roles), str(tmp_path / "out"), "--ood-share", "0.5", "--seed", "3"]
    done = CliRunner().invoke(cli, ["roletrivia-bench", "build", *arguments])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ood"] == 10
    planned = CliRunner().invoke(cli, ["roletrivia-bench", "build", *arguments, "--dry-run"])
    assert json.loads(planned.stdout)["would_read"][1] == f"roles: {roles} (3 roles)"
