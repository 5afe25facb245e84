"""A dozen questions of the small RoleTriviaQA the whole way: corpus, codes, dataset, training, benchmark."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.stages import make_corpus as stage
from slmtk.synthesis.trivia import load_trivia


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Scores of a tiny model that saw nine questions some seventy times, each answered by two of three roles."""
    out = tmp_path_factory.mktemp("mini")
    trivia = load_trivia("mini")
    known = [replace(item, wordings=item.wordings[:1]) for item in trivia if item.split == "id"][::10][:9]
    dozen = [*known, *trivia[-3:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "load_trivia", lambda name: dozen)
        patch.setenv("HF_HUB_OFFLINE", "1")
        corpus = ("--trivia", "mini", "--sentences", 1, "--test-sentences", 1, "--voices", "ada,edward,flora")
        run("make-corpus", out / "corpus", *corpus)
        run("tokenize", out / "corpus/train", out / "codes", "--codec", "world", "--workers", 1)
        questions = ("--questions", out / "corpus/questions.jsonl", "--dev-fraction", 0, "--tokenizer", "bpe:400")
        run("build-dataset", out / "codes", out / "dataset", *questions)
        # Enough for the text alone, which is what is asserted; clear speech takes many more.
        steps = ("--steps", 150, "--batch-size", 9, "--learning-rate", "2e-3", "--beta2", "0.99", "--num-targets", 0)
        size = ("--size", "xs", "--frames-per-step", 4, "--text-weight", 0.5, "--device", "cpu")
        run("train", out / "dataset", out / "model", *size, *steps)
        grammar = ("--grammar", out / "corpus/answers.jsgf", "--device", "cpu")
        run("roletrivia-bench", out / "corpus/roletrivia.jsonl", out / "bench", "--model", out / "model", *grammar)
    written: dict[str, Any] = json.loads((out / "bench/scores.json").read_text())
    return written


def test_a_model_that_was_trained_on_the_answers_gives_them_in_roles_it_never_heard_give_them(scores: dict[str, Any]):
    known = scores["scores"]["splits"]["id"]
    assert known["questions"] == 9
    assert known["em_text"]["value"] >= 0.7
    assert known["success_rate"] >= 0.7


def test_what_it_was_not_taught_is_asked_and_scored_apart(scores: dict[str, Any]):
    splits = scores["scores"]["splits"]
    assert {name: split["questions"] for name, split in splits.items()} == {"id": 9, "id-reworded": 9, "ood": 3}
    assert splits["ood"]["em_text"]["value"] < splits["id"]["em_text"]["value"]
