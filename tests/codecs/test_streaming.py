"""Codes that come bit by bit sound like codes that come at once, for every kind of decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slmtk.codecs import _seanet
from slmtk.codecs.base import codec_class
from slmtk.codecs.bigcodec import BigCodec
from slmtk.codecs.bigcodec import network as bigcodec_network
from slmtk.codecs.rendering import Renderer, reach
from slmtk.codecs.speechtokenizer import SpeechTokenizer
from slmtk.codecs.speechtokenizer import codec as speechtokenizer
from slmtk.codecs.streaming import Pace, StreamDecoder, stream_decode
from slmtk.errors import ConfigError, PluginError, ShapeError
from slmtk.testing import check_codec
from tests.helpers.tiny_codecs import write_checkpoint
from tests.helpers.tone import ToneCodec, VoicedToneCodec

SHORT = Pace(first_seconds=0.05, growth=1.3, most_seconds=0.2)
EXACT = {
    "encodec": "Encodec",
    "dac-16khz": "Dac",
    "mimi": "Mimi",
    "xcodec": "Xcodec",
    "higgs": "HiggsAudioV2Tokenizer",
}


def random_codes(codec, frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(size, (frames,), generator=generator) for size in codec.spec.codebook_sizes]
    return torch.stack(rows)


def streamed(codec, codes, piece: int = 3, pace: Pace = SHORT, speaker=None) -> tuple[np.ndarray, int]:
    """The stream's audio, and how many stretches it came in."""
    pieces = list(stream_decode(codec, codes.split(piece, dim=1), speaker, pace))
    return np.concatenate(pieces), len(pieces)


def difference_db(wav: np.ndarray, whole: torch.Tensor) -> float:
    """Level of the difference relative to the whole."""
    expected = whole[0].numpy()
    assert wav.shape == expected.shape
    assert expected.std() > 1e-5
    return 10 * float(np.log10(((wav - expected) ** 2).mean() / (expected**2).mean() + 1e-20))


def small_speechtokenizer(snake: bool) -> SpeechTokenizer:
    class Small(speechtokenizer.Network):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            activation = _seanet.Snake if snake else _seanet.elu
            self.decoder = _seanet.decoder(2, (2, 4, 5, 8), 16, activation)
            self.quantizer = speechtokenizer.ResidualQuantizer([torch.randn(1024, 16) for _ in range(8)])

    return SpeechTokenizer(seeded(Small), "", "cpu")


def seeded(make) -> nn.Module:
    """A network with random weights under which the audio is neither silent nor clipped."""
    torch.manual_seed(0)
    network = make()
    for name, values in network.named_parameters():
        if values.ndim > 1 and "quantizer" not in name and "lstm" not in name:
            nn.init.normal_(values, std=values[0].numel() ** -0.5)
        elif "lstm" not in name:
            nn.init.normal_(values, std=0.1)
    return network


@pytest.fixture
def small_bigcodec(monkeypatch):
    monkeypatch.setattr(bigcodec_network, "_CHANNELS", 2)
    monkeypatch.setattr(bigcodec_network, "_WIDTH", 16)
    monkeypatch.setattr(bigcodec_network, "_encoder", nn.Identity)
    return BigCodec(seeded(bigcodec_network.Network), "", "cpu")


def loud_encodec(folder):
    """EnCodec whose seeded weights let its codes and its LSTM be heard: small ones leave nothing but the bias."""
    codec = codec_class("encodec").create(checkpoint=write_checkpoint(folder, "Encodec"))
    with torch.no_grad():
        for layer in codec.network.quantizer.layers:
            layer.codebook.embed.mul_(50)
        for name, values in codec.network.decoder.named_parameters():
            values.mul_(2 if "lstm" in name else 1 if values.ndim > 1 else 0.1)
    return codec


def test_encodecs_lstm_goes_on_from_stretch_to_stretch(tmp_path):
    codec = loud_encodec(tmp_path)
    codes = random_codes(codec, 150)
    whole = codec.decode(codes[None])
    assert difference_db(streamed(codec, codes)[0], whole) < -90
    other = codes.clone()
    other[:, :20] = (other[:, :20] + 1) % 64
    assert difference_db(codec.decode(other[None])[0, :6400].numpy(), whole[:, :6400]) > -40  # codes are heard


