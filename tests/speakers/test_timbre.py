"""A codec's own speaker vector as an encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tone import STREAMS, ToneCodec
from torch import Tensor

from slmtk import audio
from slmtk.codecs.base import Encoded
from slmtk.errors import AudioError, ConfigError, PluginError
from slmtk.metrics.similarity import cosine
from slmtk.speakers.timbre import TimbreEncoder, codec_label
from slmtk.spec import CodecSpec


class HalvesCodec(ToneCodec):
    """Its speaker vector is the mean of the utterance's first and second half: [2]."""

    spec = CodecSpec("halves", 16_000, 320, STREAMS, family="decoupled", speaker_dim=2, weights_sha256="ab" * 32)

    def encode(self, wav: Tensor) -> Encoded:
        return Encoded(super().encode(wav).codes, torch.stack([half.mean(1) for half in wav.chunk(2, dim=1)], dim=1))


def test_the_vector_is_the_codecs_made_unit_length():
    wav = torch.cat([torch.full((3200,), 0.3), torch.full((3200,), 0.4)])
    encoder = TimbreEncoder(HalvesCodec())
    torch.testing.assert_close(encoder.embed(wav), torch.tensor([0.6, 0.8]))
    assert (encoder.name, encoder.dim, encoder.sample_rate) == ("halves abababab", 2, 16_000)


def test_an_utterance_need_not_be_a_whole_number_of_frames():
    wav = torch.full((6399,), 0.5)
    # One zero is appended: the halves are 3,200 and 3,199 samples of 0.5 over 3,200.
    expected = torch.tensor([1.0, 3199 / 3200])
    torch.testing.assert_close(TimbreEncoder(HalvesCodec()).embed(wav), expected / expected.norm())


@pytest.mark.parametrize(
    ("wav", "kind"),
    [
        (torch.zeros(6400), "empty"),
        (torch.full((3199,), 0.5), "too_short"),
        (torch.full((6400,), torch.nan), "nan"),
        (torch.tensor([0.5, -0.5]).repeat(3200), "empty"),  # both halves have no mean: the average voice
    ],
)
def test_what_holds_no_voice_is_refused(wav, kind):
    with pytest.raises(AudioError) as caught:
        TimbreEncoder(HalvesCodec()).embed(wav)
    assert caught.value.kind == kind


def test_a_codec_without_speaker_vectors_is_refused():
    with pytest.raises(ConfigError, match="'tone' has no speaker vector"):
        TimbreEncoder.create(model="helpers.tone:ToneCodec")
    with pytest.raises(PluginError):
        TimbreEncoder.create(model="no-such-codec")


def test_a_codec_is_named_with_its_weights_or_its_revision():
    assert codec_label(CodecSpec("a", 16_000, 320, STREAMS, weights_sha256="12345678" * 8)) == "a 12345678"
    assert codec_label(CodecSpec("a", 16_000, 320, STREAMS, revision="v2")) == "a v2"
    assert codec_label(CodecSpec("a", 16_000, 320, STREAMS)) == "a"


@pytest.mark.data
def test_the_embedded_codec_hears_one_speaker_as_nearer_than_another(shared_data: Path):
    pytest.importorskip("pyworld")
    encoder = TimbreEncoder.create()
    speakers = sorted(folder for folder in (shared_data / "read_speech").iterdir() if folder.is_dir())[:3]
    vectors = [[encoder.embed(audio.read(p, 16_000)[0]) for p in sorted(s.rglob("*.flac"))[:2]] for s in speakers]
    for place, (first, second) in enumerate(vectors):
        others = [cosine(first, vectors[other][1]) for other in range(3) if other != place]
        assert cosine(first, second) > max(others) + 0.1
