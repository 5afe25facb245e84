import pytest
import torch

from slmtk.codecs.base import Encoded, load_codec
from slmtk.errors import ConfigError, PluginError
from slmtk.testing import check_codec
from tests.helpers.tone import ToneCodec, VoicedToneCodec


@pytest.mark.parametrize("name", ["world", "tests.helpers.tone:ToneCodec", "tests.helpers.tone:VoicedToneCodec"])
def test_our_codecs_keep_the_contract(name):
    check_codec(load_codec(name))


class BatchDependent(ToneCodec):
    def encode(self, wav):
        codes = super().encode(wav).codes
        return Encoded((codes + (len(wav) > 1)).clamp(max=15), None)


class Unchecked(ToneCodec):
    def decode(self, codes, speaker=None):
        return self._tones(codes.clamp(max=15))


class Loud(ToneCodec):
    def decode(self, codes, speaker=None):
        return 3 * super().decode(codes, speaker)


class Forgetful(VoicedToneCodec):
    def encode(self, wav):
        return Encoded(super().encode(wav).codes, None)


class Averaging(ToneCodec):
    can_average = True

    def average(self, probabilities):
        return probabilities.argmax(-1)


class Wrong(Averaging):
    def average(self, probabilities):
        return (super().average(probabilities) + 1).clamp(max=15)


class Unwilling(ToneCodec):
    can_average = True


def test_a_codec_may_average():
    check_codec(Averaging())


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (BatchDependent(), "batch mates"),
        (Unchecked(), "beyond its codebook"),
        (Loud(), "not within"),
        (Forgetful(), "disagree"),
        (Wrong(), "mean of codes that are certain sounds different"),
    ],
)
def test_a_broken_promise_is_named(codec, message):
    with pytest.raises(PluginError, match=message):
        check_codec(codec)


def test_a_promise_to_average_without_doing_it_is_refused():
    with pytest.raises(ConfigError, match="does not know which of its codes sound alike"):
        check_codec(Unwilling())


def test_world_codes_of_one_voice_decode_in_another_with_that_voices_pitch():
    codec = load_codec("world")
    time = torch.arange(16_000) / 16_000
    low, high = (
        0.2 * sum(torch.sin(2 * torch.pi * f0 * k * time) / k for k in range(1, 15))[None] for f0 in (110.0, 220.0)
    )
    first, second = codec.encode(low.float()), codec.encode(high.float())
    assert second.speaker[0, 1] - first.speaker[0, 1] == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=0.05)
    moved = codec.encode(codec.decode(first.codes, second.speaker))
    assert moved.speaker[0, 1] == pytest.approx(second.speaker[0, 1].item(), abs=0.05)