@pytest.mark.parametrize("name", EXACT)
def test_decoders_of_transformers_give_the_same_audio_in_stretches(name, tmp_path):
    codec = codec_class(name).create(checkpoint=write_checkpoint(tmp_path, EXACT[name]))
    codes = random_codes(codec, round(3 * codec.spec.frame_rate))
    wav, stretches = streamed(codec, codes)
    assert stretches > 5
    assert difference_db(wav, codec.decode(codes[None])) < -90


def test_mimis_transformer_forgets_in_stretches_what_it_forgets_in_one_go(tmp_path):
    codec = codec_class("mimi").create(checkpoint=write_checkpoint(tmp_path, "Mimi", sliding_window=10))
    codes = random_codes(codec, 40)
    assert difference_db(streamed(codec, codes)[0], codec.decode(codes[None])) < -90


@pytest.mark.parametrize("snake", [False, True])
def test_speechtokenizers_lstm_goes_on_from_stretch_to_stretch(snake):
    codec = small_speechtokenizer(snake)
    codes = random_codes(codec, 100)
    wav, stretches = streamed(codec, codes)
    assert stretches > 5
    assert difference_db(wav, codec.decode(codes[None])) < -90


def test_bigcodecs_lstm_goes_on_from_stretch_to_stretch(small_bigcodec):
    codes = random_codes(small_bigcodec, 240)
    wav, stretches = streamed(small_bigcodec, codes)
    assert stretches > 4
    assert difference_db(wav, small_bigcodec.decode(codes[None])) < -90


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 9])
def test_the_shortest_speech_is_streamed_too(frames, tmp_path):
    for decoder in (loud_encodec(tmp_path), small_speechtokenizer(False), ToneCodec()):
        codes = random_codes(decoder, frames)
        assert difference_db(streamed(decoder, codes, piece=1)[0], decoder.decode(codes[None])) < -90


@pytest.mark.parametrize(("name", "kind"), [("xcodec2", "Xcodec2"), ("neucodec", "NeuCodec")])
def test_a_decoder_that_attends_to_everything_is_faded_at_the_joints(name, kind, tmp_path):
    codec = codec_class(name).create(checkpoint=write_checkpoint(tmp_path, kind))
    codes = random_codes(codec, 150)
    wav, stretches = streamed(codec, codes)
    assert stretches > 5
    assert len(wav) == 150 * codec.spec.frame_size
    assert codec.renderer().fade == round(0.01 * codec.spec.sample_rate)


class Disagreeing(ToneCodec):
    """Its audio is the number of frames that were decoded together, so every joint would be a step."""

    def decode(self, codes, speaker=None):
        return torch.full((1, codes.shape[2] * 320), codes.shape[2] / 1000)


def test_a_fade_leaves_no_step_at_a_joint():
    wav, stretches = streamed(Disagreeing(), random_codes(Disagreeing(), 60), piece=1)
    assert stretches > 3
    assert np.unique(wav).size > 100
    assert np.abs(np.diff(wav)).max() < 0.02 / 100  # 20 frames more, faded in over 160 samples


def test_what_frames_cost_anew_bounds_the_work_of_a_long_stream():
    """Frames decoded, over frames: at most 1.5 in the long run, and 2 from a few seconds on."""
    decoded = []

    class Counting(ToneCodec):
        decode_context = (20, 20)  # 0.4 s each way, as far as any codec of ours sees

        def decode(self, codes, speaker=None):
            decoded.append(codes.shape[2])
            return super().decode(codes, speaker)

    for seconds, bound in ((10, 2.0), (60, 1.6)):
        decoded.clear()
        codes = random_codes(Counting(), seconds * 50)
        streamed(Counting(), codes, piece=1, pace=Pace())
        assert sum(decoded) / codes.shape[1] < bound


