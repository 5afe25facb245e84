"""The codecs `wavtokenizer-75` and `wavtokenizer-40`: audio -> one stream of 4,096 codes -> audio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from slmtk.codecs import _seanet
from slmtk.codecs._blocks import nearest
from slmtk.codecs._network import CodecNetwork, NetworkCodec, nested, only_tensors, rename
from slmtk.codecs.base import Card
from slmtk.codecs.wavtokenizer.decoder import Backbone, Head
from slmtk.codecs.weights import Published
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream

_CODES = 4096
_WIDTH = 512
_STRIDES = {320: (2, 4, 5, 8), 600: (4, 5, 5, 6)}  # by frame size
# What audio goes through; the file holds discriminators, losses and an optimiser's state beside them.
_USED = ("feature_extractor.", "backbone.", "head.")
# A decoder that was replaced before training, and running statistics of the codebook.
_TRAINING = ("feature_extractor.encodec.decoder.",)
_SHORTER = {
    "feature_extractor.encodec.encoder.model.": "encoder.",
    "feature_extractor.encodec.quantizer.vq.layers.0._codebook.embed": "codebook",
    ".conv.conv.": ".",
}


class Network(CodecNetwork):
    """SEANet's encoder, one codebook, and a decoder that makes spectra of the whole utterance at once."""

    def __init__(self, strides: Sequence[int]) -> None:
        """``strides`` from audio to frames."""
        super().__init__()
        self.encoder = _seanet.encoder(32, strides, _WIDTH)
        self.codebook = nn.Parameter(torch.empty(_CODES, _WIDTH))
        self.backbone = Backbone(_WIDTH)
        self.head = Head(math.prod(strides))

    def encode(self, wav: Tensor) -> Tensor:
        """Float32 [B, S], S of any length -> codes int64 [B, 1, ceil(S / frame_size)]."""
        frames = self.encoder(wav[:, None]).transpose(1, 2)
        return nearest(frames.flatten(0, 1), self.codebook).view(len(wav), 1, -1)

    def decode(self, codes: Tensor, bandwidth: int = 0) -> Tensor:
        """Codes int64 [B, 1, T] -> float32 [B, T * frame_size].

        ``bandwidth`` 0 .. 3 chooses one of the norms' four sets of weights; all were trained for the same thing.
        """
        frames = self.codebook[codes[:, 0]].transpose(1, 2)
        wav: Tensor = self.head(self.backbone(frames, bandwidth))
        return wav


def _card(name: str, frame_size: int, published: Published) -> Card:
    spec = CodecSpec(name, 24_000, frame_size, (Stream("code", _CODES),), revision=published.revision)
    return Card(spec, published, licence="MIT", source="Ji et al., WavTokenizer, arXiv 2408.16532")


class WavTokenizer75(NetworkCodec):
    """WavTokenizer (large, speech, version 2): 75 frames/s of one code of 12 bits, audio at 24 kHz.

    Other published files of 75 frames a second (small, medium, music) load as well when they are named.
    """

    card: ClassVar[Card] = _card(
        "wavtokenizer-75",
        320,
        Published("novateur/WavTokenizer-large-speech-75token", "main", ("wavtokenizer_large_speech_320_v2.ckpt",)),
    )

    @classmethod
    def unpack(cls, state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """Take what inference needs of the published checkpoint's "state_dict", or of a flat file of the same names."""
        given = nested(state, "state_dict")
        used = {n: v for n, v in given.items() if n.startswith(_USED) and not n.startswith(_TRAINING)}
        return rename(only_tensors(used, path), _SHORTER)

    @classmethod
    def build(cls, state: Mapping[str, Tensor], path: Path) -> Network:
        """Return the network of this frame size.

        Raises:
            FormatError: ``state`` is of another frame size.
        """
        frame_size = cls.card.spec.frame_size
        window = state.get("head.istft.window")
        if window is not None and window.shape != (4 * frame_size,):
            raise FormatError(
                f"{path} is of a WavTokenizer of {len(window) / 4:g} samples a frame; {cls.card.spec.name} has "
                f"{frame_size}: use the other one of wavtokenizer-75 and wavtokenizer-40"
            )
        return Network(_STRIDES[frame_size])


class WavTokenizer40(WavTokenizer75):
    """WavTokenizer (large, speech, music and audio): 40 frames/s of one code of 12 bits, audio at 24 kHz."""

    card: ClassVar[Card] = _card(
        "wavtokenizer-40",
        600,
        Published(
            "novateur/WavTokenizer-large-unify-40token",
            "7dc47a9450ce71cab736434b7645604013ca028b",
            ("wavtokenizer_large_unify_600_24k.ckpt",),
        ),
    )
