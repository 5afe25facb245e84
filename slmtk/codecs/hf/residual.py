"""Codecs that quantise what the codebooks before have left over: EnCodec, DAC, Mimi, X-Codec, Higgs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from slmtk.codecs.base import Card
from slmtk.codecs.hf.base import TransformersCodec, card, numbered, published, require
from slmtk.codecs.rendering import RecurrentRenderer, Renderer, reach
from slmtk.spec import CodecSpec, Stream

if TYPE_CHECKING:
    from torch import Tensor


class ResidualCodec(TransformersCodec):
    """Any first codebooks of a residual quantiser give whole codes of a lower bit rate."""

    variable_codebooks: ClassVar[bool] = True


def _dac_reach(strides: Sequence[int]) -> tuple[int, int]:
    """Frames before and behind one that DAC's decoder looks at; its units are dilated by 1, 3 and 9."""
    return reach(strides, first=3, unit=3 * (1 + 3 + 9), last=3)


class EncodecCodec(ResidualCodec):
    """EnCodec at 24 kHz: causal, 75 frames a second, up to 32 acoustic codebooks."""

    architecture = "Encodec"
    card: ClassVar[Card] = card(
        "encodec",
        (24_000, 320),
        numbered("acoustic", 32, 1024),
        published("facebook/encodec_24khz", "c1dbe2ae3f1de713481a3b3e7c47f357092ee040"),
        family="coupled",
        licence="unknown",
        source="https://arxiv.org/abs/2210.13438",
    )

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of an `EncodecConfig` (the mono model, not the chunked one of 48 kHz)."""
        require(config, audio_channels=1, normalize=False, chunk_length_s=None)
        streams = numbered("acoustic", config.num_quantizers, config.codebook_size)
        return config.sampling_rate, config.hop_length, streams

    def _codes(self, wav: Tensor) -> Tensor:
        # Not `network.encode`: it takes only the few bandwidths of `target_bandwidths`, not a number of codebooks.
        latents = self.network.encoder(wav[:, None])
        count = self.spec.num_codebooks
        bandwidth = (count + 0.5) * self.network.bits_per_codebook * self.network.config.frame_rate / 1000
        codes: Tensor = self.network.quantizer.encode(latents, bandwidth).transpose(0, 1)
        return codes[:, :count]

    def _wav(self, codes: Tensor) -> Tensor:
        wav: Tensor = self.network.decode(codes[None], [None]).audio_values
        return wav[:, 0]

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Carry the LSTM's state on; everything is causal, so nothing has to be known beforehand.

        But the first convolution mirrors the beginning, for which its width has to be there.
        """
        config, layers = self.network.config, self.network.decoder.layers
        seen, _ = reach(
            config.upsampling_ratios,
            first=0,
            unit=sum((config.residual_kernel_size - 1) * 2**j for j in range(config.num_residual_layers)),
            last=config.last_kernel_size - 1,
            causal=True,
        )
        before = config.kernel_size - 1

        def front(codes: Tensor, start: int, stop: int, state: Any) -> tuple[Tensor, Any]:
            frames = layers[0](self.network.quantizer.decode(codes.transpose(0, 1).to(self.device)))
            frames = frames[..., start:stop].permute(2, 0, 1)
            walked, state = layers[1].lstm(frames, state)
            return (walked + frames).permute(1, 2, 0), state

        def back(latent: Tensor) -> Tensor:
            for layer in layers[2:]:
                latent = layer(latent)
            return latent[:, 0]

        return RecurrentRenderer(
            front,
            back,
            front_reach=(before, 0),
            back_reach=(seen, 0),
            frame_size=self.spec.frame_size,
            least=config.kernel_size,
        )


