"""The doctor, with troubles that are only pretended and with real interpreters that crash."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import pytest

from slmtk import plugins
from slmtk.cli import doctor as command
from slmtk.progress import SilentProgress
from slmtk.stages import doctor, mending
from slmtk.stages.probe import Answer, ask

REQUIREMENTS = {"torch": "torch<2.15,>=2.11", "torchaudio": "torchaudio<2.12,>=2.11", "soundfile": "soundfile>=0.12"}
PIP = f"{shlex.quote(sys.executable)} -m pip install"


def healthy_answers(code: str) -> Answer:
    if code == doctor.TORCH_PROBE:
        return Answer({"cuda": "13.0", "mps": False, "gpus": []})
    if code == doctor.SOUND_PROBE:
        return Answer({"version": "1.2.2", "formats": ["FLAC", "MP3", "OGG", "WAV"]})
    return Answer()


HEALTHY = doctor.Surroundings(
    ask=healthy_answers,
    version={"torch": "2.14.1", "torchaudio": "2.11.0", "soundfile": "0.13.1", "pyworld": "0.3.5"}.get,
    requirements=(*REQUIREMENTS.values(), 'pyworld>=0.3.5; extra == "embedded"', 'ruff>=0.9; extra == "dev"'),
    environment={},
    free_bytes=lambda folder: 50 * 10**9,
    command_output=lambda command: None,
)


def diagnose(**troubles: object) -> doctor.DoctorReport:
    return doctor.diagnose(dataclasses.replace(HEALTHY, **troubles), SilentProgress())


def answering(fragment: str, answer: Answer):
    """Answers of a healthy machine, except for questions that hold ``fragment``."""
    return lambda code: answer if fragment in code else healthy_answers(code)


def finding(report: doctor.DoctorReport, group: str, name: str) -> doctor.Finding:
    return next(f for f in report.findings if (f.group, f.name) == (group, name))


def test_a_sound_machine_is_healthy_and_needs_no_mending():
    report = diagnose()
    assert report.healthy
    assert [f.name for f in report.findings if f.status == "broken"] == []
    assert finding(report, "imports", "torchaudio").found == "torchaudio 2.11.0 loads beside torch 2.14.1"
    assert finding(report, "sound", "libsndfile").found == "1.2.2 reads wav, flac, ogg, mp3"
    assert finding(report, "devices", "gpu").found == "none; everything runs on the CPU"
    assert finding(report, "extras", "embedded").found.endswith(": pyworld 0.3.5")


def test_a_version_outside_the_bounds_is_broken_and_pip_gets_the_bounds():
    report = diagnose(version={"torch": "2.15.0", "torchaudio": "2.11.0", "soundfile": "0.13.1"}.get)
    assert not report.healthy
    assert finding(report, "versions", "torch") == doctor.Finding(
        "versions", "torch", "broken", "2.15.0, but slmtk needs <2.15,>=2.11", f"{PIP} 'torch<2.15,>=2.11'"
    )


def test_a_required_package_that_is_not_installed_is_broken():
    report = diagnose(version={"torch": "2.14.1", "torchaudio": "2.11.0"}.get)
    assert finding(report, "versions", "soundfile").mend == f"{PIP} 'soundfile>=0.12'"
    assert not report.healthy


def test_a_missing_extra_is_a_note_with_its_command_and_does_not_make_ill():
    report = diagnose(version={"torch": "2.14.1", "torchaudio": "2.11.0", "soundfile": "0.13.1"}.get)
    note = finding(report, "extras", "embedded")
    assert (note.status, note.mend) == ("note", f"{PIP} 'pyworld>=0.3.5'")
    assert report.healthy
    assert "dev" not in [f.name for f in report.findings]


CUDA_MISMATCH = (
    "RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has CUDA "
    "version 13.2 whereas TorchAudio has CUDA version 13.0. Please install the TorchAudio version that matches your "
    "PyTorch version."
)
CANNOT_LOAD = "OSError: Could not load this library: site-packages/torchaudio/lib/_torchaudio.abi3.so"


@pytest.mark.parametrize(
    ("torch", "error", "reason", "mend"),
    [
        (
            "2.15.0",
            CUDA_MISMATCH,
            "torchaudio 2.11.0 was built for CUDA 13.0 and does not load beside torch 2.15.0: RuntimeError: Detected",
            f"{PIP} 'torch<2.15,>=2.11' 'torchaudio<2.12,>=2.11'",
        ),
        (
            "2.13.0+cpu",
            CANNOT_LOAD,
            "torchaudio 2.11.0 was built for CUDA 13.0 and does not load beside torch 2.13.0+cpu, another build",
            f"{PIP} --upgrade --force-reinstall --index-url https://pypi.org/simple "
            "'torch<2.15,>=2.11' 'torchaudio<2.12,>=2.11'",
        ),
    ],
)
def test_a_torchaudio_that_does_not_match_torch_is_explained(torch, error, reason, mend):
    versions = {"torch": torch, "torchaudio": "2.11.0", "soundfile": "0.13.1"}
    report = diagnose(version=versions.get, ask=answering("import torchaudio", Answer(error=error)))
    trouble = finding(report, "imports", "torchaudio")
    assert trouble.found.startswith(reason)
    assert (trouble.status, trouble.mend) == ("broken", mend)


@pytest.mark.parametrize(
    ("module", "error", "reason", "mend"),
    [
        (
            "resemblyzer",
            "ModuleNotFoundError: No module named 'pkg_resources'",
            "gone since setuptools 81",
            f"{PIP} 'setuptools<81'",
        ),
        (
            "soundfile",
            "OSError: sndfile library not found using ctypes.util.find_library",
            "no libsndfile",
            "soundfile",
        ),
        (
            "torch",
            "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
            "libcudart.so.13, which comes with torch, is gone",
            f"{PIP} --force-reinstall 'torch<2.15,>=2.11'",
        ),
        (
            "resemblyzer",
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility",
            "built for another NumPy",
            f"{PIP} --force-reinstall --no-deps --no-cache-dir resemblyzer",
        ),
        ("transformers", "ModuleNotFoundError: No module named 'regex'", "'regex' is not installed", f"{PIP} regex"),
        ("pyarrow", "the interpreter crashed (SIGILL)", "crashed (SIGILL)", f"{PIP} --force-reinstall pyarrow"),
    ],
)
def test_each_known_trouble_has_its_reason_and_its_command(module, error, reason, mend):
    found, command_line = mending.explain_import(module, error, REQUIREMENTS, {})
    assert reason in found
    assert command_line.endswith(mend)


def test_an_optional_import_that_fails_is_a_note():
    report = diagnose(ask=answering("import pyworld", Answer(error="the interpreter crashed (SIGSEGV)")))
    assert finding(report, "imports", "pyworld").status == "note"
    assert report.healthy


def test_a_gpu_that_torch_does_not_see_is_noted():
    report = diagnose(command_output=lambda command: "NVIDIA H200, 550.54")
    note = finding(report, "devices", "gpu")
    assert note.status == "note"
    assert "NVIDIA H200, 550.54, but torch (built for CUDA 13.0) does not see it" in note.found


def test_gpus_are_listed_with_memory():
    card = {"name": "NVIDIA H200", "bytes": 150_000_000_000, "capability": "9.0"}
    gpus = Answer({"cuda": "13.0", "mps": False, "gpus": [card]})
    report = diagnose(ask=answering("get_device_properties", gpus))
    assert finding(report, "devices", "cuda:0").found == "NVIDIA H200, 150 GB, compute capability 9.0"


@pytest.mark.parametrize(("formats", "status"), [(["FLAC", "OGG", "WAV"], "note"), (["WAV"], "broken")])
def test_sound_formats_that_are_missing_are_named(formats, status):
    answer = Answer({"version": "1.0.31", "formats": formats})
    found = finding(diagnose(ask=answering("__libsndfile_version__", answer)), "sound", "libsndfile")
    assert found.status == status
    assert "mp3" in found.found


def test_a_plug_in_that_does_not_load_is_a_note_with_our_own_words(monkeypatch):
    error = (
        "slmtk.errors.MissingDependencyError: 'world' needs the package 'pyworld', which is not installed: "
        "pip install 'slmtk[embedded]'"
    )
    report = diagnose(ask=answering("'slmtk.codecs', 'world'", Answer(error=error)))
    note = finding(report, "plug-ins", "codecs world")
    assert note.status == "note"
    assert note.found.startswith("'world' needs the package 'pyworld'")
    assert note.mend == "pip install 'slmtk[embedded]'"


def test_two_plug_ins_of_one_name_are_broken(monkeypatch):
    def clash(group: str) -> dict[str, object]:
        raise plugins.PluginError("two plug-ins are called 'x'")

    monkeypatch.setattr(plugins, "available", clash)
    assert not diagnose().healthy


def test_caches_are_where_the_environment_says_with_their_size(tmp_path):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "weights").write_bytes(b"x" * 200_000_000)
    report = diagnose(environment={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "TORCH_HOME": "/none"})
    assert finding(report, "caches", "HF_HUB_CACHE").found == f"{tmp_path / 'hub'} (0.2 GB)"
    assert finding(report, "caches", "TORCH_HOME").found == "/none (not there yet)"
    assert finding(report, "caches", "HF_HUB_OFFLINE").mend == "unset HF_HUB_OFFLINE"


def test_a_disk_that_is_nearly_full_is_noted():
    report = diagnose(free_bytes=lambda folder: 2_500_000_000)
    assert finding(report, "disk", str(Path.cwd())).found == "only 2.5 GB free"


def test_free_space_is_told_for_folders_that_are_not_there_yet(tmp_path):
    assert doctor.free_bytes(tmp_path / "a" / "b") > 0


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("print('noise'); answer({'a': 1}); print('more noise')", Answer({"a": 1})),
        ("raise ValueError('bad')", Answer(error="ValueError: bad")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Answer(error="the interpreter crashed (SIGSEGV)")),
        ("raise SystemExit(7)", Answer(error="exit status 7")),
        ("pass", Answer(error="the interpreter gave no answer")),
    ],
)
def test_whatever_an_interpreter_does_is_an_answer(code, answer):
    assert ask(code) == answer


def test_an_interpreter_that_hangs_is_given_up():
    assert ask("import time; time.sleep(60)", timeout_seconds=0.5).error == "no answer within 0.5 s"


def test_the_command_exits_with_1_if_something_is_broken_and_0_otherwise(monkeypatch, capsys):
    for healthy, status in ((True, 0), (False, 1)):
        found = (doctor.Finding("imports", "torch", "ok" if healthy else "broken", "so so", ""),)
        report = doctor.DoctorReport(healthy, found)
        monkeypatch.setattr(doctor, "diagnose", lambda around, progress, report=report: report)
        with pytest.raises(SystemExit) as end:
            command.command.main([])
        assert end.value.code == status
        assert json.loads(capsys.readouterr().out)["healthy"] is healthy


def test_on_a_terminal_the_commands_that_mend_stand_at_the_end_in_one_piece(capsys):
    mend = f"{PIP} " + "x" * 150
    broken = doctor.Finding("imports", "torch", "broken", "[no] markup", mend)
    command.show(doctor.DoctorReport(False, (broken, doctor.Finding("extras", "ray", "note", "none", "pip ray"))))
    out = capsys.readouterr().out
    assert "[no] markup" in out
    assert f"To mend what is broken:\n  {mend}\n" in out
    assert "If you want what is noted:\n  pip ray\n" in out
    assert out.endswith("slmtk cannot work here yet.\n")
