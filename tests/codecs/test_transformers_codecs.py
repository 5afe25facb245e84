"""transformers' codecs behind slmtk's interface, on small seeded checkpoints in the published format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from slmtk import plugins
from slmtk.codecs.base import codec_class
from slmtk.codecs.hf.base import TransformersCodec
from slmtk.errors import ConfigError, FormatError, WeightsError
from slmtk.spec import Stream
from slmtk.testing import check_codec
from tests.helpers.tiny_codecs import write_checkpoint

ARCHITECTURES = {
    "encodec": "Encodec",
    "dac-16khz": "Dac",
    "mimi": "Mimi",
    "xcodec": "Xcodec",
    "higgs": "HiggsAudioV2Tokenizer",
    "xcodec2": "Xcodec2",
    "neucodec": "NeuCodec",
}
RESIDUAL = ["encodec", "dac-16khz", "mimi", "xcodec", "higgs"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: write_checkpoint(root / name, kind) for name, kind in ARCHITECTURES.items()}


@pytest.fixture(scope="module")
def codecs(checkpoints) -> dict[str, TransformersCodec]:
    return {name: codec_class(name).create(checkpoint=folder) for name, folder in checkpoints.items()}


def audio_of(codec, frames: int, rows: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(rows, frames * codec.spec.frame_size, generator=generator).clamp(-3, 3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_contract_is_kept(codecs, name):
    check_codec(codecs[name], seconds=0.4)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_frames_and_samples_fit_to_the_last(codecs, name, frames):
    codec = codecs[name]
    codes = codec.encode(audio_of(codec, frames)).codes
    assert codes.shape == (1, codec.spec.num_codebooks, frames)
    assert codec.decode(codes).shape == (1, frames * codec.spec.frame_size)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_is_kept_between_calls(codecs, name):
    codec = codecs[name]
    first, other = audio_of(codec, 4), audio_of(codec, 5, seed=1)
    codes, wav = codec.encode(first).codes, codec.decode(codec.encode(first).codes)
    codec.decode(codec.encode(other).codes)
    assert codes.unique().numel() > 1
    assert torch.equal(codec.encode(first).codes, codes)
    assert torch.equal(codec.decode(codes), wav)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_codes_are_those_of_transformers_own_pipeline(codecs, checkpoints, name):
    codec = codecs[name]
    wav = audio_of(codec, 6)
    model = getattr(transformers, f"{ARCHITECTURES[name]}Model").from_pretrained(checkpoints[name]).eval()
    with torch.inference_mode():
        if name in ("xcodec2", "neucodec"):
            extract = getattr(transformers, f"{ARCHITECTURES[name]}FeatureExtractor")()
            heard = wav if name == "xcodec2" else codec_input(wav)
            inputs = extract(audio=heard[0].numpy(), sampling_rate=16_000, return_tensors="pt")
            codes = model(**inputs).audio_codes[:, :, :6]
            decoded = model.decode(codes).audio_values[:, 0]
        else:
            wide = {"bandwidth": model.config.target_bandwidths[-1]} if name in ("encodec", "xcodec", "higgs") else {}
            codes = model.encode(wav[:, None], **wide).audio_codes
            codes = codes[0] if name == "encodec" else codes
            scales = {"audio_scales": [None]} if name == "encodec" else {}
            decoded = model.decode(audio_codes=codes[None] if scales else codes, **scales).audio_values
    assert torch.equal(codec.encode(wav).codes, codes)
    samples = decoded.reshape(1, -1)
    ours = codec.decode(codes)
    assert torch.equal(ours[:, : samples.shape[1]], samples[:, : ours.shape[1]].clamp(-1, 1))
    assert not ours[:, samples.shape[1] :].any()


def codec_input(wav: torch.Tensor) -> torch.Tensor:
    """What NeuCodec's encoder hears of audio at 24 kHz."""
    from torchaudio.functional import resample

    return resample(wav, 24_000, 16_000)


@pytest.mark.parametrize("name", RESIDUAL)
def test_fewer_codebooks_are_the_first_of_all(codecs, checkpoints, name):
    whole = codecs[name]
    fewer = codec_class(name).create(checkpoint=checkpoints[name], num_codebooks=2)
    assert fewer.spec.streams == whole.spec.streams[:2]
    wav = audio_of(whole, 5)
    codes = fewer.encode(wav).codes
    assert torch.equal(codes, whole.encode(wav).codes[:, :2])
    assert not torch.equal(fewer.decode(codes), whole.decode(whole.encode(wav).codes))
    for count in (0, 5):
        with pytest.raises(ConfigError, match=f"has 1 to 4 codebooks, not {count}"):
            codec_class(name).create(checkpoint=checkpoints[name], num_codebooks=count)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("encodec", "EncodecConfig"),
        ("mimi", "MimiConfig"),
        ("xcodec", "XcodecConfig"),
        ("xcodec2", "Xcodec2Config"),
        ("neucodec", "NeuCodecConfig"),
    ],
)
def test_a_card_says_what_the_published_configuration_says(name, config):
    """These configurations' defaults are the published checkpoint's."""
    kind = codec_class(name)
    spec = kind.card.spec
    assert kind.describe(getattr(transformers, config)()) == (spec.sample_rate, spec.frame_size, spec.streams)