def test_the_first_stretch_comes_as_soon_as_its_context_is_there():
    class Wide(ToneCodec):
        decode_context = (4, 6)

    decoder = StreamDecoder(Wide(), pace=Pace(first_seconds=0.1))
    assert decoder.delay_seconds == pytest.approx(11 * 0.02)
    codes = random_codes(Wide(), 20)
    lengths = [len(decoder.push(codes[:, n : n + 1])) // 320 for n in range(20)]
    assert lengths == [0] * 10 + [5] + [0] * 7 + [8] + [0]
    assert len(decoder.finish()) == 7 * 320
    assert len(decoder.finish()) == 0


def test_many_frames_at_once_are_as_good_as_many_pieces():
    codes = random_codes(ToneCodec(), 100)
    assert np.array_equal(streamed(ToneCodec(), codes, 100)[0], streamed(ToneCodec(), codes, 1)[0])


def test_a_voice_is_given_once_for_the_whole_utterance():
    codes, voice = random_codes(VoicedToneCodec(), 60), torch.tensor([0.5])
    wav, _ = streamed(VoicedToneCodec(), codes, speaker=voice)
    assert difference_db(wav, VoicedToneCodec().decode(codes[None], voice[None])) < -120
    with pytest.raises(ShapeError, match=r"speaker vector: none; voiced-tone needs \[1\]"):
        StreamDecoder(VoicedToneCodec())


def test_codes_that_do_not_fit_are_refused_and_what_came_before_stays():
    decoder = StreamDecoder(ToneCodec(), pace=SHORT)
    codes = random_codes(ToneCodec(), 10)
    before = decoder.push(codes)
    with pytest.raises(ShapeError, match=r"codes are \[1, 1, 3\]"):
        decoder.push(codes[:1, :3])
    with pytest.raises(ShapeError, match="holds codes"):
        decoder.push(codes + 64)
    wav = np.concatenate([before, decoder.finish()])
    assert difference_db(wav, ToneCodec().decode(codes[None])) < -120
    with pytest.raises(ShapeError, match="has ended"):
        decoder.push(codes)


@pytest.mark.parametrize("values", [{"first_seconds": 0.0}, {"growth": 0.9}, {"most_seconds": 0.05}])
def test_a_pace_that_cannot_be_is_refused(values):
    with pytest.raises(ConfigError, match="streaming needs"):
        Pace(**values)


def test_reach_is_what_the_layers_see_together():
    # Samples 0..3 are seen from -2..5 with two more on either side; the kernel of 8, two cut off, spreads frame f over
    # 4 f - 2 .. 4 f + 5, so these are in frames -1..1; with five more, -5..8, they are in -2..2.
    assert reach([4], first=3, unit=1, last=1) == (4, 4)
    assert reach([4], first=0, unit=1, last=1) == (1, 1)
    assert reach([4], first=0, unit=3, last=2) == (2, 2)
    assert reach([4], first=2, unit=2, last=1, causal=True) == (4, 0)


def test_a_decoders_reach_is_found_by_what_it_spoils(tmp_path):
    """Not a number at one frame of the latent comes out wherever that frame is heard: no further than declared."""
    codec = codec_class("dac-16khz").create(checkpoint=write_checkpoint(tmp_path, "Dac"))
    decoder = codec.network.decoder
    latent = torch.zeros(1, decoder.conv1.in_channels, 61)
    latent[..., 30] = torch.nan
    with torch.inference_mode():
        spoilt = decoder(latent)[0, 0].isnan().nonzero() // codec.spec.frame_size
    left, right = codec.decode_context
    assert (30 - int(spoilt.min()), int(spoilt.max()) - 30) == (right, left)


def test_bigcodecs_reach_is_found_by_what_it_spoils(small_bigcodec):
    layers = small_bigcodec.network.decoder[2:]
    latent = torch.zeros(1, layers[0][0].alpha.numel(), 81)
    latent[..., 40] = torch.nan
    with torch.inference_mode():
        spoilt = layers(latent)[0, 0].isnan().nonzero() // 200
    reached = bigcodec_network.DECODER_REACH
    assert (int(spoilt.max()) - 40, 40 - int(spoilt.min())) == reached


def test_a_renderer_has_to_say_how():
    with pytest.raises(TypeError, match="abstract"):
        Renderer()


class Smeared(ToneCodec):
    """Every frame's audio is mixed with the next one's, though it says that nothing is looked at."""

    decode_context = (0, 0)

    def decode(self, codes, speaker=None):
        wav = super().decode(codes)
        return 0.5 * (wav + torch.nn.functional.pad(wav[:, 320:], (0, 320)))


def test_the_contract_finds_a_context_that_is_too_short():
    with pytest.raises(PluginError, match="decode_context is too small"):
        check_codec(Smeared())
    Smeared.decode_context = (0, 1)
    check_codec(Smeared())
