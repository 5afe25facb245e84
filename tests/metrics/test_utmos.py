"""UTMOS with random weights in the published format: the arithmetic, not how well it judges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.published_utmos import opinion, random_state
from safetensors.torch import save_file

from slmtk import audio
from slmtk.errors import AudioError, FormatError, ShapeError, WeightsError
from slmtk.metrics.utmos import PUBLISHED, Utmos, find_weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("utmos") / "utmos22_strong_step7459_v1.pt"
    torch.save(random_state(), path)
    return path


@pytest.fixture(scope="module")
def judge(checkpoint: Path) -> Utmos:
    return Utmos(checkpoint)


def noise(samples: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("samples", [1600, 8000, 16_123])
def test_the_opinion_is_that_of_the_published_networks_arithmetic(judge: Utmos, samples: int):
    wav = noise(samples)
    assert judge(wav, 16_000) == pytest.approx(opinion(random_state(), wav), abs=1e-4)


def test_other_speech_and_other_weights_give_other_opinions(judge: Utmos, tmp_path: Path):
    torch.save(random_state(seed=5), tmp_path / "other.pt")
    opinions = [judge(noise(8000), 16_000), judge(noise(8000, seed=2), 16_000)]
    opinions.append(Utmos(tmp_path / "other.pt")(noise(8000), 16_000))
    assert len({round(value, 4) for value in opinions}) == 3


def test_another_rate_is_resampled(judge: Utmos):
    wav = noise(24_000)
    expected = judge(audio.resample(wav, 24_000, 16_000), 16_000)
    assert judge(wav, 24_000) == pytest.approx(expected, abs=1e-6)


def test_the_name_tells_weights_apart_and_not_where_they_lie(judge: Utmos, tmp_path: Path, checkpoint: Path):
    (tmp_path / "mos").mkdir()
    copy = tmp_path / "mos" / checkpoint.name
    copy.write_bytes(checkpoint.read_bytes())
    assert Utmos(tmp_path).name == judge.name  # the folder is laid out as the repository is
    torch.save(random_state(seed=5), copy)
    assert Utmos(copy).name != judge.name
    assert judge.name.startswith("utmos22-strong ")


def test_weights_that_are_not_here_name_the_command_that_fetches_them():
    with pytest.raises(WeightsError, match=r"hf download k2-fsa/TTS_eval_models .*, or name a copy as utmos:FILE"):
        find_weights()
    assert len(PUBLISHED.revision) == 40
    with pytest.raises(WeightsError, match=r"nowhere\.pt is not there"):
        Utmos(Path("nowhere.pt"))


def test_other_files_are_refused(tmp_path: Path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(FormatError, match="no UTMOS22 strong learner"):
        Utmos(tmp_path / "other.safetensors")
    state = random_state()
    del state["blstm.bias_hh_l0_reverse"]
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(FormatError, match=r"1 missing \(first: blstm.bias_hh_l0_reverse\)"):
        Utmos(tmp_path / "part.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(FormatError):
        Utmos(tmp_path / "text.pt")


def test_what_cannot_be_judged_is_told(judge: Utmos):
    with pytest.raises(AudioError, match="less than") as caught:
        judge(noise(1599), 16_000)
    assert caught.value.kind == "too_short"
    with pytest.raises(AudioError) as caught:
        judge(torch.full((16_000,), torch.nan), 16_000)
    assert caught.value.kind == "nan"
    with pytest.raises(ShapeError, match=r"\[1, 16000\]"):
        judge(torch.zeros(1, 16_000), 16_000)