def test_cards_whose_configuration_is_not_the_default():
    dac = {"downsampling_ratios": [2, 4, 5, 8]}
    higgs = {"acoustic_model_config": {"model_type": "dac", "downsampling_ratios": [8, 5, 4, 2, 3]}}
    for name, config in (
        ("dac-16khz", transformers.DacConfig(sampling_rate=16_000, n_codebooks=12, **dac)),
        ("dac-24khz", transformers.DacConfig(sampling_rate=24_000, n_codebooks=32, **dac)),
        ("dac-44khz", transformers.DacConfig(sampling_rate=44_100)),
        ("higgs", transformers.HiggsAudioV2TokenizerConfig(target_bandwidths=[0.5, 1, 1.5, 2], **higgs)),
    ):
        kind = codec_class(name)
        assert kind.describe(config) == (kind.card.spec.sample_rate, kind.card.spec.frame_size, kind.card.spec.streams)


def test_a_card_stands_under_its_plug_ins_name():
    kinds = {name: codec_class(name) for name in plugins.available("slmtk.codecs")}
    ours = {name: kind for name, kind in kinds.items() if issubclass(kind, TransformersCodec)}
    assert len(ours) == 9
    assert {name: kind.card.spec.name for name, kind in ours.items()} == {name: name for name in ours}


def test_mimis_first_codebook_is_the_semantic_one(codecs):
    assert codecs["mimi"].spec.streams[:2] == (Stream("semantic1", 64, "semantic"), Stream("acoustic1", 64, "acoustic"))


def test_a_checkpoint_is_described_as_it_is_and_not_as_the_card_says(tmp_path):
    folder = write_checkpoint(tmp_path, "Dac", sampling_rate=24_000)
    spec = codec_class("dac-16khz").create(checkpoint=folder).spec
    assert (spec.sample_rate, spec.frame_size, spec.codebook_sizes) == (24_000, 320, (64,) * 4)
    assert len(spec.weights_sha256) == 64


def test_missing_weights_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"holds no config\.json; expected the files of kyutai/mimi"):
        codec_class("mimi").create(checkpoint=tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"kyutai/mimi/config\.json is not in the cache") as caught:
        codec_class("mimi").create()
    assert "\n" not in str(caught.value)


def test_another_networks_checkpoint_is_refused(checkpoints):
    with pytest.raises(FormatError, match="describes a model of type 'dac'; expected 'mimi'"):
        codec_class("mimi").create(checkpoint=checkpoints["dac-16khz"])


def damaged(checkpoints, folder: Path, change) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["dac-16khz"], folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_missing_and_misshapen_tensors_are_refused(checkpoints, tmp_path):
    """transformers would fill them in with random numbers."""
    kind = codec_class("dac-16khz")
    key = "quantizer.quantizers.0.codebook.weight"
    with pytest.raises(FormatError, match=rf"1 tensors missing \(first: {key}\)"):
        kind.create(checkpoint=damaged(checkpoints, tmp_path / "a", lambda tensors: tensors.pop(key)))
    shorter = damaged(checkpoints, tmp_path / "b", lambda tensors: tensors.update({key: tensors[key][:32].clone()}))
    with pytest.raises(FormatError, match=rf"{key} is \[32, 8\]; config\.json expects \[64, 8\]"):
        kind.create(checkpoint=shorter)


def test_damaged_files_are_refused_in_one_line(checkpoints, tmp_path):
    shutil.copytree(checkpoints["dac-16khz"], tmp_path / "a")
    (tmp_path / "a/model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="cannot be read as DacModel") as caught:
        codec_class("dac-16khz").create(checkpoint=tmp_path / "a")
    assert "\n" not in str(caught.value)
    for text in ("{", json.dumps({"model_type": "dac", "n_codebooks": "many"})):
        (tmp_path / "a/config.json").write_text(text)
        with pytest.raises(FormatError, match=r"config\.json cannot be used") as caught:
            codec_class("dac-16khz").create(checkpoint=tmp_path / "a")
        assert "\n" not in str(caught.value)


def test_encodecs_chunked_stereo_model_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path, "Encodec", normalize=True, audio_channels=2)
    with pytest.raises(FormatError, match="audio_channels = 2; only 1 is supported"):
        codec_class("encodec").create(checkpoint=folder)
