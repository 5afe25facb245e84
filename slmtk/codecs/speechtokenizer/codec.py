"""The codec `speechtokenizer`: audio -> one semantic and seven residual streams -> audio."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from slmtk.codecs import _seanet
from slmtk.codecs._blocks import nearest
from slmtk.codecs._network import CodecNetwork, NetworkCodec, nested, only_tensors, rename, walking_renderer
from slmtk.codecs.base import Card
from slmtk.codecs.rendering import Renderer, reach
from slmtk.codecs.weights import Published
from slmtk.errors import ConfigError
from slmtk.spec import CodecSpec, Stream

_WIDTH = 1024
_CODES = 1024
_CODEBOOKS = 8
_STRIDES = (2, 4, 5, 8)
# The published names say in which wrapper a layer is; one name a layer is enough.
_SHORTER = {".model.": ".", ".conv.conv.": ".", ".convtr.convtr.": ".", ".vq.layers.": ".", "._codebook.embed": ""}
# The head of the distillation: used in training alone.
_TRAINING = "transform."


class ResidualQuantizer(nn.ParameterList):
    """Codebooks [V, D], each for what the ones before it left over of a frame."""

    def encode(self, frames: Tensor) -> Tensor:
        """Frames float [B, D, T] -> codes int64 [B, K, T]."""
        rest = frames.transpose(1, 2).reshape(-1, frames.shape[1])
        rows = []
        for codebook in self:
            rows.append(nearest(rest, codebook))
            rest = rest - codebook[rows[-1]]
        return torch.stack(rows).view(len(rows), len(frames), -1).transpose(0, 1)

    def decode(self, codes: Tensor, first: int = 0) -> Tensor:
        """Sum of the rows of codes [B, K', T], whose streams are ``first``, ``first`` + 1, ...: float [B, D, T]."""
        rows = [self[first + index][stream] for index, stream in enumerate(codes.unbind(1))]
        return torch.stack(rows).sum(0).transpose(1, 2)


class Network(CodecNetwork):
    """SEANet with a residual quantiser; an LSTM looks both ways in the encoder and back in the decoder."""

    def __init__(self, activation: _seanet.Activation) -> None:
        """``activation`` makes the activation for a number of channels."""
        super().__init__()
        self.encoder = _seanet.encoder(64, _STRIDES, _WIDTH, activation, bidirectional=True)
        self.quantizer = ResidualQuantizer([torch.empty(_CODES, _WIDTH) for _ in range(_CODEBOOKS)])
        self.decoder = _seanet.decoder(64, _STRIDES, _WIDTH, activation)

    def encode(self, wav: Tensor) -> Tensor:
        """Float32 [B, S], S of any length -> codes int64 [B, 8, ceil(S / 320)]."""
        return self.quantizer.encode(self.encoder(wav[:, None]))

    def decode(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes int64 [B, K, T] -> float32 [B, 320 T]; K may be fewer than 8, of the streams from ``first`` on."""
        wav: Tensor = self.decoder(self.quantizer.decode(codes, first))[:, 0]
        return wav


def _card(name: str, published: Published) -> Card:
    residuals = (Stream(f"residual{number}", _CODES, "residual") for number in range(1, _CODEBOOKS))
    streams = (Stream("semantic", _CODES, "semantic"), *residuals)
    return Card(
        CodecSpec(name, 16_000, 320, streams, family="semi-decoupled", revision=published.revision),
        published,
        licence="Apache-2.0",
        source="Zhang et al., SpeechTokenizer, arXiv 2308.16692",
    )


class SpeechTokenizer(NetworkCodec):
    """SpeechTokenizer, trained on LibriSpeech: 50 frames/s of eight codes, the first near to what HuBERT hears.

    The weights decide between its two activations (ELU, Snake), so that own models of either kind load. The network
    sees the whole utterance: its LSTM goes both ways, and codes depend on everything that is said.
    """

    variable_codebooks: ClassVar[bool] = True
    card: ClassVar[Card] = _card(
        "speechtokenizer",
        Published(
            "fnlp/SpeechTokenizer",
            "4d54939beef00572fa7bfe41ee35a335c3732f51",
            ("speechtokenizer_hubert_avg/SpeechTokenizer.pt",),
        ),
    )

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None, num_codebooks: int | None = None) -> Self:
        """Load the published weights, or those of the file or folder ``checkpoint``.

        Args:
            device: of torch.
            checkpoint: instead of the published weights.
            num_codebooks: use the first so many streams; None uses all eight.

        Raises:
            ConfigError: it has not so many codebooks.
            WeightsError: the weights are neither here nor can they be fetched.
            FormatError: the checkpoint is not this codec's.
        """
        if num_codebooks is not None and not 1 <= num_codebooks <= _CODEBOOKS:
            raise ConfigError(f"codec {cls.card.spec.name!r} has 1 to {_CODEBOOKS} codebooks, not {num_codebooks}")
        codec = super().create(device=device, checkpoint=checkpoint)
        assert isinstance(codec.network, Network)
        codec.network.quantizer = codec.network.quantizer[:num_codebooks]
        codec.spec = dataclasses.replace(codec.spec, streams=codec.spec.streams[:num_codebooks])
        return codec

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Carry the state of the decoder's LSTM on."""
        network = self.network
        assert isinstance(network, Network)
        seen = reach(_STRIDES[::-1], first=0, unit=1, last=3)
        return walking_renderer(network.decoder, network.quantizer.decode, seen, self)

    @classmethod
    def unpack(cls, state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """Take the flat published file, or the "generator" of a training run's checkpoint."""
        given = only_tensors(nested(state, "generator"), path)
        return rename({name: tensor for name, tensor in given.items() if not name.startswith(_TRAINING)}, _SHORTER)

    @classmethod
    def build(cls, state: Mapping[str, Tensor], path: Path) -> Network:
        """Return the network with the activation that ``state`` has weights for."""
        return Network(_seanet.Snake if any(name.endswith(".alpha") for name in state) else _seanet.elu)


class SpeechTokenizerSnake(SpeechTokenizer):
    """SpeechTokenizer with Snake activations, trained on LibriSpeech and Common Voice; the one AnyGPT speaks with."""

    card: ClassVar[Card] = _card(
        "speechtokenizer-snake",
        Published(
            "fnlp/AnyGPT-speech-modules",
            "47320f954f02f108d0359fb80cd481038bba6be9",
            ("speechtokenizer/ckpt.dev",),
        ),
    )
