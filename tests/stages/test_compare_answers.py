"""Scored answers under each other: a benchmark's model, its baselines, its splits, and other runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.known_speech import LevelRecognizer, write_corpus

from slmtk.errors import ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.stages import eval_wer as stage
from slmtk.stages import roletrivia as benchmark
from slmtk.stages.compare import CompareConfig, Comparison, answers, compare
from slmtk.stages.roletrivia import roletrivia
from slmtk.stages.roletrivia import systems as benchmark_systems
from slmtk.stages.roletrivia.config import MODEL
from tests.stages.roletrivia import test_run
from tests.stages.roletrivia.test_run import Bench, bench  # noqa: F401

pytestmark = pytest.mark.usefixtures("bench")
TEXT = "text:some/model"


def table(*runs: Path, **settings) -> Comparison:
    return compare(runs, CompareConfig(**settings), SilentProgress())


@pytest.fixture
def scored(bench: Bench, tmp_path: Path) -> Path:  # noqa: F811
    """A model and a text model, asked the four questions of the benchmark's own tests."""
    roletrivia(bench[0], tmp_path / "out", replace(bench[1], baselines=(TEXT,)), SilentProgress())
    return tmp_path / "out"


def test_the_model_and_each_baseline_are_rows_with_the_benchmarks_numbers(scored):
    report = table(scored)
    assert [row.name for row in report.rows] == ["out", f"out/{TEXT}"]
    written = json.loads((scored / "scores.json").read_text())["scores"]["all"]
    model, text = report.rows
    for key in ("em_text", "f1_text", "em_speech", "f1_speech"):
        told = model.values[key]
        assert {"value": told.value, "low": told.low, "high": told.high} == written[key]
    assert model.values["text_speech_wer"].value == written["wer"]["value"]
    assert model.values["success"].value == 0.5
    assert model.values["similarity fake memory to role"].utterances == 1
    assert list(text.values) == ["em_text", "f1_text"]
    assert (model.utterances, text.tested) == (4, 4)


def test_answers_are_tested_question_by_question(scored, tmp_path, bench, monkeypatch):  # noqa: F811
    # The other run writes what the first one writes, but brings every answer to its end, in the voice of role x.
    monkeypatch.setattr(test_run, "HEARD", {**test_run.HEARD, 50: "three"})
    right = {question: (text, 0.5, "") for question, (text, _, _) in test_run.ANSWERS.items()}
    monkeypatch.setattr(test_run, "ANSWERS", right)
    roletrivia(bench[0], tmp_path / "right", bench[1], SilentProgress())
    row = table(scored, tmp_path / "right", bootstrap_samples=200).rows[-1]
    assert row.name == "right"
    assert row.against["em_text"].difference == 0.0
    assert row.against["em_text"].p_value == 1.0
    assert row.against["success"].difference == 0.5
    # "three" is heard for each: right for one question, as before; of 1 + 3 + 2 + 0 words 0 + 3 + 2 + 1 are wrong.
    assert row.against["em_speech"].difference == 0.0
    assert row.against["text_speech_wer"].difference == pytest.approx(6 / 6 - 4 / 6)
    # Of the first run one answer alone can be judged: [0.6, 0.8] beside x = [1, 0] and y = [0, 1].
    assert row.against["similarity fake memory to role"].difference == pytest.approx(1.0 - 0.6)
    other = row.against["similarity fake memory to other roles"]
    assert (other.difference, other.verdict) == (pytest.approx(0.0 - 0.8), "different")


def test_one_split_can_be_compared_alone(scored):
    report = table(scored, split="id")
    assert report.rows[0].values["f1_speech"].value == 0.75
    assert report.rows[0].utterances == report.rows[1].tested == 2
    with pytest.raises(ConfigError, match=r"no split 'test'; found id, ood"):
        table(scored, split="test")


def test_steps_and_speed_are_of_all_answers_and_a_text_model_has_none(scored):
    lines = [json.loads(line) for line in (scored / "answers.jsonl").read_text().splitlines()]
    wall = sum(line["seconds_wall"] for line in lines)
    model, text = (row.facts for row in table(scored).rows)
    assert model.rtf == pytest.approx(wall / 1.5)  # three answers of half a second
    assert model.steps_per_second == pytest.approx(160 / wall)
    assert (model.codec, model.bits_per_second) == ("facodec", 2400)
    assert (text.rtf, text.codec) == (None, None)


def test_scores_of_both_commands_compare_only_by_force_and_without_tests(scored, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: LevelRecognizer())
    config = stage.EvalConfig(device="cpu", similarity=False)
    stage.eval_wer(write_corpus(tmp_path / "a", {"a": ("go on", 1)}), None, tmp_path / "s", config, SilentProgress())
    with pytest.raises(ConfigError, match="scored by 'eval-wer', not 'roletrivia-bench'"):
        table(scored, tmp_path / "s")
    report = table(scored, tmp_path / "s", force=True)
    assert report.rows[-1].against == {}
    assert "no p-values for s: its scores and those of out are of different commands" in report.notes


def test_a_benchmark_without_its_answers_is_one_line(scored):
    (scored / "answers.jsonl").unlink()
    with pytest.raises(FormatError, match=r"holds no scores of this version .*run the benchmark again"):
        table(scored)


@pytest.mark.parametrize("name", ["SCORES_NAME", "RUN_NAME", "ANSWERS_NAME"])
def test_the_names_of_files_are_the_benchmarks(name):
    assert getattr(answers, name) == getattr(benchmark, name)


def test_the_names_of_systems_are_the_benchmarks():
    assert answers.BASELINES_NAME == benchmark_systems.BASELINES_NAME
    assert answers.MODEL == MODEL
