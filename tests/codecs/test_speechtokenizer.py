"""SpeechTokenizer is the authors': frames, codes and audio of seeded weights, in both published variants."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from helpers.codec_golden import Golden, assert_codes, codec_folder, encode, fill, margins

from slmtk.codecs.speechtokenizer import SpeechTokenizer, SpeechTokenizerSnake
from slmtk.codecs.weights import sha256_of
from slmtk.errors import ConfigError, FormatError
from slmtk.testing import check_codec

VARIANTS = {"elu": (SpeechTokenizer, ""), "snake": (SpeechTokenizerSnake, "_snake")}


@pytest.fixture(scope="module", params=VARIANTS)
def loaded(request, shared_data, tmp_path_factory):
    kind, suffix = VARIANTS[request.param]
    folder = codec_folder(shared_data, "speechtokenizer")
    golden = Golden(folder / f"golden{suffix}.npz")
    local = tmp_path_factory.mktemp(kind.card.spec.name)
    path = local / kind.card.published.files[0]
    path.parent.mkdir()
    torch.save(fill(folder, f"state_dict{suffix}.json", golden.seed), path)
    yield SimpleNamespace(codec=kind.create(checkpoint=local), golden=golden, path=path)
    path.unlink()  # half a gigabyte


@torch.inference_mode()
def test_frames_and_codes_are_the_references(loaded):
    golden, codec = loaded.golden, loaded.codec
    for case in golden.cases:
        codes, frames = encode(codec, golden["wav", case])
        torch.testing.assert_close(frames, golden["enc", case], atol=2e-4, rtol=0)
        assert_codes(codes, golden, case, tie=1e-3)
        rest = frames.T
        for codebook, chosen, gaps in zip(codec.network.quantizer, codes, golden["margin", case], strict=True):
            torch.testing.assert_close(margins(rest, codebook).float(), gaps, atol=5e-3, rtol=1e-4)
            rest = rest - codebook[chosen]


@torch.inference_mode()
def test_audio_of_all_and_of_later_streams_is_the_references(loaded):
    golden, codec = loaded.golden, loaded.codec
    for case in golden.cases:
        wav = codec.decode(golden["codes", case].long()[None])[0]
        torch.testing.assert_close(wav, golden["dec", case], atol=1e-5, rtol=0)
    wav = codec.network.decode(golden["codes", 0].long()[None, 1:], first=1)[0]
    torch.testing.assert_close(wav, golden["dec", "0_rvq2to8"], atol=1e-5, rtol=0)


def test_the_spec_is_of_these_weights_and_audio_is_the_same_in_company(loaded):
    golden, spec = loaded.golden, loaded.codec.spec
    assert (spec.sample_rate, spec.frame_size) == (golden.sample_rate, golden.frame_size)
    assert spec.weights_sha256 == sha256_of(loaded.path)
    codes = golden["codes", 0].long()[:, :10].view(8, 2, 5).transpose(0, 1)
    assert torch.equal(loaded.codec.decode(codes)[1:], loaded.codec.decode(codes[1:]))


def test_it_keeps_the_contract(loaded):
    check_codec(loaded.codec, seconds=0.2)


def test_fewer_codebooks_are_the_first_ones(loaded):
    golden, kind = loaded.golden, type(loaded.codec)
    codec = kind.create(checkpoint=loaded.path, num_codebooks=1)
    assert [(stream.name, stream.kind) for stream in codec.spec.streams] == [("semantic", "semantic")]
    wav = golden["wav", 0][None, :3200]
    assert torch.equal(codec.encode(wav).codes, loaded.codec.encode(wav).codes[:, :1])
    semantic = codec.decode(golden["codes", 0].long()[None, :1])[0]
    torch.testing.assert_close(semantic, golden["dec", "0_rvq1"], atol=1e-5, rtol=0)


def test_a_number_of_codebooks_that_it_has_not_is_refused(tmp_path):
    for count in (0, 9):
        with pytest.raises(ConfigError, match=f"'speechtokenizer' has 1 to 8 codebooks, not {count}"):
            SpeechTokenizer.create(checkpoint=tmp_path, num_codebooks=count)


def test_a_training_checkpoint_is_unpacked_and_what_only_training_needs_is_left_behind(tmp_path):
    kept = {"encoder.model.0.conv.conv.bias": "encoder.0.bias", "quantizer.vq.layers.3._codebook.embed": "quantizer.3"}
    left = [
        "transform.weight",
        "transform.bias",
        *(f"quantizer.vq.layers.3._codebook.{n}" for n in ("inited", "embed_avg")),
    ]
    flat = {name: torch.zeros(1) for name in [*kept, *left]}
    assert list(SpeechTokenizer.unpack(flat, tmp_path)) == list(kept.values())
    assert list(SpeechTokenizer.unpack({"generator": flat, "step": 3}, tmp_path)) == list(kept.values())
    with pytest.raises(FormatError, match="step is a int, not a tensor"):
        SpeechTokenizer.unpack({**flat, "step": 3}, tmp_path)


def test_another_networks_weights_are_refused(tmp_path):
    path = tmp_path / "SpeechTokenizer.pt"
    torch.save({"encoder.model.0.conv.conv.bias": torch.zeros(64), "encoder.extra": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match=r"missing \(first: .*1 unknown \(first: encoder\.extra\)"):
        SpeechTokenizer.create(checkpoint=tmp_path)
