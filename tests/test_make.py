"""The scripts around slmtk, with programs that only pretend: what they say, and that they stop when something fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts")


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def make_venv(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python, "VENV": str(folder / "venv")}
    return subprocess.run(
        ["sh", str(ROOT / ".ci" / "venv")], capture_output=True, text=True, env=environment, timeout=60
    )


def test_a_python_that_is_not_there_is_told_in_one_line(tmp_path):
    done = make_venv(tmp_path, "python-that-is-not-there")
    assert done.returncode == 1
    assert done.stderr.startswith("make: 'python-that-is-not-there' does not run; install Python 3.11 or newer")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_too_old_is_told_with_its_version(tmp_path):
    body = 'case "$2" in *python_version*) echo 3.10.4;; *version_info*) exit 1;; esac'
    done = make_venv(tmp_path, str(program(tmp_path / "old", body)))
    assert done.returncode == 1
    assert "is Python 3.10.4; slmtk needs 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_is_told_with_the_command_that_brings_it(tmp_path):
    body = 'case "$2" in *python_version*) echo 3.12.1;; *ensurepip*) exit 1;; esac'
    done = make_venv(tmp_path, str(program(tmp_path / "bare", body)))
    assert done.returncode == 1
    assert "Python 3.12.1 has no venv module; on Debian and Ubuntu: apt install python3.12-venv" in done.stderr


def test_an_environment_that_is_there_is_left_alone(tmp_path):
    kept = program(tmp_path / "venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    done = make_venv(tmp_path, "python-that-is-not-there")
    assert done.returncode == 0
    assert done.stdout == ""
    assert [path.name for path in (tmp_path / "venv" / "bin").iterdir()] == [kept.name]


def quickstart(tmp_path: Path, slmtk_body: str) -> subprocess.CompletedProcess[str]:
    program(tmp_path / "bin" / "slmtk", slmtk_body)
    program(tmp_path / "bin" / "python", 'echo "table of $2"')
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = [shutil.which("bash") or "bash", str(ROOT / "examples" / "quickstart.sh"), "my folder"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)


def test_the_quickstart_prints_each_command_before_it_runs_it(tmp_path):
    done = quickstart(tmp_path, 'echo "ran $1"')
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    printed, ran = lines[:-1:2], lines[1:-1:2]
    assert [line.split()[2] for line in printed] == [line.split()[1] for line in ran]
    assert all(line.startswith("$ slmtk ") for line in printed)
    assert printed[0].startswith("$ slmtk make-corpus my\\ folder/corpus")
    assert {line.split()[1] for line in ran} >= {"tokenize", "build-dataset", "train", "synth", "eval-wer"}
    assert lines[-1] == "table of my folder"


def test_the_quickstart_stops_at_the_first_command_that_fails(tmp_path):
    done = quickstart(tmp_path, 'test "$1" != build-dataset')
    assert done.returncode == 1
    assert "$ slmtk build-dataset" in done.stdout
    assert "$ slmtk train" not in done.stdout
