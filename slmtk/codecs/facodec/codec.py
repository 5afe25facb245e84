"""FACodec (NaturalSpeech 3): speech <-> content, prosody, residual and a voice, at 80 frames a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from slmtk.codecs.base import Card, Codec, Encoded, check_codes, check_wav
from slmtk.codecs.precision import full_precision
from slmtk.codecs.rendering import reach
from slmtk.codecs.weights import Published, locate, sha256_of
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream

if TYPE_CHECKING:
    from torch import Tensor

    from slmtk.codecs.facodec.model import Decoder, EncoderV1, EncoderV2, Redecoder

REPOSITORY = "amphion/naturalspeech3_facodec"
REVISION = "314afc3ea1455ba881a0e484ef9408b6cb996736"
SOURCE = "Ju et al., NaturalSpeech 3, arXiv 2403.03100"

_SPOKEN = (
    Stream("content1", 1024, "content"),
    Stream("content2", 1024, "content"),
    Stream("prosody", 1024, "prosody"),
)
_RESIDUAL = tuple(Stream(f"residual{number}", 1024, "residual") for number in (1, 2, 3))
# Of our streams, the networks' first, second, ... is at this place; theirs begin with prosody.
_TO_NETWORK = (2, 0, 1, 3, 4, 5)
_FROM_NETWORK = (1, 2, 0, 3, 4, 5)


# How far the generator sees: its activations five samples to either side, its three units a dilated convolution and
# two activations each.
_ACTIVATION = 5
_UNITS = 3 * (1 + 3 + 9) + 3 * 2 * _ACTIVATION
_REACH = reach((5, 5, 4, 2), first=3 + _ACTIVATION, unit=_UNITS + _ACTIVATION, last=3)


def _card(name: str, streams: tuple[Stream, ...], *files: str) -> Card:
    published = Published(REPOSITORY, REVISION, tuple(f"ns3_facodec_{file}.bin" for file in files))
    spec = CodecSpec(name, 16_000, 200, streams, "decoupled", speaker_dim=256, revision=REVISION)
    return Card(spec, published, licence="Apache-2.0", source=SOURCE)


class _Facodec(Codec):
    """What the members of the family share; an utterance at a time, so that none depends on its batch mates."""

    version: ClassVar[int]
    card: ClassVar[Card]
    decode_context: tuple[int, int] | None = _REACH

    def __init__(self, spec: CodecSpec, encoder: EncoderV1 | EncoderV2, decoder: Decoder, device: str) -> None:
        """Hold loaded networks; `create` loads them."""
        self.spec = spec
        self.encoder = encoder
        self.decoder = decoder
        self.device = device

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> Self:
        """Load the codec; ``checkpoint`` is a folder with the published files or their safetensors.

        Raises:
            FormatError: a file is damaged or not the one that is needed, or ``checkpoint`` is a single file.
            WeightsError: a file is neither here nor can it be fetched.
        """
        from slmtk.codecs.facodec.checkpoint import load_decoder, load_encoder

        paths = cls._locate(checkpoint)
        encoder = load_encoder(paths[0], version=cls.version, device=device)
        decoder = load_decoder(paths[1], version=cls.version, generator=len(paths) == 2, device=device)
        spec = dataclasses.replace(cls.card.spec, weights_sha256=sha256_of(*paths))
        return cls(spec, encoder, decoder, device)

    @classmethod
    def _locate(cls, checkpoint: Path | None) -> list[Path]:
        published = cls.card.published
        assert published is not None
        if checkpoint is not None and checkpoint.is_file():
            needed = " and ".join(published.files)
            raise FormatError(f"{checkpoint} is one file; {cls.card.spec.name} needs a folder with {needed}")
        return [locate(published, name, checkpoint) for name in published.files]

    def encode(self, wav: Tensor) -> Encoded:
        """Return codes int64 [B, K, T] and speaker vectors float32 [B, 256] of ``wav`` float32 [B, 200 T], 16 kHz.

        Raises:
            ShapeError: the audio is no whole number of frames.
        """
        import torch

        from slmtk.codecs.facodec.model import analyse, pad_short

        check_wav(wav, self.spec)
        frames = wav.shape[1] // self.spec.frame_size
        order = list(_FROM_NETWORK[: self.spec.num_codebooks])
        codes, speakers = [], []
        with torch.inference_mode(), full_precision():
            for row in wav.to(self.device, torch.float32):
                found = analyse(self.encoder, self.decoder, pad_short(row))
                codes.append(found.codes[order, :frames])
                speakers.append(found.speaker)
            return Encoded(torch.stack(codes).to(wav.device), torch.stack(speakers).to(wav.device))

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return float32 [B, 200 T] in [-1, 1] of ``codes`` int64 [B, K, T] in the voices ``speaker`` float32 [B, 256].

        Raises:
            ShapeError: codes or speaker vectors do not fit.
        """
        import torch

        check_codes(codes, self.spec, speaker)
        assert speaker is not None
        order = list(_TO_NETWORK[: self.spec.num_codebooks])
        with torch.inference_mode(), full_precision():
            rows = zip(codes.to(self.device), speaker.to(self.device, torch.float32), strict=True)
            return torch.stack([self._render(row[order], voice) for row, voice in rows]).to(codes.device)

    def _render(self, codes: Tensor, speaker: Tensor) -> Tensor:
        return self.decoder.render(self.decoder.embed(codes), speaker, None)


class FacodecV2(_Facodec):
    """FACodec V2, the three streams of which a speech language model speaks: content 1, content 2, prosody.

    Their order is that of arXiv 2506.12537 ("C-P"). The residual streams are left out in encoding and decoding.
    """

    version = 2
    card = _card("facodec", _SPOKEN, "encoder_v2", "decoder_v2")


class Facodec6V2(_Facodec):
    """FACodec V2 with all six streams: codes recordings most faithfully."""

    version = 2
    card = _card("facodec-full", _SPOKEN + _RESIDUAL, "encoder_v2", "decoder_v2")


class FacodecV1(_Facodec):
    """FACodec V1, content and prosody streams as in `FacodecV2`; its prosody codes come from the latent."""

    version = 1
    card = _card("facodec-v1", _SPOKEN, "encoder", "decoder")


class FacodecRedecoder(_Facodec):
    """FACodec V1's codes, rendered by the network that was trained to give them another voice."""

    version = 1
    card = _card("facodec-redecoder", _SPOKEN, "encoder", "decoder", "redecoder")

    redecoder: Redecoder
    decode_context = None  # its prosody goes through an attention over the whole utterance

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> Self:
        """Do what the other codecs' `create` does, with a third file.

        Raises:
            FormatError: a file is damaged or not the one that is needed, or ``checkpoint`` is a single file.
            WeightsError: a file is neither here nor can it be fetched.
        """
        from slmtk.codecs.facodec.checkpoint import load_redecoder

        codec = super().create(device=device, checkpoint=checkpoint)
        codec.redecoder = load_redecoder(cls._locate(checkpoint)[2], device=device)
        return codec

    def _render(self, codes: Tensor, speaker: Tensor) -> Tensor:
        return self.redecoder.render(self.redecoder.embed(codes, speaker), speaker, None)
