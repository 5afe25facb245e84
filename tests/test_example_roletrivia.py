"""The small RoleTriviaQA as a script: its commands are those that the program takes, in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.cli.make_corpus import command

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "roletrivia-mini.sh"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    folder = tmp_path_factory.mktemp("mini")
    code = "import json,sys; print(json.dumps(sys.argv[1:]))"
    (folder / "slmtk").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\" >>{folder}/calls.jsonl\n")
    (folder / "slmtk").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "STEPS": "7", "SENTENCES": "3"}
    subprocess.run(["bash", str(SCRIPT), "mini"], cwd=folder, env=environment, check=True, capture_output=True)
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_it_goes_from_no_data_to_scores(calls: list[list[str]]):
    assert [call[0] for call in calls] == ["make-corpus", "tokenize", "build-dataset", "train", "roletrivia-bench"]
    corpus, codes, dataset, model, bench = (f"mini/{name}" for name in ("corpus", "codes", "dataset", "model", "bench"))
    assert [call[1:3] for call in calls[1:]] == [
        [f"{corpus}/train", codes],
        [codes, dataset],
        [dataset, model],
        [f"{corpus}/roletrivia.jsonl", bench],
    ]
    assert calls[-1][calls[-1].index("--model") + 1] == model


def test_every_command_but_the_first_passes_its_own_dry_run(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for call in calls[1:]:
        done = CliRunner().invoke(cli, [*call, "--dry-run"])
        assert done.exit_code == 0, (call, done.output, done.exception)
        assert json.loads(done.stdout)["dry_run"] is True, call
    assert list(tmp_path.iterdir()) == []


def test_the_first_command_is_one_that_the_program_takes(calls: list[list[str]]):
    context = command.make_context("make-corpus", calls[0][1:])
    assert (context.params["trivia"], context.params["sentences"]) == ("mini", 3)
