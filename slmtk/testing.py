"""Contract tests for plug-ins: what every codec on the way audio -> codes -> audio has to keep, ours and others'."""

from __future__ import annotations

import torch
from torch import Tensor

from slmtk.codecs.base import Codec, Encoded, check_codes
from slmtk.codecs.streaming import Pace, stream_decode
from slmtk.errors import PluginError, ShapeError


def check_codec(codec: Codec, *, seconds: float = 0.5, seed: int = 0) -> None:
    """Raise unless ``codec`` keeps the contract of `slmtk.codecs.base.Codec`.

    Checked on noise and tones of ``seconds``: shapes, types and ranges; the same codes for the same audio; codes of an
    utterance that do not depend on its batch mates; audio of the promised length within [-1, 1], and the same audio
    when the codes come bit by bit, unless the codec has no `Codec.decode_context`; the same audio of the mean of codes
    that are certain, if the codec averages; refusal of audio that is no whole number of frames, and of codes out of
    range.

    Raises:
        PluginError: says which promise is broken.
    """
    spec = codec.spec
    wav = _audio(max(1, round(seconds * spec.frame_rate)) * spec.frame_size, spec.sample_rate, seed)
    encoded = codec.encode(wav)
    frames = wav.shape[1] // spec.frame_size
    _promise(encoded.codes.dtype == torch.int64, f"codes are {encoded.codes.dtype}, not int64")
    shape = (len(wav), spec.num_codebooks, frames)
    _promise(tuple(encoded.codes.shape) == shape, f"codes are {list(encoded.codes.shape)}, not {list(shape)}")
    _promise((encoded.speaker is None) == (spec.speaker_dim == 0), "speaker vectors and spec.speaker_dim disagree")
    try:
        check_codes(encoded.codes, spec, encoded.speaker)
    except ShapeError as error:
        raise PluginError(f"codec {spec.name!r} breaks its contract: {error}") from error
    again = codec.encode(wav)
    _promise(torch.equal(again.codes, encoded.codes), "the same audio gave other codes the second time")
    for row in range(len(wav)):
        alone = codec.encode(wav[row : row + 1])
        _promise(torch.equal(alone.codes[0], encoded.codes[row]), "an utterance's codes depend on its batch mates")
    decoded = codec.decode(encoded.codes, encoded.speaker)
    _promise(tuple(decoded.shape) == tuple(wav.shape), f"audio is {list(decoded.shape)}, not {list(wav.shape)}")
    _promise(bool(decoded.isfinite().all()) and float(decoded.abs().max()) <= 1.0, "audio is not within [-1, 1]")
    _check_stream(codec, encoded, decoded)
    if codec.can_average:
        _check_average(codec, encoded, decoded)
    _check_refusals(codec, wav, encoded.codes, encoded.speaker)


def _check_stream(codec: Codec, encoded: Encoded, whole: Tensor) -> None:
    pace = Pace(first_seconds=0.05, growth=1.2, most_seconds=0.1)
    piece = max(1, round(0.04 * codec.spec.frame_rate))
    for row, expected in enumerate(whole.cpu()):
        speaker = None if encoded.speaker is None else encoded.speaker[row]
        pieces = torch.split(encoded.codes[row], piece, dim=1)
        wav = torch.cat([torch.from_numpy(part) for part in stream_decode(codec, pieces, speaker, pace)])
        _promise(len(wav) == len(expected), f"codes that come bit by bit give {len(wav)} samples, not {len(expected)}")
        if codec.renderer(speaker).fade:
            continue
        _check_audio(
            wav, expected, "codes that come bit by bit sound different (by {:.2g}): decode_context is too small"
        )


def _check_average(codec: Codec, encoded: Encoded, whole: Tensor) -> None:
    sizes = codec.spec.codebook_sizes
    for row, expected in enumerate(whole.cpu()):
        frames = encoded.codes[row].T
        sure = torch.zeros(*frames.shape, max(sizes)).scatter_(2, frames[..., None], 1.0)
        found = codec.average(sure)
        _promise(found.dtype == torch.int64, f"averaged codes are {found.dtype}, not int64")
        _promise(found.shape == frames.shape, f"averaged codes are {list(found.shape)}, not {list(frames.shape)}")
        speaker = None if encoded.speaker is None else encoded.speaker[row : row + 1]
        wav = codec.decode(found.T[None].contiguous(), speaker)[0].cpu()
        _check_audio(wav, expected, "the mean of codes that are certain sounds different (by {:.2g}) from them")


def _check_audio(wav: Tensor, expected: Tensor, broken: str) -> None:
    # -40 dB of the whole, or of one step of 16 bits where there is silence.
    allowed = 0.01 * max(float(expected.square().mean().sqrt()), 1 / 32768)
    found = float((wav - expected).square().mean().sqrt())
    _promise(found <= allowed, broken.format(found))


def _check_refusals(codec: Codec, wav: Tensor, codes: Tensor, speaker: Tensor | None) -> None:
    beyond = codes.clone()
    beyond[0, 0, 0] = codec.spec.codebook_sizes[0]
    try:
        codec.decode(beyond, speaker)
    except ShapeError:
        pass
    else:
        _promise(False, "a code beyond its codebook was decoded; raise ShapeError (slmtk.codecs.base.check_codes)")
    if codec.spec.frame_size == 1:
        return
    try:
        codec.encode(wav[:, :-1])
    except ShapeError:
        return
    _promise(False, "audio of no whole number of frames was encoded; raise ShapeError (slmtk.codecs.base.check_wav)")


def _audio(samples: int, sample_rate: int, seed: int) -> Tensor:
    """Noise, a tone and silence: float32 [3, S]."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(samples, generator=generator).clamp(-3, 3)
    tone = 0.5 * torch.sin(torch.arange(samples) * (2 * torch.pi * 220 / sample_rate))
    return torch.stack([noise, tone, torch.zeros(samples)])


def _promise(kept: bool, broken: str) -> None:
    if not kept:
        raise PluginError(f"a codec breaks its contract: {broken}")
