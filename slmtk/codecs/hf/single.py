"""Codecs of one large codebook, fed by a semantic and an acoustic encoder: X-Codec-2 and NeuCodec."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from slmtk import audio
from slmtk.codecs.base import Card
from slmtk.codecs.hf.base import TransformersCodec, card, numbered, published
from slmtk.spec import CodecSpec, Stream

if TYPE_CHECKING:
    from torch import Tensor


class Xcodec2Codec(TransformersCodec):
    """X-Codec-2: 50 codes a second out of 65,536, from w2v-BERT's and an acoustic encoder's features."""

    architecture = "Xcodec2"
    card: ClassVar[Card] = card(
        "xcodec2",
        (16_000, 320),
        numbered("mixed", 1, 65_536),
        published("HKUSTAudio/xcodec2-hf", "64bd034d12d441299cdd535b15c33efd6ccdf252"),
        family="coupled",
        licence="CC-BY-NC-4.0",
        source="https://arxiv.org/abs/2502.04128",
    )

    def __init__(self, network: Any, spec: CodecSpec, device: str) -> None:
        """Wrap a loaded network and make its feature extractor, which has no weights."""
        import transformers

        super().__init__(network, spec, device)
        self._rate, hop = self.input_geometry(network.config)
        kind = getattr(transformers, f"{self.architecture}FeatureExtractor")
        self._extract = kind(sampling_rate=self._rate, hop_length=hop)

    @classmethod
    def input_geometry(cls, config: Any) -> tuple[int, int]:
        """Sample rate in Hz and samples per frame of what the network's encoder takes."""
        return config.sampling_rate, config.hop_length

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of an `Xcodec2Config`."""
        return *cls.input_geometry(config), numbered("mixed", 1, math.prod(config.quantization_levels))

    def _codes(self, wav: Tensor) -> Tensor:
        wav = audio.resample(wav.cpu(), self.spec.sample_rate, self._rate)
        # The extractor appends a sample and fills up the frame, as the encoder was trained: one frame too many, which
        # `encode` drops.
        inputs = self._extract(list(wav.numpy()), sampling_rate=self._rate, return_tensors="pt").to(self.device)
        codes: Tensor = self.network.encode(
            inputs["input_values"], inputs["input_features"], input_features_mask=inputs["input_features_mask"]
        ).audio_codes
        return codes

    def _wav(self, codes: Tensor) -> Tensor:
        wav: Tensor = self.network.decode(codes).audio_values
        return wav[:, 0]


class NeuCodecCodec(Xcodec2Codec):
    """NeuCodec: X-Codec-2's design trained on open data, heard at 16 kHz and spoken at 24 kHz.

    Audio comes in and goes out at 24 kHz; the encoder's input is resampled inside.
    """

    architecture = "NeuCodec"
    card: ClassVar[Card] = card(
        "neucodec",
        (24_000, 480),
        numbered("mixed", 1, 65_536),
        published("neuphonic/neucodec"),
        family="coupled",
        licence="Apache-2.0",
        source="https://arxiv.org/abs/2509.09550",
    )

    @classmethod
    def input_geometry(cls, config: Any) -> tuple[int, int]:
        """Sample rate in Hz and samples per frame of what the network's encoder takes."""
        return config.input_sampling_rate, config.encoder_hop_length

    @classmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate, frame size and streams of a `NeuCodecConfig`."""
        streams = numbered("mixed", 1, math.prod(config.quantization_levels))
        return config.output_sampling_rate, config.hop_length, streams
