"""--min-dnsmos: dropped by what the corpus states, measured where it states nothing, counted apart from failures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from slmtk import shards
from slmtk.cli.tokenize import command
from slmtk.errors import ConfigError, CorpusError, MissingDependencyError
from slmtk.metrics import naturalness
from slmtk.metrics.naturalness import Naturalness
from slmtk.progress import SilentProgress
from slmtk.stages.tokenize import TokenizeConfig, tokenize

TONE = "tests.helpers.tone:ToneCodec"


class Notebook(SilentProgress):
    """Keeps the messages."""

    def __init__(self):
        self.lines: list[str] = []

    def message(self, text):
        self.lines.append(text)


def run(source, out, least, progress=None, **options):
    options = {"codec": TONE, "device": "cpu", "workers": 1, **options}
    return tokenize(source, out, TokenizeConfig(**options, min_dnsmos=least), progress or SilentProgress())


def rows(out):
    return {row.id: row.extra for row in shards.open_codes(out).rows()}


@pytest.fixture
def stated(tmp_path):
    """Four recordings; the manifest states the DNSMOS of all."""
    (tmp_path / "in").mkdir()
    lines = ["path\tdnsmos"]
    for name, score in (("a", 3.5), ("b", 3.49), ("c", 4), ("d", 1)):
        soundfile.write(tmp_path / f"in/{name}.wav", np.full(3200, 0.1), 16_000)
        lines.append(f"{name}.wav\t{score}")
    (tmp_path / "in/manifest.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "in"


@pytest.fixture
def unmeasurable(monkeypatch):
    def fail():
        raise MissingDependencyError("DNSMOS needs the package 'speechmos'")

    monkeypatch.setattr(naturalness, "load", fail)


def test_what_the_corpus_states_is_enough_and_needs_no_package(stated, tmp_path, unmeasurable):
    notes = Notebook()
    report = run(stated, tmp_path / "out", 3.5, notes)
    assert rows(tmp_path / "out") == {"a": {"dnsmos": 3.5}, "c": {"dnsmos": 4.0}}
    assert (report.encoded, report.filtered, report.failed, report.utterances) == (2, 2, 0, 2)
    assert "2 of 4 utterances have a dnsmos below 3.5; they are left out" in notes.lines
    assert shards.open_codes(tmp_path / "out").index["config"]["min_dnsmos"] == 3.5
    with pytest.raises(CorpusError, match=r"--min-dnsmos 4.5 leaves none of 4 utterances; the best has 4.00"):
        run(stated, tmp_path / "none", 4.5)


def test_another_limit_is_another_run(stated, tmp_path):
    run(stated, tmp_path / "out", 3.5)
    with pytest.raises(ConfigError, match=r"min_dnsmos was 3.5, is 3.495"):
        run(stated, tmp_path / "out", 3.495)  # though it keeps the same ones
    assert run(stated, tmp_path / "out", 3.5).parts_reused == 1


def test_without_the_package_it_is_refused_before_anything_is_written(tmp_path, unmeasurable):
    soundfile.write(tmp_path / "a.wav", np.zeros(3200), 16_000)
    with pytest.raises(MissingDependencyError, match="speechmos"):
        run(tmp_path / "a.wav", tmp_path / "out", 3.0)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def scored(stated, monkeypatch):
    """Recording "a" states 3.5; the others are measured: b 3.2, c 2.9, d as b. Encoded in this process."""
    from slmtk.stages.tokenize import work as tokenize_work

    levels = {0.2: 3.2, 0.3: 2.9}
    for name, level in (("b", 0.2), ("c", 0.3), ("d", 0.2)):
        soundfile.write(stated / f"{name}.wav", np.full(3200, level), 16_000)
    (stated / "manifest.tsv").write_text("path\tdnsmos\na.wav\t3.5\nb.wav\t\nc.wav\t\nd.wav\t\n")

    def dnsmos(wav, sample_rate):
        assert sample_rate == 16_000
        return Naturalness(levels[round(float(wav.max()), 1)], 0, 0, 0)

    def here(tasks, make, workers):
        encoder = make()
        yield from ((chunk, encoder(chunk.utterances)) for chunk in tasks)

    monkeypatch.setattr(naturalness, "load", lambda: None)
    monkeypatch.setattr(naturalness, "dnsmos", dnsmos)
    monkeypatch.setattr(tokenize_work, "_in_processes", here)
    return stated


def test_what_states_nothing_is_measured_kept_in_a_column_and_counted_apart(scored, tmp_path):
    (scored / "a.wav").write_bytes(b"no sound")
    notes = Notebook()
    report = run(scored, tmp_path / "out", 3.0, notes)
    assert rows(tmp_path / "out") == {"b": {"dnsmos": 3.2}, "d": {"dnsmos": 3.2}}
    assert (report.encoded, report.filtered, report.failed, report.failures) == (2, 1, 1, {"unreadable": 1})
    assert "3 utterances state no dnsmos; it is measured as they are encoded" in notes.lines
    assert not [line for line in notes.lines if line.startswith("failed: c")]
    lines = [json.loads(line) for line in (tmp_path / "out/errors.jsonl").read_text().splitlines()]
    assert [(line["id"], line["kind"]) for line in lines] == [("a", "unreadable"), ("c", "dnsmos")]
    assert lines[1]["message"] == "its DNSMOS of 2.90 is below 3"
    assert shards.open_codes(tmp_path / "out").index["failures"] == 1
    again = run(scored, tmp_path / "out", 3.0)
    assert (again.parts_reused, again.filtered, again.failed) == (1, 1, 1)


def test_the_command_exits_0_if_recordings_were_only_left_out(scored, tmp_path):
    arguments = [str(scored), str(tmp_path / "out"), "--codec", TONE, "--device", "cpu", "--min-dnsmos", "3", "--json"]
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, json.loads(result.stdout)["filtered"]) == (0, 1)


@pytest.mark.data
def test_real_noise_is_left_out_in_worker_processes(shared_data, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("speechmos")
    (tmp_path / "in").mkdir()
    path = sorted((shared_data / "read_speech" / "367").rglob("*.flac"))[0]
    wav, rate = soundfile.read(path)
    noisy = wav + np.random.default_rng(0).normal(0, wav.std(), len(wav))
    soundfile.write(tmp_path / "in/clean.wav", wav, rate)
    soundfile.write(tmp_path / "in/noisy.wav", noisy / np.abs(noisy).max(), rate)
    report = run(tmp_path / "in", tmp_path / "out", 2.5, workers=2)
    assert (report.encoded, report.filtered, report.failed) == (1, 1, 0)
    ((name, extra),) = rows(tmp_path / "out").items()
    assert name == "clean"
    assert 2.5 <= extra["dnsmos"] <= 4.5
