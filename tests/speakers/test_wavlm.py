"""The x-vector encoder with a network of random weights: what goes in and comes out, not how well it tells voices."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector, WavLMModel

from slmtk.errors import AudioError, ConfigError, FormatError, WeightsError
from slmtk.speakers.base import load_named_encoder
from slmtk.speakers.wavlm import CHECKPOINT, REVISION, WavLMEncoder

SMALL = WavLMConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    tdnn_dim=(8, 8, 8, 8, 12),
    tdnn_kernel=(5, 3, 3, 1, 1),
    tdnn_dilation=(1, 2, 3, 1, 1),
    xvector_output_dim=6,
    classifier_proj_size=8,
    num_labels=2,
)


def save(folder: Path, kind: type = WavLMForXVector) -> Path:
    torch.manual_seed(0)
    kind(SMALL).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("speakers") / "xvector")


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> WavLMEncoder:
    return WavLMEncoder.create(model=str(checkpoint))


def noise(samples: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(1)) * 0.1


def test_the_vector_is_the_networks_made_unit_length(encoder: WavLMEncoder, checkpoint: Path):
    wav = noise(16_000)
    vector = encoder.embed(wav)
    network = WavLMForXVector.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        expected = network(((wav - wav.mean()) / (wav.var(unbiased=False) + 1e-7).sqrt())[None]).embeddings[0]
    torch.testing.assert_close(vector, expected / expected.norm(), atol=1e-5, rtol=0)
    assert (encoder.dim, encoder.sample_rate, vector.dtype) == (6, 16_000, torch.float32)


def test_loudness_makes_no_difference_and_what_comes_after_thirty_seconds_neither(encoder: WavLMEncoder):
    wav = noise(31 * 16_000)
    torch.testing.assert_close(encoder.embed(wav[:16_000]), encoder.embed(wav[:16_000] * 0.1), atol=1e-3, rtol=0)
    changed = wav.clone()
    changed[30 * 16_000 :] = 0.5
    assert torch.equal(encoder.embed(wav), encoder.embed(changed))


def test_the_name_tells_the_weights_and_not_where_they_lie(encoder: WavLMEncoder, checkpoint: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / checkpoint.name
    copy.symlink_to(checkpoint)
    assert WavLMEncoder(str(copy)).name == encoder.name
    assert encoder.name.startswith("xvector sha256:")
    torch.manual_seed(1)
    other = tmp_path / "xvector"
    WavLMForXVector(SMALL).save_pretrained(other)
    Wav2Vec2FeatureExtractor().save_pretrained(other)
    assert WavLMEncoder(str(other)).name != encoder.name


@pytest.mark.parametrize(
    ("wav", "kind"),
    [
        (torch.zeros(0), "empty"),
        (torch.zeros(16_000), "empty"),
        (noise(6_000), "too_short"),
        (torch.tensor([0.1, float("inf")]), "nan"),
    ],
)
def test_audio_without_a_voice_is_refused_with_its_kind(encoder: WavLMEncoder, wav: torch.Tensor, kind: str):
    with pytest.raises(AudioError) as caught:
        encoder.embed(wav)
    assert caught.value.kind == kind


def test_the_shortest_audio_that_is_taken_has_a_vector(encoder: WavLMEncoder):
    assert encoder.embed(noise(6_400)).isfinite().all()


def test_a_network_without_an_x_vector_head_is_refused(tmp_path: Path):
    with pytest.raises(FormatError, match=r"is a wavlm model \(WavLMModel\); expected a WavLMForXVector"):
        WavLMEncoder(str(save(tmp_path / "plain", WavLMModel)))


def test_weights_that_are_nowhere_are_one_line(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"nobody/nothing is not here and cannot be fetched.*wavlm:FOLDER"):
        WavLMEncoder("nobody/nothing")


def test_a_name_may_carry_the_encoders_model(monkeypatch: pytest.MonkeyPatch, checkpoint: Path):
    monkeypatch.setattr("slmtk.plugins.load", lambda group, name: {"wavlm": WavLMEncoder}[name])
    assert load_named_encoder(f"wavlm:{checkpoint}").dim == 6


def test_an_encoder_with_its_own_weights_has_no_use_for_a_model():
    with pytest.raises(ConfigError, match="no use for 'some/model'"):
        load_named_encoder("resemblyzer:some/model")


def test_the_published_weights_are_those_of_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / f"models--{CHECKPOINT.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    save(home / "snapshots" / ("0" * 40))
    with pytest.raises(WeightsError, match="is not here and cannot be fetched"):
        WavLMEncoder.create()
    save(home / "snapshots" / REVISION)
    assert WavLMEncoder.create().name == f"{CHECKPOINT} {REVISION[:12]}"
