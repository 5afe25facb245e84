"""The paper's experiments as a script: its commands are those that the program takes, and a dry run writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.main import cli
from slmtk.shards import CodesRow, part_name, write_index, write_shard
from tests.helpers.tone import VoicedToneCodec

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "paper.sh"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def run_script(folder: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script in ``folder`` with ``program`` (a shell script's body) as `slmtk`."""
    for name, body in (("slmtk", program), ("torchrun", program), ("python", f'exec {sys.executable} "$@"')):
        shim = folder / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f"#!/bin/sh\n{body}\n")
        shim.chmod(0o755)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if name not in ("DATA", "OUT", "GPUS", "PARTS")}
    variables |= {"PATH": f"{shim.parent}:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", str(SCRIPT)], cwd=work, env=variables, capture_output=True, text=True, timeout=300)


def arguments_of(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def recorder(folder: Path) -> str:
    code = "import json,sys; print(json.dumps(sys.argv[1:]))"
    return f"exec {sys.executable} -c '{code}' \"$@\" >>{folder}/calls.jsonl"


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    done = run_script(folder, recorder(folder), DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert list((folder / "work").iterdir()) == []
    return arguments_of(folder)


def test_the_script_goes_from_recordings_to_scores_for_every_model(calls):
    verbs = [call[0] for call in calls]
    assert verbs[:5] == ["tokenize"] * 4 + ["build-dataset"]
    names = ["ntp", "mtp-3h", "mtp-6h", "mtp-12h", "mtp-12h-speaker"]
    for verb in ("train", "synth", "eval-wer"):
        outs = [part for call in calls if call[0] == verb for part in call if part.startswith("paper/")]
        assert [name for name in names if any(Path(out).name == name for out in outs)] == names
    assert verbs[-1] == "roletrivia-bench"
    assert all(call[-1] == "--dry-run" for call in calls)


def test_models_are_trained_with_the_published_settings(calls):
    trains = [call for call in calls if call[0] == "train"]
    assert len(trains) == 7
    for call in trains:
        settings = dict(pairwise(call))
        published = {"--learning-rate": "5e-4", "--schedule": "cosine", "--warmup": "0.03", "--weight-decay": "0"}
        published |= {"--batch-size": "1", "--accumulation": "4", "--precision": "bf16", "--max-tokens": "32768"}
        assert published.items() <= settings.items()
    layouts = [
        (settings["--layout"], settings.get("--frames-per-step"), "--speaker-aware" in call)
        for call in trains
        for settings in [dict(pairwise(call))]
    ]
    assert layouts[:4] == [("interleaved", None, False)] + [("grouped", str(g), False) for g in (1, 2, 4)]
    assert layouts[4:] == [("grouped", "4", True)] * 3


def test_every_command_of_the_script_passes_its_own_dry_run(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for call in calls:
        done = CliRunner().invoke(cli, call)
        assert done.exit_code == 0, (call, done.output, done.exception)
        assert json.loads(done.stdout)["dry_run"] is True, call
    assert list(tmp_path.iterdir()) == []


def test_a_real_run_writes_what_lies_between_the_commands(tmp_path):
    for name in ("12/3/12_3_000001", "12/3/12_3_000002", "34/5/34_5_000001"):
        path = tmp_path / "data" / "LibriTTS" / "test-clean" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path.with_suffix(".wav"), torch.zeros(1600), 16_000)
        path.with_suffix(".normalized.txt").write_text(f"Text of {path.name}.")
    codes = tmp_path / "work" / "out" / "codes" / "roletrivia"
    codes.mkdir(parents=True)
    vector = np.ones(1, dtype=np.float32)
    rows = [
        CodesRow("q1", np.zeros((2, 5), np.int32), 0.1, "two", "ada", speaker_vector=vector, extra={"asked": "How?"})
    ]
    write_index(
        codes, VoicedToneCodec.spec, {}, "x", [write_shard(codes / part_name(0), VoicedToneCodec.spec, rows)], 0
    )

    done = run_script(
        tmp_path, recorder(tmp_path), DATA=str(tmp_path / "data"), OUT="out", GPUS="2", QA_QUESTION="asked"
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "work" / "out" / "test-clean.jsonl").read_text().splitlines()]
    # A speaker with one recording is its own reference.
    assert [(line["id"], line["text"], Path(line["reference"]).stem) for line in lines] == [
        ("12_3_000001", "Text of 12_3_000001.", "12_3_000002"),
        ("12_3_000002", "Text of 12_3_000002.", "12_3_000001"),
        ("34_5_000001", "Text of 34_5_000001.", "34_5_000001"),
    ]
    questions = (tmp_path / "work" / "out" / "questions.jsonl").read_text()
    assert [json.loads(line) for line in questions.splitlines()] == [{"id": "q1", "question": "How?"}]
    calls = arguments_of(tmp_path)
    trains = [call for call in calls if call[0] == "--standalone"]
    assert len(trains) == 7
    assert {tuple(call[:6]) for call in trains} == {("--standalone", "--nproc-per-node", "2", "-m", "slmtk", "train")}
    assert not any("--dry-run" in call for call in calls)


@pytest.mark.parametrize(("gpus", "accumulation"), [("1", "32"), ("4", "8"), ("64", "1")])
def test_a_step_has_32_utterances_whatever_the_number_of_gpus(tmp_path, gpus, accumulation):
    done = run_script(tmp_path, recorder(tmp_path), DRY_RUN="1", GPUS=gpus, PARTS="qa")
    assert done.returncode == 0, done.stderr
    trains = [call for call in arguments_of(tmp_path) if call[0] == "train"]
    assert [call[call.index("--accumulation") + 1] for call in trains] == [accumulation] * 2


def test_the_script_stops_at_the_first_command_that_fails_and_goes_on_after_inputs_that_failed(tmp_path):
    fail = f"[ $1 = build-dataset ] && exit 1; {recorder(tmp_path)}; exit 3"
    done = run_script(tmp_path, fail.replace("exec ", ""), DRY_RUN="1")
    assert done.returncode == 1
    assert [call[0] for call in arguments_of(tmp_path)] == ["tokenize"] * 4


def test_an_unknown_part_is_told(tmp_path):
    done = run_script(tmp_path, "true", DRY_RUN="1", PARTS="asr")
    assert done.returncode == 2
    assert done.stderr == "paper: no part 'asr'; PARTS may hold tts and qa\n"
