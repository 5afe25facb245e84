"""BigCodec is the authors': frames, codes and audio of seeded weights, and the activation as its papers define it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from helpers.codec_golden import Golden, assert_codes, codec_folder, encode, fill, margins
from torch.nn import functional as F

from slmtk.codecs.bigcodec import BigCodec
from slmtk.codecs.bigcodec.activation import SmoothSnake, low_pass
from slmtk.codecs.weights import sha256_of
from slmtk.errors import FormatError
from slmtk.testing import check_codec

TIE = 2e-6  # the reference's float32 noise on the unit sphere


@pytest.fixture(scope="module")
def loaded(shared_data, tmp_path_factory):
    folder = codec_folder(shared_data, "bigcodec")
    golden = Golden(folder / "golden.npz")
    path = tmp_path_factory.mktemp("bigcodec") / "bigcodec.pt"
    torch.save({**fill(folder, "state_dict.json", golden.seed), "discriminator": {"weight": torch.zeros(1)}}, path)
    sha256 = sha256_of(path)
    codec = BigCodec.create(checkpoint=path.parent)
    path.unlink()  # 640 MB
    return SimpleNamespace(codec=codec, golden=golden, sha256=sha256)


def script_padded(wav):
    """As the authors' script pads: to the next whole frame, by a whole frame if it is one already."""
    return F.pad(wav, (0, 200 - len(wav) % 200))


@torch.inference_mode()
def test_frames_and_codes_are_the_references(loaded):
    golden, quantizer = loaded.golden, loaded.codec.network.quantizer
    for case in golden.cases:
        codes, frames = encode(loaded.codec, script_padded(golden["wav", case]))
        torch.testing.assert_close(frames, golden["enc", case], atol=2e-4, rtol=0)
        assert_codes(codes, golden, case, TIE)
        points = F.normalize(quantizer.in_proj(frames.T), dim=1)
        gaps = margins(points, F.normalize(quantizer.codebook, dim=1)).float()
        torch.testing.assert_close(gaps, golden["margin", case][0], atol=2e-5, rtol=0)


def test_audio_is_the_references(loaded):
    for case in loaded.golden.cases:
        wav = loaded.codec.decode(loaded.golden["codes", case].long()[None])[0]
        torch.testing.assert_close(wav, loaded.golden["dec", case], atol=3e-5, rtol=0)


def test_the_spec_is_of_these_weights(loaded):
    golden, spec = loaded.golden, loaded.codec.spec
    assert (spec.sample_rate, spec.frame_size) == (golden.sample_rate, golden.frame_size)
    assert spec.weights_sha256 == loaded.sha256


def test_whole_frames_get_no_other_frame(loaded):
    codes = loaded.codec.encode(loaded.golden["wav", 0][None, :4000]).codes
    assert codes.shape == (1, 1, 20)


def test_it_keeps_the_contract(loaded):
    check_codec(loaded.codec, seconds=0.05)


@pytest.mark.parametrize("length", [1, 2, 5, 64])
def test_the_activation_is_snake_between_two_resamplings(length):
    torch.manual_seed(0)
    layer = SmoothSnake(3)
    alpha, beta = torch.randn(2, 3)
    layer.load_state_dict({"alpha": alpha, "beta": beta})
    x = torch.randn(2, 3, length)
    taps = torch.tensor(low_pass()).expand(3, 1, 12)
    doubled = F.conv_transpose1d(F.pad(x, (5, 5), mode="replicate"), taps, stride=2, groups=3)[..., 15:-15] * 2
    doubled = doubled + (doubled * alpha.exp()[:, None]).sin() ** 2 / (beta.exp()[:, None] + 1e-9)
    expected = F.conv1d(F.pad(doubled, (5, 6), mode="replicate"), taps, stride=2, groups=3)
    torch.testing.assert_close(layer(x).detach(), expected, atol=2e-6, rtol=0)


def groups():
    taps = torch.tensor(low_pass()).view(1, 1, 12)
    encoder = {"block.0.bias": torch.zeros(1), "block.1.block.0.block.0.act.alpha": torch.zeros(1)}
    encoder["block.1.block.0.block.0.upsample.filter"] = taps
    return {
        "CodecEnc": encoder,
        "generator": {"model.0.bias": torch.ones(1), "quantizer.layers.0._codebook.weight": taps},
    }


def test_published_training_and_flat_files_are_read_alike(tmp_path):
    names = ["encoder.0.bias", "encoder.1.0.0.alpha", "decoder.0.bias", "quantizer.codebook"]
    published = {**groups(), "discriminator": {"a": torch.zeros(1)}, "step": 3}
    assert list(BigCodec.unpack(published, tmp_path)) == names
    flat = {f"{group}.{name}": tensor for group, inside in groups().items() for name, tensor in inside.items()}
    assert list(BigCodec.unpack(flat, tmp_path)) == names
    training = {f"model.{name}": tensor for name, tensor in flat.items()}
    training |= {"model.discriminator.generator.a": torch.zeros(1), "model.spec_discriminator.a": torch.zeros(1)}
    assert list(BigCodec.unpack({"state_dict": training, "epoch": 3}, tmp_path)) == names


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FormatError, match="holds no tensors of this codec"):
        BigCodec.unpack({"encoder.weight": torch.zeros(1)}, tmp_path)
    changed = groups()
    changed["CodecEnc"]["block.1.block.0.block.0.upsample.filter"] = torch.ones(1, 1, 12) / 12
    with pytest.raises(FormatError, match="is another low-pass filter"):
        BigCodec.unpack(changed, tmp_path)