class _Dac(ResidualCodec):
    architecture = "Dac"

    def __init__(self, network: Any, spec: CodecSpec, device: str) -> None:
        """Wrap a loaded network."""
        super().__init__(network, spec, device)
        self.decode_context = _dac_reach(network.config.upsampling_ratios)

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of a `DacConfig`."""
        streams = numbered("acoustic", config.n_codebooks, config.codebook_size)
        return config.sampling_rate, config.hop_length, streams

    def _codes(self, wav: Tensor) -> Tensor:
        codes: Tensor = self.network.encode(wav[:, None], n_quantizers=self.spec.num_codebooks).audio_codes
        return codes

    def _wav(self, codes: Tensor) -> Tensor:
        wav: Tensor = self.network.decode(audio_codes=codes).audio_values
        return wav


def _dac_card(khz: int, geometry: tuple[int, int], count: int, revision: str = "main") -> Card:
    return card(
        f"dac-{khz}khz",
        geometry,
        numbered("acoustic", count, 1024),
        published(f"descript/dac_{khz}khz", revision),
        family="coupled",
        licence="MIT",
        source="https://arxiv.org/abs/2306.06546",
    )


class Dac16Codec(_Dac):
    """Descript Audio Codec at 16 kHz: 50 frames a second, up to 12 codebooks."""

    card: ClassVar[Card] = _dac_card(16, (16_000, 320), 12)


class Dac24Codec(_Dac):
    """Descript Audio Codec at 24 kHz: 75 frames a second, up to 32 codebooks."""

    card: ClassVar[Card] = _dac_card(24, (24_000, 320), 32, "6ba020b5ba7d9d8076fb90db7e67f27e31980f6e")


class Dac44Codec(_Dac):
    """Descript Audio Codec at 44.1 kHz: 86.1 frames a second, up to 9 codebooks."""

    card: ClassVar[Card] = _dac_card(44, (44_100, 512), 9)


class MimiCodec(ResidualCodec):
    """Mimi: causal, 12.5 frames a second, a semantic codebook (distilled from WavLM) and up to 31 acoustic ones."""

    architecture = "Mimi"
    card: ClassVar[Card] = card(
        "mimi",
        (24_000, 1920),
        numbered("semantic", 1, 2048) + numbered("acoustic", 31, 2048),
        published("kyutai/mimi", "89091b3e466eb6a9d11e537bf26b144f194978f7"),
        family="semi-decoupled",
        licence="CC-BY-4.0",
        source="https://arxiv.org/abs/2410.00037",
    )

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of a `MimiConfig`."""
        require(config, audio_channels=1)
        semantic = config.num_semantic_quantizers
        streams = numbered("semantic", semantic, config.codebook_size)
        streams += numbered("acoustic", config.num_quantizers - semantic, config.codebook_size)
        return config.sampling_rate, round(config.sampling_rate / config.frame_rate), streams

    def _codes(self, wav: Tensor) -> Tensor:
        encoded = self.network.encode(wav[:, None], num_quantizers=self.spec.num_codebooks, use_streaming=False)
        codes: Tensor = encoded.audio_codes
        return codes

    def _wav(self, codes: Tensor) -> Tensor:
        wav: Tensor = self.network.decode(codes, use_cache=False).audio_values
        return wav[:, 0]

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Carry the transformer's keys and values on; everything is causal, so nothing has to be known beforehand."""
        config, quantizer, decoder = self.network.config, self.network.quantizer, self.network.decoder
        units = sum(
            (config.residual_kernel_size - 1) * config.dilation_growth_rate**j
            for j in range(config.num_residual_layers)
        )
        steps, _ = reach(
            config.upsampling_ratios,
            first=config.kernel_size - 1,
            unit=units,
            last=config.last_kernel_size - 1,
            causal=True,
        )
        # Of the transformer's steps there are several a frame.
        seen = math.ceil(steps * config.frame_rate / config.encodec_frame_rate)

        def front(codes: Tensor, start: int, stop: int, state: Any) -> tuple[Tensor, Any]:
            frames = decoder.upsample(quantizer.decode(codes.to(self.device)))
            steps = frames.shape[-1] // codes.shape[-1]
            frames = frames[..., start * steps : stop * steps].transpose(1, 2)
            walked = decoder.decoder_transformer(frames, past_key_values=state, use_cache=True)
            return walked.last_hidden_state.transpose(1, 2), walked.past_key_values

        def back(latent: Tensor) -> Tensor:
            wav: Tensor = decoder.decoder_seanet(latent)
            return wav[:, 0]

        return RecurrentRenderer(
            front,
            back,
            front_reach=(1, 0),
            back_reach=(seen, 0),
            frame_size=self.spec.frame_size,
        )


class XcodecCodec(ResidualCodec):
    """X-Codec: HuBERT's and an acoustic encoder's features in one residual quantiser, 50 frames a second.

    What is semantic lies mostly in the first codebook; the rest refine it.
    """

    architecture = "Xcodec"
    card: ClassVar[Card] = card(
        "xcodec",
        (16_000, 320),
        numbered("semantic", 1, 1024) + numbered("residual", 7, 1024),
        published("hf-audio/xcodec-hubert-librispeech"),
        family="semi-decoupled",
        licence="unknown",
        source="https://arxiv.org/abs/2408.17175",
    )

    def __init__(self, network: Any, spec: CodecSpec, device: str) -> None:
        """Wrap a loaded network."""
        super().__init__(network, spec, device)
        self.decode_context = _dac_reach(network.config.acoustic_model_config.upsampling_ratios)

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of an `XcodecConfig` (and of Higgs's, which extends it)."""
        streams = numbered("semantic", 1, config.codebook_size)
        streams += numbered("residual", config.num_quantizers - 1, config.codebook_size)
        return config.sample_rate, config.hop_length, streams

    def _codes(self, wav: Tensor) -> Tensor:
        codes: Tensor = self.network.encode(wav[:, None]).audio_codes
        # The network takes only its few bandwidths; the quantiser's search is a small part of its work.
        return codes[:, : self.spec.num_codebooks]

    def _wav(self, codes: Tensor) -> Tensor:
        wav: Tensor = self.network.decode(codes).audio_values
        return wav[:, 0]


class HiggsCodec(XcodecCodec):
    """The tokenizer of Higgs Audio v2: X-Codec's design at 24 kHz and 25 frames a second, up to 8 codebooks."""

    architecture = "HiggsAudioV2Tokenizer"
    card: ClassVar[Card] = card(
        "higgs",
        (24_000, 960),
        numbered("semantic", 1, 1024) + numbered("residual", 7, 1024),
        published("bosonai/higgs-audio-v2-tokenizer", "403fbacf2f60caaa102f893fdfabb694619b2417"),
        family="semi-decoupled",
        licence="other",
        source="https://github.com/boson-ai/higgs-audio",
    )
