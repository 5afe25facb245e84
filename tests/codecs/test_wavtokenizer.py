"""WavTokenizer is the authors': frames, codes and audio of seeded weights, at 75 and at 40 frames a second."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from helpers.codec_golden import Golden, assert_codes, codec_folder, encode, fill, margins
from safetensors.torch import save_file

from slmtk.codecs.wavtokenizer import WavTokenizer40, WavTokenizer75
from slmtk.codecs.wavtokenizer.decoder import Spectrum
from slmtk.errors import FormatError
from slmtk.testing import check_codec

VARIANTS = {"75": (WavTokenizer75, "_75", ""), "40": (WavTokenizer40, "_40", "_40")}


@pytest.fixture(scope="module", params=VARIANTS)
def loaded(request, shared_data, tmp_path_factory):
    kind, keys, suffix = VARIANTS[request.param]
    folder = codec_folder(shared_data, "wavtokenizer")
    golden = Golden(folder / f"golden{suffix}.npz")
    state = fill(folder, f"state_dict{keys}.json", golden.seed)["state_dict"]
    path = tmp_path_factory.mktemp(kind.card.spec.name) / kind.card.published.files[0]
    if kind is WavTokenizer75:
        save_published(state, json.loads((folder / f"state_dict{keys}.json").read_text()), path)
    else:
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    codec = kind.create(checkpoint=path.parent)
    path.unlink()  # 300 MB
    return SimpleNamespace(codec=codec, golden=golden)


def save_published(state, rows, path):
    """As the authors' trainer does: discriminators and the optimiser's state are in the file, too."""
    rows = [row for row in rows if row.get("unused") == "training"]
    # One number stretched to each shape: a gigabyte of zeros would tell no more.
    unused = {row["key"]: torch.zeros(1).expand(row["shape"]) for row in rows}
    assert len(unused) > 800
    beside = {"epoch": 3, "global_step": 7, "optimizer_states": [{"state": {}}], "lr_schedulers": [], "callbacks": {}}
    torch.save({"state_dict": {**unused, **state}, **beside, "hyper_parameters": {"sample_rate": 24000}}, path)


@torch.inference_mode()
def test_frames_and_codes_are_the_references(loaded):
    golden, codec = loaded.golden, loaded.codec
    assert (codec.spec.sample_rate, codec.spec.frame_size) == (golden.sample_rate, golden.frame_size)
    for case in golden.cases:
        codes, frames = encode(codec, golden["wav", case])
        torch.testing.assert_close(frames, golden["enc", case], atol=2e-4, rtol=0)
        assert_codes(codes, golden, case, tie=1e-3)
        gaps = margins(frames.T, codec.network.codebook).float()
        torch.testing.assert_close(gaps, golden["margin", case][0], atol=5e-3, rtol=1e-4)


@torch.inference_mode()
def test_audio_is_the_references_with_either_bandwidth(loaded):
    golden, codec = loaded.golden, loaded.codec
    for case in golden.cases:
        wav = codec.decode(golden["codes", case].long()[None])[0]
        torch.testing.assert_close(wav, golden["dec", case], atol=1e-5, rtol=0)
    wav = codec.network.decode(golden["codes", 0].long()[None], bandwidth=2)[0]
    torch.testing.assert_close(wav, golden["dec", "0_bandwidth2"], atol=1e-5, rtol=0)


def test_audio_is_the_same_in_company(loaded):
    codes = loaded.golden["codes", 0].long()[:, :20].view(2, 1, 10)
    assert torch.equal(loaded.codec.decode(codes)[1:], loaded.codec.decode(codes[1:]))


def test_it_keeps_the_contract(loaded):
    check_codec(loaded.codec, seconds=0.2)


def test_the_inverse_transform_overlaps_as_it_is_defined():
    torch.manual_seed(0)
    size, hop, frames = 16, 4, 5
    spectrum = Spectrum(size)
    spectrum.window.copy_(torch.hann_window(size))
    magnitude, phase = torch.rand(2, 1, frames, size // 2 + 1)
    wav, weight = torch.zeros(2, size + hop * (frames - 1))
    for index in range(frames):
        part = torch.fft.irfft(torch.polar(magnitude[0, index], phase[0, index]), size)
        wav[index * hop : index * hop + size] += part * spectrum.window
        weight[index * hop : index * hop + size] += spectrum.window**2
    expected = (wav / weight)[6:-6]
    torch.testing.assert_close(spectrum(magnitude, phase)[0], expected, atol=1e-6, rtol=1e-5)


def test_the_other_frame_rates_weights_and_other_files_are_refused(tmp_path):
    save_file({"head.istft.window": torch.zeros(2400)}, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="of 600 samples a frame; wavtokenizer-75 has 320: use the other one"):
        WavTokenizer75.create(checkpoint=tmp_path / "a.safetensors")
    save_file({"decoder.weight": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(FormatError, match="holds no tensors of this codec"):
        WavTokenizer40.create(checkpoint=tmp_path / "b.safetensors")
    save_file({"head.istft.window": torch.zeros(2400), "head.more": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(FormatError, match=r"missing \(first: .*1 unknown \(first: head\.more\)"):
        WavTokenizer40.create(checkpoint=tmp_path / "c.safetensors")
