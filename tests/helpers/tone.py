"""Audio <-> codes with sines: codecs for tests, since their answers can be worked out by hand."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from slmtk.codecs.base import Codec, Encoded, check_codes, check_wav
from slmtk.spec import CodecSpec, Stream

STREAMS = (Stream("pitch", 64, "content"), Stream("level", 16, "prosody"))


class ToneCodec(Codec):
    """One sine per 20 ms frame: stream 0 is its pitch (code n: 100(n+1) Hz), stream 1 its level (code n: -3n dB).

    Codes survive ``encode(decode(codes))`` unchanged; speech does not survive at all. Source: none, made for slmtk.
    """

    spec = CodecSpec("tone", sample_rate=16_000, frame_size=320, streams=STREAMS)

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> ToneCodec:
        return cls()

    def encode(self, wav: Tensor) -> Encoded:
        check_wav(wav, self.spec)
        frames = wav.reshape(len(wav), -1, self.spec.frame_size)
        # DFT bins lie 50 Hz apart, so every second bin is one pitch code; a full-scale sine peaks at 320 / 2.
        amplitude, pitch = (torch.fft.rfft(frames)[..., 2:130:2].abs() / 160).max(-1)
        level = (-20 / 3 * amplitude.clamp(min=1e-6).log10()).round().clamp(0, 15).long()
        return Encoded(torch.stack([pitch, level], dim=1), None)

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        check_codes(codes, self.spec, speaker)
        return self._tones(codes)

    def _tones(self, codes: Tensor) -> Tensor:
        pitch, level = codes.unbind(1)
        phase = torch.arange(320) * (2 * math.pi * 100 / 16_000)  # of the 100 Hz tone, in radians
        return (10 ** (-3 * level / 20)[..., None] * torch.sin((pitch + 1)[..., None] * phase)).flatten(1)


class VoicedToneCodec(ToneCodec):
    """`ToneCodec` with a speaker vector [1]: the utterance's peak, by which decoding multiplies."""

    spec = CodecSpec("voiced-tone", 16_000, 320, STREAMS, family="decoupled", speaker_dim=1)

    def encode(self, wav: Tensor) -> Encoded:
        return Encoded(super().encode(wav).codes, wav.abs().amax(dim=1, keepdim=True))

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        check_codes(codes, self.spec, speaker)
        assert speaker is not None
        return speaker * self._tones(codes)


class SlowToneCodec(ToneCodec):
    """`ToneCodec` that takes 50 ms an utterance, so that a run can be interrupted in the middle."""

    def encode(self, wav: Tensor) -> Encoded:
        time.sleep(0.05)
        return super().encode(wav)


class CpuToneCodec(ToneCodec):
    """`ToneCodec` that says it never uses a GPU."""

    cpu_only = True


class UnevenToneCodec(ToneCodec):
    """`ToneCodec` that takes 30 ms for every other pitch, so that workers overtake each other."""

    def encode(self, wav: Tensor) -> Encoded:
        encoded = super().encode(wav)
        time.sleep(0.03 * (int(encoded.codes[0, 0, 0]) % 2))
        return encoded


class FatalToneCodec(ToneCodec):
    """`ToneCodec` whose process dies on recordings longer than a second, as if for lack of memory."""

    def encode(self, wav: Tensor) -> Encoded:
        if wav.shape[1] > 16_000:
            os.kill(os.getpid(), 9)
        return super().encode(wav)


class PickyToneCodec(ToneCodec):
    """`ToneCodec` that raises what libraries raise on recordings longer than a second."""

    def encode(self, wav: Tensor) -> Encoded:
        if wav.shape[1] > 16_000:
            raise RuntimeError("too long for this codec")
        return super().encode(wav)
