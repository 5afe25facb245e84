"""FACodec's checkpoint files -> networks ready to run: found, read, loaded strictly, folded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import nn

from slmtk.codecs.facodec.layers import fold
from slmtk.codecs.facodec.model import Decoder, EncoderV1, EncoderV2, Redecoder
from slmtk.codecs.weights import load_strictly, read_state


def load_encoder(path: Path, *, version: int, device: str) -> EncoderV1 | EncoderV2:
    """Load ``ns3_facodec_encoder.bin`` (version 1) or ``ns3_facodec_encoder_v2.bin`` (version 2).

    Raises:
        FormatError: the file is damaged or not this one.
    """
    encoder = EncoderV1() if version == 1 else EncoderV2()
    _fill(encoder, path, (), device)
    return encoder


def load_decoder(path: Path, *, version: int, generator: bool, device: str) -> Decoder:
    """Load ``ns3_facodec_decoder.bin`` (version 1) or ``ns3_facodec_decoder_v2.bin`` (version 2).

    The heads that only training needs, 73.5 of some 100 million values, are known by name and left in the file, and so
    is the generator without ``generator``.

    Raises:
        FormatError: the file is damaged or not this one.
    """
    decoder = Decoder(mel_prosody=version == 2)
    unused: tuple[str, ...] = Decoder.TRAINING_ONLY
    if not generator:
        del decoder.model, decoder.timbre_linear
        unused += ("model.", "timbre_linear.")
    _fill(decoder, path, unused, device)
    return decoder


def load_redecoder(path: Path, *, device: str) -> Redecoder:
    """Load ``ns3_facodec_redecoder.bin``.

    Raises:
        FormatError: the file is damaged or not this one.
    """
    redecoder = Redecoder()
    _fill(redecoder, path, (), device)
    return redecoder


def _fill(module: nn.Module, path: Path, unused: Collection[str], device: str) -> None:
    load_strictly(module, read_state(path), path, unused)
    module.to(device).eval().requires_grad_(False)
    fold(module)
