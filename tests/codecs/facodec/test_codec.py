"""FACodec as a plug-in: the contract, lengths, threads and checkpoints; on the reference's synthetic weights."""

import pytest
import torch
from safetensors.torch import save_file

from slmtk.codecs.facodec import Facodec6V2, FacodecRedecoder, FacodecV1, FacodecV2, stack
from slmtk.codecs.facodec.model import analyse
from slmtk.errors import FormatError, WeightsError
from slmtk.testing import check_codec


def speech(goldens, frames, version="v2"):
    return goldens[version]["w0.wav"][None, : frames * 200]


@pytest.mark.parametrize("name", ["v1", "v2", "redecoder"])
def test_keeps_the_contract(name, codecs):
    check_codec(codecs[name], seconds=0.1)


def test_six_streams_begin_with_the_three_and_keep_the_contract(checkpoint, codecs, goldens):
    full = Facodec6V2.create(checkpoint=checkpoint)
    check_codec(full, seconds=0.1)
    wav = speech(goldens, 20)
    ours, theirs = full.encode(wav), codecs["v2"].encode(wav)
    assert torch.equal(ours.codes[:, :3], theirs.codes)
    assert torch.equal(ours.speaker, theirs.speaker)
    assert full.spec.weights_sha256 == codecs["v2"].spec.weights_sha256 != codecs["v1"].spec.weights_sha256


def test_order_is_content_content_prosody(codecs, goldens):
    """The reference's rows begin with prosody; frames far from the end do not feel that the audio is cut there."""
    codes = codecs["v1"].encode(speech(goldens, 120)).codes
    assert torch.equal(codes[0, :, :80], goldens["v1"]["w0.codes"].long()[[1, 2, 0], :80])


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("name", ["v1", "v2"])
def test_audio_too_short_to_be_mirrored_is_coded(name, frames, codecs, goldens):
    encoded = codecs[name].encode(speech(goldens, frames))
    assert encoded.codes.shape == (1, 3, frames)
    assert codecs[name].decode(encoded.codes, encoded.speaker).shape == (1, frames * 200)


@pytest.mark.parametrize("remainder", [0, 1, 151, 152, 199])
def test_lengths_that_are_no_whole_frames(remainder, codecs, goldens):
    codec, wav = codecs["v2"], goldens["v2"]["w0.wav"][: 2000 + remainder]
    with torch.inference_mode():
        assert analyse(codec.encoder, codec.decoder, wav).codes.shape == (6, 10 + (remainder >= 152))


def test_segments_and_threads_do_not_show(codecs, goldens, monkeypatch):
    codec, wav = codecs["v2"], speech(goldens, 119)
    whole = codec.encode(wav)
    audio = codec.decode(whole.codes, whole.speaker)
    monkeypatch.setattr(stack, "_SEGMENT", 25)
    parts = codec.encode(wav)
    assert torch.equal(parts.codes, whole.codes)
    torch.testing.assert_close(parts.speaker, whole.speaker, rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.decode(whole.codes, whole.speaker), audio, rtol=0, atol=1e-5)
    monkeypatch.undo()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = codec.encode(wav)
        assert torch.equal(several.codes, whole.codes)
        torch.testing.assert_close(codec.decode(whole.codes, whole.speaker), audio, rtol=0, atol=1e-5)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_heads_that_only_training_needs_are_not_kept(codecs):
    values = sum(value.numel() for value in codecs["v2"].decoder.state_dict().values())
    # 108,041,420 in the file; 73.5 million in the heads, 2 x 1.28 million in position tables.
    assert values < 33_000_000
    assert not hasattr(codecs["redecoder"].decoder, "model")


def test_converted_to_safetensors(checkpoint, codecs, goldens, tmp_path):
    for file in FacodecV1.card.published.files:
        state = torch.load(checkpoint / file, weights_only=True)
        save_file(state, (tmp_path / file).with_suffix(".safetensors"))
    codec = FacodecV1.create(checkpoint=tmp_path)
    assert torch.equal(codec.encode(speech(goldens, 5)).codes, codecs["v1"].encode(speech(goldens, 5)).codes)


def test_wrong_checkpoints_are_one_clear_line(checkpoint, tmp_path):
    with pytest.raises(FormatError, match=r"is one file; facodec needs a folder with ns3_facodec_encoder_v2\.bin and"):
        FacodecV2.create(checkpoint=checkpoint / "ns3_facodec_encoder_v2.bin")
    with pytest.raises(WeightsError, match=r"holds no ns3_facodec_encoder\.bin"):
        FacodecRedecoder.create(checkpoint=tmp_path)
    (tmp_path / "ns3_facodec_encoder_v2.bin").symlink_to(checkpoint / "ns3_facodec_encoder.bin")
    (tmp_path / "ns3_facodec_decoder_v2.bin").symlink_to(checkpoint / "ns3_facodec_decoder.bin")
    with pytest.raises(FormatError, match=r"2 missing \(first: mel_transform\.hann_window\)"):
        FacodecV2.create(checkpoint=tmp_path)
