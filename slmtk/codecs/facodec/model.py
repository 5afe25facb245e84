"""FACodec's networks by their published names: what each checkpoint file holds and what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmtk.codecs.facodec import stack
from slmtk.codecs.facodec.layers import empty
from slmtk.codecs.facodec.mel import MIN_SAMPLES, MelTransform
from slmtk.codecs.facodec.quantizer import CODEBOOK_SIZE, ResidualQuantizer, VectorQuantizer
from slmtk.codecs.facodec.transformer import Linear, Transformer, modulate
from slmtk.codecs.facodec.workers import Workers

STREAMS = 6
"""Prosody, content 1, content 2, residual 1..3: the order inside the networks."""


class Analysis(NamedTuple):
    """What encoding makes of one utterance.

    Attributes:
        latent: float32 [T, 256] of the encoder.
        prosody: float32 [T, 256], quantised.
        content: float32 [T, 256], quantised.
        residual: float32 [T, 256], quantised.
        codes: int64 [6, T].
        speaker: float32 [256].
    """

    latent: Tensor
    prosody: Tensor
    content: Tensor
    residual: Tensor
    codes: Tensor
    speaker: Tensor


class EncoderV1(stack.Encoder):
    """``ns3_facodec_encoder.bin``."""


class EncoderV2(stack.Encoder):
    """``ns3_facodec_encoder_v2.bin``: the same network, and the prosody feature."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.mel_transform = MelTransform()


class Decoder(nn.Module):
    """``ns3_facodec_decoder.bin`` or ``ns3_facodec_decoder_v2.bin``, without what only training needs."""

    TRAINING_ONLY = (
        "f0_predictor.",
        "phone_predictor.",
        "res_f0_predictor.",
        "res_phone_predictor.",
        "x_timbre_predictor.",
    )

    def __init__(self, *, mel_prosody: bool) -> None:
        """``mel_prosody``: V2, whose prosody codes come from the mel feature and not from the latent."""
        super().__init__()
        self.quantizer = nn.ModuleList([ResidualQuantizer(layers) for layers in (1, 2, 3)])
        self.model = stack.Generator(1024)
        self.timbre_encoder = Transformer()
        self.timbre_linear = Linear(256, 512)
        self.mel_prosody = mel_prosody
        if mel_prosody:
            self.melspec_linear = Linear(20, 256)
            self.melspec_encoder = Transformer()

    def quantize(self, latent: Tensor, prosody: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return prosody, content and residual, float32 [T, 256] each and quantised, and codes int64 [6, T].

        Args:
            latent: float32 [T, 256].
            prosody: float32 [T, 256], what the prosody stream codes.
        """
        codes_p, out_p = self.quantizer[0](prosody)
        codes_c, out_c = self.quantizer[1](latent)
        codes_r, out_r = self.quantizer[2](latent - (out_p + out_c))
        return out_p, out_c, out_r, torch.cat([codes_p, codes_c, codes_r])

    def prosody_latent(self, feature: Tensor, frames: int) -> Tensor:
        """Return V2's input of the prosody quantiser, float32 [T, 256], for ``feature`` float32 [20, T or T - 1].

        A missing frame is zero, as in the code of arXiv 2506.12537. That is a loud frame (silence is -11.5), so audio
        whose length leaves a remainder of 152 samples or more is better padded to whole frames first.
        """
        padded = F.pad(feature, (0, frames - feature.shape[1])).T
        out: Tensor = self.melspec_encoder(self.melspec_linear(padded))
        return out

    def speaker(self, latent: Tensor, means: list[Tensor] | None = None) -> Tensor:
        """Return the speaker vector float32 [256] of an utterance's latent float32 [T, 256]."""
        out: Tensor = self.timbre_encoder(latent, means=means)
        return out.mean(0)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the latent float32 [T, 256] of ``codes`` int64 [3 or 6, T]."""
        layers = [layer for layer in self.quantizer.modules() if isinstance(layer, VectorQuantizer)]
        total: Tensor | None = None
        for layer, row in zip(layers, codes, strict=False):
            part = layer.decode(row)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def render(self, x: Tensor, speaker: Tensor, observe: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Return float32 [200 T] in [-1, 1] for a latent float32 [T, 256] in the voice of ``speaker`` float32 [256]."""
        return _render(self.model, self.timbre_linear, x, speaker, observe)


class Redecoder(nn.Module):
    """``ns3_facodec_redecoder.bin``: V1's codes in another voice."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.prosody_embs = _tables(1)
        self.content_embs = _tables(2)
        self.residual_embs = _tables(3)
        self.model = stack.Generator(1280)
        self.timbre_linear = Linear(256, 512)
        self.timbre_cond_prosody_enc = Transformer(conditioned=True)

    def embed(self, codes: Tensor, speaker: Tensor) -> Tensor:
        """Return the latent float32 [T, 256] of ``codes`` int64 [3 or 6, T] for ``speaker`` float32 [256]."""
        layers = [*self.prosody_embs, *self.content_embs, *self.residual_embs]
        parts = [F.embedding(row, layer.weight) for layer, row in zip(layers, codes, strict=False)]
        total: Tensor = self.timbre_cond_prosody_enc(parts[0], speaker)
        for part in parts[1:]:
            total = total + part
        return total

    def render(self, x: Tensor, speaker: Tensor, observe: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Return float32 [200 T] in [-1, 1] for a latent float32 [T, 256] in the voice of ``speaker`` float32 [256]."""
        return _render(self.model, self.timbre_linear, x, speaker, observe)


def analyse(
    encoder: stack.Encoder, decoder: Decoder, wav: Tensor, observe: Callable[[str, Tensor], None] | None = None
) -> Analysis:
    """Encode one utterance of any length: float32 [S] in [-1, 1], S >= 152 (V2: 413), T = floor((S + 48) / 200).

    A multiple of 200 samples gives T = S / 200. `pad_short` makes an utterance long enough.
    """
    with Workers(wav.device) as workers:
        feature: Callable[[], Tensor] | None = None
        if decoder.mel_prosody:
            assert isinstance(encoder, EncoderV2)
            mel = encoder.mel_transform
            feature = workers.start(lambda: decoder.prosody_latent(mel(wav), stack.frames_of(wav)))
        latent = encoder(wav, workers, observe)
        speaker = workers.start(lambda: decoder.speaker(latent))
        prosody = latent if feature is None else feature()
        if observe:
            observe("prosody_latent", prosody)
        out_p, out_c, out_r, codes = decoder.quantize(latent, prosody)
        return Analysis(latent, out_p, out_c, out_r, codes, speaker())


def pad_short(wav: Tensor) -> Tensor:
    """Append zeros to the last axis up to the shortest utterance that can be mirrored at its ends, 413 samples."""
    return F.pad(wav, (0, max(0, MIN_SAMPLES - wav.shape[-1])))


class _Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = empty(CODEBOOK_SIZE, 256)


def _tables(count: int) -> nn.ModuleList:
    return nn.ModuleList([_Table() for _ in range(count)])


def _render(
    generator: stack.Generator,
    style: Linear,
    x: Tensor,
    speaker: Tensor,
    observe: Callable[[str, Tensor], None] | None,
) -> Tensor:
    x = modulate(x, style(speaker))
    if observe:
        observe("dec_in", x.T)
    wav: Tensor = generator(x, observe)
    return wav
