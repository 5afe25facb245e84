"""The recipe of the built-in voice: what it has spoken, and that its commands are those that the program takes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from slmtk.cli.main import cli

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def corpus():
    spec = importlib.util.spec_from_file_location("voice_corpus", EXAMPLES / "voice_corpus.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["voice_corpus"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["voice_corpus"]


def sentences(count):
    return [
        (f"S{i:04d}", f"sentence number {i} begins here, goes on for a while; and ends there.") for i in range(count)
    ]


def test_no_words_of_a_test_sentence_are_trained_on(corpus, tmp_path):
    lines = corpus.plan(sentences(600), tmp_path)
    keys = {part: {name.split("-")[1] for name in by_name} for part, by_name in lines.items()}
    assert keys["test"] == {f"S{i:04d}" for i in range(0, 600, corpus.HELD_EVERY)}
    assert not keys["test"] & (keys["train"] | keys["short"])
    assert all(line.text == dict(sentences(600))[name.split("-")[1]] for name, line in lines["test"].items())


def test_phrases_are_up_to_five_words_in_a_row_in_four_voices(corpus, tmp_path):
    whole = dict(sentences(600))
    lines = corpus.plan(sentences(600), tmp_path)["short"]
    for name, line in lines.items():
        assert 1 <= len(line.text.split()) <= 5
        assert line.text in whole[name.split("-")[1]]
    assert {line.voice for line in lines.values()} == set(corpus.VOICES)
    assert corpus.plan(sentences(600), tmp_path)["short"] == lines


def test_clauses_keep_every_word_and_are_not_short(corpus):
    text = "To be, or not to be, that is the question: whether it is nobler, or not."
    parts = corpus.clauses(text)
    assert " ".join(parts) == text
    assert len(parts) > 1
    assert all(len(part) >= corpus.SHORTEST_CLAUSE for part in parts)


def test_silence_around_speech_is_cut_to_what_is_kept(corpus):
    tone = torch.sin(torch.arange(8000) * 0.3)
    wav = torch.cat([torch.zeros(16_000), tone, torch.zeros(16_000)])
    kept = int(corpus.SILENCE_SECONDS * corpus.RATE)
    assert corpus.trim(wav).shape[0] == 8000 + 2 * kept


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    if os.name != "posix":
        pytest.skip("a shell script")
    folder = tmp_path_factory.mktemp("voice")
    code = "import json,sys; print(json.dumps(sys.argv[1:]))"
    recorder = f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\" >>{folder}/calls.jsonl\n"
    # `python -` reads a script that needs the recordings; it is left out here.
    (folder / "python").write_text(recorder.replace("exec", '[ "$1" = - ] && exit 0\nexec', 1))
    (folder / "slmtk").write_text(recorder)
    for name in ("python", "slmtk"):
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    script = str(EXAMPLES / "voice-in-the-box.sh")
    subprocess.run(["bash", script, "text.tsv", "box"], cwd=folder, env=environment, check=True, capture_output=True)
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_the_recipe_goes_from_text_to_a_packed_model_and_its_scores(calls):
    verbs = [Path(call[0]).name if call[0] != "-m" else call[1] for call in calls]
    assert verbs == (
        ["voice_corpus.py"] + ["tokenize"] * 3 + ["build-dataset"] * 2 + ["train"] * 2
        + ["slmtk.models.packed", "synth", "eval-wer", "eval-wer", "compare"]
    )  # fmt: skip
    made = {call[2] for call in calls if call[0] == "train"}
    bases = [call[call.index("--base") + 1] for call in calls if call[0] == "train"]
    assert bases[0] == "tiny"
    assert set(bases[1:]) < made  # each goes on from one before it


def test_every_command_of_the_recipe_passes_its_own_dry_run(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in calls:
        if call[0] in ("tokenize", "build-dataset", "train", "synth", "eval-wer") and "--against" not in call:
            done = CliRunner().invoke(cli, [*call, "--dry-run"])
            assert done.exit_code == 0, (call, done.output, done.exception)
    assert list(tmp_path.iterdir()) == []
