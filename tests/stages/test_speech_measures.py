"""Measures by name: what is asked for is measured, everything else is refused or counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers.published_utmos import opinion, random_state
from helpers.sung import RATE, melody, sing
from torch import Tensor

from slmtk import audio
from slmtk.errors import AudioError, ConfigError, MissingDependencyError, PluginError, WeightsError
from slmtk.metrics import naturalness
from slmtk.metrics.naturalness import Naturalness
from slmtk.stages import speech_measures
from slmtk.stages.scoring import Pair
from slmtk.stages.speech_measures import MEASURES, SpeechMeasures
from slmtk.stages.speech_sources import Spoken

TONE = "helpers.tone:VoicedToneCodec"
VOICE = sing(melody(1.5))


def measures(*names: str, encoders: tuple[str, ...] = (), originals: bool = True, **more) -> SpeechMeasures:
    return SpeechMeasures(names, encoders=encoders, device="cpu", originals=originals, **more)


def pair(recording: Tensor | None = VOICE, reference: Path | None = None) -> Pair:
    read = None if recording is None else lambda rate: audio.resample(recording, RATE, rate)
    return Pair(Spoken("a", "hello", None, read), Spoken("a", None, None, None, reference=reference), "")


@pytest.fixture
def packages():
    for package in ("pyworld", "pesq", "pystoi"):
        pytest.importorskip(package)


def test_a_recording_against_itself_is_perfect_in_everything(packages):
    found = measures("f0", "mcd", "pesq", "stoi").compare(pair(), VOICE, RATE)
    assert found == {
        "mcd-24 dB": 0.0,
        "f0 rmse Hz": 0.0,
        "f0 rmse cents": 0.0,
        "f0 correlation": pytest.approx(1.0),
        "voicing error": 0.0,
        "pesq-wb": pytest.approx(4.644, abs=2e-3),
        "stoi": pytest.approx(1.0, abs=1e-6),
        "estoi": pytest.approx(1.0, abs=1e-6),
    }


def test_only_what_is_asked_for_is_measured(packages):
    assert list(measures("mcd").compare(pair(), VOICE, RATE)) == ["mcd-24 dB"]
    assert list(measures("stoi").compare(pair(), VOICE, RATE)) == ["stoi", "estoi"]
    assert measures().compare(pair(), VOICE, RATE) == {}


def test_speech_at_another_rate_is_brought_to_the_recordings(packages):
    found = measures("mcd", "stoi").compare(pair(), audio.resample(VOICE, RATE, 24_000), 24_000)
    # The recording is read at 16 kHz; what resampling takes away lies above 7 kHz.
    assert found["mcd-24 dB"] < 1.5
    assert found["stoi"] > 0.99


def test_the_recording_of_a_sentence_is_read_once(packages):
    reads = []

    def read(rate: int) -> Tensor:
        reads.append(rate)
        return VOICE

    meant = Spoken("a", "hello", None, read)
    judge = measures("sim-o", "f0", "mcd", "pesq", "stoi", encoders=("resemblyzer",))
    found = judge.compare(Pair(meant, Spoken("a", None, None, None), ""), VOICE, RATE)
    assert len(found) == 9
    assert reads == [RATE]


def test_similarity_is_measured_by_every_encoder_and_codec(tmp_path: Path):
    audio.write(tmp_path / "clip.wav", VOICE, RATE)
    judge = measures("sim-o", f"sim-r:{TONE}", f"timbre:{TONE}", encoders=("resemblyzer",), originals=False)
    found = judge.compare(pair(reference=tmp_path / "clip.wav"), VOICE, RATE)
    names = [name.split()[0] for name in found]
    assert names == ["sim-o", "sim-r", "timbre"]
    same, back, timbre = found.values()
    assert same == pytest.approx(1.0, abs=1e-3)
    assert back < 0.95
    assert timbre == pytest.approx(1.0)


def test_a_codec_given_once_serves_what_names_none():
    judge = measures("timbre", "sim-r", encoders=("resemblyzer",), codec=TONE)
    names = list(judge.compare(pair(), VOICE, RATE))
    assert names[0].endswith("to original through voiced-tone")
    assert names[1] == "timbre voiced-tone to original"


def test_naturalness_needs_no_recording(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(naturalness, "load", lambda: None)
    monkeypatch.setattr(naturalness, "dnsmos", lambda wav, rate: Naturalness(3.1, 3.2, 3.3, 3.4))
    torch.save(random_state(), tmp_path / "weights.pt")
    found = measures("dnsmos", f"utmos:{tmp_path / 'weights.pt'}", originals=False).compare(pair(None), VOICE, RATE)
    utmos = next(name for name in found if name.startswith("utmos22-strong "))
    assert found.pop(utmos) == pytest.approx(opinion(random_state(), VOICE), abs=1e-4)
    assert found == {"dnsmos ovrl": 3.1, "dnsmos sig": 3.2, "dnsmos bak": 3.3, "dnsmos p808": 3.4}


def test_what_cannot_be_judged_is_left_out_and_counted_by_its_reason(packages, tmp_path: Path):
    def unreadable(rate: int) -> Tensor:
        raise AudioError("broken")

    torch.save(random_state(), tmp_path / "weights.pt")
    judge = measures("f0", "pesq", "stoi", f"utmos:{tmp_path / 'weights.pt'}")
    broken = Pair(Spoken("a", "hello", None, unreadable), None, "")
    noise, other = 0.1 * torch.randn(2, len(VOICE), generator=torch.Generator().manual_seed(0))
    judge.compare(pair(None), VOICE, RATE)
    judge.compare(broken, VOICE, RATE)
    judge.compare(pair(), VOICE[: RATE // 2], RATE)
    judge.compare(pair(), torch.zeros(9), RATE)
    judge.compare(pair(noise), other, RATE)
    assert judge.left_out == {
        **{f"{name}: no recording of the sentence": 1 for name in ("f0", "pesq", "stoi")},
        **{f"{name}: recording unreadable": 1 for name in ("f0", "pesq", "stoi")},
        **{f"{name}: other_length": 1 for name in ("pesq", "stoi")},
        **{f"{name}: empty": 1 for name in ("f0", "pesq", "stoi")},
        "f0: unvoiced": 1,
        "utmos: too_short": 1,
    }


def test_without_other_recordings_there_is_nothing_to_compare_signals_with(packages):
    judge = measures("mcd", originals=False)
    assert judge.compare(pair(), VOICE, RATE) == {}
    assert judge.left_out == {"mcd: no recording of the sentence": 1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("sim",), "no measure 'sim'; expected one of sim-o, sim-r, "),
        (("pesq:nb",), "'pesq' takes nothing after a colon"),
        (("timbre",), "'timbre' needs a codec; name it as timbre:CODEC"),
        (("sim-o",), "'sim-o' needs a speaker encoder"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(names, message):
    with pytest.raises(ConfigError, match=message):
        measures(*names)


@pytest.mark.parametrize(
    ("name", "package"), [("f0", "pyworld"), ("pesq", "pesq"), ("stoi", "pystoi"), ("dnsmos", "onnxruntime")]
)
def test_a_missing_package_is_told_before_anything_is_measured(monkeypatch, name, package):
    naturalness.load.cache_clear()
    speech_measures.check_packages.__globals__["frames"].pyworld.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"{package}.*pip install"):
        measures(name)


def test_missing_weights_and_codecs_are_told():
    with pytest.raises(WeightsError, match="utmos:FILE"):
        measures("utmos")
    with pytest.raises(PluginError):
        measures("timbre:no-such-codec").compare(pair(), VOICE, RATE)


def test_every_measure_has_a_line_of_help():
    assert list(MEASURES) == ["sim-o", "sim-r", "timbre", "dnsmos", "utmos", "f0", "mcd", "pesq", "stoi"]
    assert all(line and "\n" not in line for line in MEASURES.values())


def test_every_measure_and_metric_is_in_the_documentation(packages):
    page = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    metrics = measures("f0", "mcd", "pesq", "stoi").compare(pair(), VOICE, RATE)
    missing = [name for name in MEASURES if f"`{name}`" not in page and f"`{name}:" not in page]
    assert missing + [metric for metric in metrics if f"`{metric}`" not in page] == []
