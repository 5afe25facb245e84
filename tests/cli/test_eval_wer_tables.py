"""What eval-wer shows on a terminal: every number of a score that people compare, within 80 columns."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from helpers.known_speech import LevelRecognizer, LoudMeasures, score, write_corpus
from rich.console import Console

from slmtk.cli import eval_wer as command_module
from slmtk.cli._eval_wer_tables import print_scores
from slmtk.cli.eval_wer import command
from slmtk.errors import ConfigError
from slmtk.metrics.normalize import NORMALIZERS
from slmtk.metrics.protocols import PROTOCOLS
from slmtk.stages import eval_wer as stage
from slmtk.stages.speech_measures import MEASURES


@pytest.fixture(autouse=True)
def known_engines(monkeypatch):
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: LevelRecognizer())
    monkeypatch.setattr(stage, "SpeechMeasures", LoudMeasures)


def corpus(root, heard: str):
    return write_corpus(root, {name: ("go on", int(n)) for name, n in zip("abcd", heard, strict=False)})


def screen(report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_scores(report, console)
    return console.file.getvalue()


def cells(text: str, start: str) -> list[str]:
    """Columns of the last line that begins with ``start``."""
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(start)]
    return rows[-1]


def test_rates_of_the_system_and_its_ceilings_stand_under_each_other(tmp_path):
    ref = corpus(tmp_path / "ref", "1111")
    hyp = corpus(tmp_path / "hyp", "0111")
    text = screen(score(ref, hyp, tmp_path, ceilings=(("recordings", str(ref)),)))
    # One insertion of 8 words; " home" is 5 of 20 characters.
    assert cells(text, "...")[-4:] == ["12.5", "25.0", "0/0/1", "100.0"]
    assert cells(text, "recordings") == ["recordings", "0.0", "0.0", "..", "0.0", "0.0", "0.0", "0/0/0", "100.0"]
    assert "a: 50 % (0 sub, 0 del, 1 ins of 2)" in text


def test_the_rate_that_the_protocol_means_leads(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("stay", 1), "b": ("go on home", 0)})
    corpus_first = screen(score(ref, None, tmp_path, similarity=False))
    mean_first = screen(score(ref, None, tmp_path, similarity=False, protocol="seed-tts"))
    assert cells(corpus_first, "...")[1] == cells(mean_first, "...")[5] == "50.0"  # 2 errors of 4 words
    assert cells(corpus_first, "...")[5] == cells(mean_first, "...")[1] == "100.0"  # 2 of 1, and 0 of 3
    assert "mean WER %" in mean_first
    assert f"protocol seed-tts ({PROTOCOLS['seed-tts'].digest})" in mean_first.replace("\n", " ")


def test_everything_fits_80_columns(tmp_path):
    ref = corpus(tmp_path / "ref", "1111")
    runs = [corpus(tmp_path / "first", "1001"), corpus(tmp_path / "second", "0113")]
    score(ref, runs[:1], tmp_path / "other")
    report = score(
        ref,
        runs,
        tmp_path,
        against=tmp_path / "other/scores",
        ceilings=(("recordings", str(ref)),),
        group_by=("length",),
    )
    text = screen(report)
    assert max(len(line.rstrip()) for line in text.splitlines() if "/" not in line) <= 80
    for title in ("By length", "Runs", "Measures", "Difference from", "4 utterances, 16 words, 2 runs"):
        assert title in text
    assert cells(text, "deviation")[1] == "8.8"  # 25 % and 37.5 %


def test_failures_and_marks_are_said_in_words(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("go on", 3), "b": ("stay", 1)})
    (ref / "b.wav").write_bytes(b"")
    text = screen(score(ref, None, tmp_path, similarity=False))
    assert "failed: audio_unreadable 1" in text or "failed: audio_empty 1" in text
    assert "too long: 1 (a)" in text


def test_the_choices_of_the_command_are_all_that_there_are():
    assert tuple(command_module._PROTOCOLS) == tuple(PROTOCOLS)
    assert tuple(command_module.NORMALIZERS) == tuple(NORMALIZERS)
    (option,) = [option for option in command.params if option.name == "measures"]
    assert all(name in str(option.help) for name in MEASURES)


def test_options_reach_the_score(tmp_path, monkeypatch):
    seen = {}

    def fake(reference, hypothesis, out, config, progress):
        seen.update(reference=reference, hypothesis=hypothesis, out=out, config=config)
        raise ConfigError("seen")

    monkeypatch.setattr(stage, "eval_wer", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = "ref one two --protocol f5 --ceiling recordings=ref --ceiling codec=codes --group-by speaker --measure mcd "
    asked += "--group-by length --speaker-encoder wavlm:x --worst 3"
    CliRunner().invoke(command, asked.split())
    config = seen["config"]
    assert (seen["hypothesis"], str(seen["out"])) == (("one", "two"), "scores/one")
    assert (config.protocol, config.worst, config.measures) == ("f5", 3, ("mcd",))
    assert config.ceilings == (("recordings", "ref"), ("codec", "codes"))
    assert (config.group_by, config.speaker_encoders) == (("speaker", "length"), ("wavlm:x",))
    assert config.cache == tmp_path / "slmtk" / "transcripts"
    CliRunner().invoke(command, ["ref", "--no-cache"])
    assert seen["config"].cache is None


@pytest.mark.parametrize("wrong", [["--ceiling", "ref"], ["--cache", "x", "--no-cache"], ["--protocol", "x"]])
def test_options_that_cannot_be_meant_are_wrong_usage(wrong):
    assert CliRunner().invoke(command, ["ref", *wrong]).exit_code == 2
