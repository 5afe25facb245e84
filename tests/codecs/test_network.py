"""What the codecs that are one network share: weights as they are meant, full precision, padding, the nearest row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from slmtk.codecs._blocks import nearest
from slmtk.codecs._network import (
    CodecNetwork,
    NetworkCodec,
    fold_weight_norm,
    nested,
    only_tensors,
)
from slmtk.codecs._seanet import PaddedConv, TrimmedTransposedConv, reflect_pad
from slmtk.codecs.base import Card
from slmtk.codecs.precision import full_precision
from slmtk.codecs.weights import Published, sha256_of
from slmtk.errors import FormatError, ShapeError
from slmtk.spec import CodecSpec, Stream

PATH = Path("weights.pt")


class GainNetwork(CodecNetwork):
    """Four samples a frame; a code is the frame's first sample times a gain, rounded."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.empty(1))
        self.rows = []

    def encode(self, wav):
        self.rows.append(len(wav))
        return (wav[:, None, ::4] * self.gain).round().long()

    def decode(self, codes):
        self.rows.append(len(codes))
        return (codes[:, 0] / 4.0).repeat_interleave(4, 1)


class GainCodec(NetworkCodec):
    """A `NetworkCodec` whose answers can be worked out by hand."""

    card = Card(CodecSpec("gain", 16_000, 4, (Stream("code", 9),)), Published("nobody/nothing", "1", ("gain.pt",)))

    @classmethod
    def unpack(cls, state, path):
        return only_tensors(nested(state, "inner"), path)

    @classmethod
    def build(cls, state, path):
        return GainNetwork()


@pytest.fixture
def gain(tmp_path):
    torch.save({"inner": {"gain": torch.tensor([8.0])}, "step": 3}, tmp_path / "gain.pt")
    return GainCodec.create(checkpoint=tmp_path)


def test_a_checkpoint_becomes_a_codec_that_says_whose_weights_it_has(gain, tmp_path):
    assert gain.spec.weights_sha256 == sha256_of(tmp_path / "gain.pt")
    assert GainCodec.card.spec.weights_sha256 == ""
    wav = torch.tensor([[0.5, 9, 9, 9, 1.0, 9, 9, 9], [0, 9, 9, 9, 0.25, 9, 9, 9]])
    encoded = gain.encode(wav.double())
    assert encoded.codes.tolist() == [[[4, 8]], [[0, 2]]]
    assert encoded.speaker is None


def test_audio_beyond_full_scale_is_clipped_and_utterances_go_one_by_one_on_the_cpu(gain):
    assert gain.decode(torch.tensor([[[8, 2]], [[0, 1]]])).tolist() == [[1.0] * 4 + [0.5] * 4, [0.0] * 4 + [0.25] * 4]
    gain.encode(torch.zeros(3, 4))
    assert gain.network.rows == [1] * 5


def test_no_utterances_and_no_frames_are_no_audio(gain):
    assert gain.encode(torch.zeros(0, 8)).codes.shape == (0, 1, 2)
    assert gain.decode(torch.zeros(0, 1, 2, dtype=torch.int64)).shape == (0, 8)
    assert gain.decode(torch.zeros(2, 1, 0, dtype=torch.int64)).shape == (2, 0)
    with pytest.raises(ShapeError, match="positive whole number of 4-sample frames"):
        gain.encode(torch.zeros(2, 0))


@pytest.mark.parametrize("layer", [torch.nn.Conv1d(4, 6, 3), torch.nn.ConvTranspose1d(4, 6, 3), torch.nn.Linear(4, 6)])
def test_folded_weights_are_those_of_torch(layer):
    normed = weight_norm(layer, dim=0)
    scale, direction = (getattr(normed.parametrizations.weight, f"original{n}") for n in (0, 1))
    with torch.no_grad():
        scale.mul_(torch.rand_like(scale) + 0.5)
    state = {"a.weight_g": scale.detach(), "a.weight_v": direction.detach(), "a.bias": normed.bias.detach()}
    folded = fold_weight_norm(state, PATH)
    assert sorted(folded) == ["a.bias", "a.weight"]
    torch.testing.assert_close(folded["a.weight"], normed.weight.detach(), atol=1e-7, rtol=1e-6)


def test_a_lone_or_misshapen_half_of_a_weight_is_not_guessed():
    lone = {"a.weight_v": torch.ones(2, 3)}
    assert fold_weight_norm(lone, PATH).keys() == lone.keys()
    with pytest.raises(FormatError, match=r"weights\.pt: a\.weight_g is \[2\]; expected \[2, 1\]"):
        fold_weight_norm({"a.weight_v": torch.ones(2, 3), "a.weight_g": torch.ones(2)}, PATH)


def test_full_precision_holds_inside_and_leaves_nothing_behind():
    backends = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    with full_precision():  # so that this test leaves nothing behind either
        for backend in backends:
            backend.fp32_precision = "tf32"
        with full_precision():
            assert [backend.fp32_precision for backend in backends] == ["ieee"] * 3
        assert [backend.fp32_precision for backend in backends] == ["tf32"] * 3


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1, 2, 3, 4], [3, 2, 1, 2, 3, 4, 3]),
        # One zero makes [1, 2, 0] of it, the mirror [0, 2, 1, 2, 0, 2], and one sample is dropped again.
        ([1, 2], [0, 2, 1, 2, 0]),
        ([1], [0, 0, 1, 0]),
    ],
)
def test_the_mirror_at_the_ends_and_what_is_too_short_for_it(samples, expected):
    assert reflect_pad(torch.tensor([[samples]], dtype=torch.float32), 2, 1)[0, 0].tolist() == expected


def test_more_of_the_padding_is_on_the_left_and_partial_frames_count():
    conv = PaddedConv(1, 1, 10, 5)
    with torch.no_grad():
        conv.weight.zero_()[0, 0, 3] = 1  # the first sample of each frame after 3 samples of padding
        conv.bias.zero_()
    assert conv(torch.arange(12.0)[None, None])[0, 0].tolist() == [0, 5, 10]


def test_a_transposed_stride_of_five_drops_three_samples_on_the_left():
    conv = TrimmedTransposedConv(1, 1, 5)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(10.0))
        conv.bias.zero_()
    assert conv(torch.ones(1, 1, 1))[0, 0].tolist() == [3, 4, 5, 6, 7]


def test_the_nearest_row_is_the_first_of_equals():
    rows = torch.tensor([[3.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    frames = torch.tensor([[1.1, 0.0], [2.5, 0.1], [0.4, 0.5]])
    assert nearest(frames, rows).tolist() == [1, 0, 3]
    torch.manual_seed(0)
    frames, rows = torch.randn(50, 8), torch.randn(70, 8)
    expected = torch.cdist(frames.double(), rows.double()).argmin(1)
    assert torch.equal(nearest(frames, rows), expected)
    assert torch.equal(
        nearest(F.normalize(frames), F.normalize(rows)), (F.normalize(frames) @ F.normalize(rows).T).argmax(1)
    )
