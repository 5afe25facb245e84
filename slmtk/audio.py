"""Sound files <-> float32 mono [S] in [-1, 1]: where the way from audio to codes begins and where it ends again."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from slmtk.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".w64")
_BLOCK = 1 << 20  # frames read at once: an hour of 48 kHz stereo is mixed down piece by piece
# torchaudio's resampling kernel holds about (source x target) values of the reduced rates; 44.1 -> 16 kHz: 441 x 160.
_MAX_KERNEL = 1 << 21
# Writers that cannot seek back leave a length near 2^31 or 2^32 in a wav header; that is not a lost tail.
_UNKNOWN_LENGTH = 0x7FFF_0000


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says.

    Attributes:
        sample_rate: Hz.
        num_samples: per channel.
        channels: how many.
    """

    sample_rate: int
    num_samples: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.num_samples / self.sample_rate


def info(source: Path | BinaryIO) -> AudioInfo:
    """Read the header of a sound file, not its samples.

    Raises:
        AudioError: kind "missing", "empty" or "unreadable".
    """
    with _open(source) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def read(path: Path, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Read a sound file of any rate, width and channel count that libsndfile knows (wav, flac, ogg, mp3, ...).

    Channels are averaged. Samples above full scale (float files, lossy decoders, peaks between the samples that
    resampling uncovers) are not cut: the whole recording is scaled so that its peak is 1. Recordings that were
    already clipped when they were made are read as they are.

    Args:
        path: the file.
        sample_rate: Hz to resample to; None keeps the file's own.

    Returns:
        float32 [S] in [-1, 1] and its rate in Hz.

    Raises:
        AudioError: kind "missing", "empty" (no samples), "truncated" (fewer samples than the header promises), "nan"
            (NaN or infinite samples) or "unreadable".
    """
    return read_stream(path, sample_rate)


def read_stream(source: Path | BinaryIO, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Do what `read` does, for a file or for one that lies in memory (`io.BytesIO`).

    Raises:
        AudioError: as `read`.
    """
    samples, rate = _decode(source)
    return _convert(samples, rate, sample_rate, source)


def read_span(source: Path | BinaryIO, start: int, stop: int, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Do what `read` does for a part of a recording; memory does not depend on the length of the rest.

    Args:
        source: the file, or one that lies in memory.
        start: first sample, at the file's own rate.
        stop: the one behind the last; a lossy file may end up to 0.1 s earlier.
        sample_rate: Hz to resample to; None keeps the file's own.

    Raises:
        AudioError: as `read`; "truncated" also if the recording breaks off elsewhere, where its header tells.
    """
    import soundfile

    name = _name(source)
    if not isinstance(source, Path):
        source.seek(0)
    with _open(source) as file:
        rate = file.samplerate
        missing = _promised_samples(file) - file.frames
        try:
            file.seek(start)
            samples = _mono(file.read(stop - start, dtype="float32", always_2d=True))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name} breaks off or is damaged: {error.error_string}", kind="truncated") from error
    missing = max(missing, stop - start - len(samples))
    if missing > rate // 10:
        raise AudioError(f"{name} lacks {missing} samples that its header promises", kind="truncated")
    if not len(samples):
        raise AudioError(f"{name} holds no samples from {start} on", kind="empty")
    return _convert(samples, rate, sample_rate, source)


def write(path: Path, wav: Tensor, sample_rate: int) -> None:
    """Write mono 16-bit audio under a temporary name, then rename: the file is whole or absent.

    Args:
        path: its suffix chooses the format: .wav, .flac, .ogg or .mp3. Missing folders are made.
        wav: float [S]; what lies outside [-1, 1] is clipped.
        sample_rate: Hz.

    Raises:
        AudioError: ``wav`` is not one-dimensional, holds NaN, or the suffix is unknown.
    """
    import soundfile

    if wav.ndim != 1 or not bool(wav.isfinite().all()):
        raise AudioError(f"cannot write {path}: audio is {list(wav.shape)}, expected finite samples [S]", kind="nan")
    kind = path.suffix.lower().lstrip(".").upper()
    if kind not in soundfile.available_formats():
        raise AudioError(f"cannot write {path}: unknown kind of file; use .wav or .flac", kind="unreadable")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    subtype = "PCM_16" if kind in ("WAV", "FLAC", "AIFF", "W64") else None
    samples = wav.detach().cpu().float().clamp(-1, 1).numpy()
    soundfile.write(temporary, samples, sample_rate, format=kind, subtype=subtype)
    os.replace(temporary, path)


def resample(wav: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Change the sampling rate with torchaudio's windowed sinc; equal rates return ``wav`` itself.

    Rates without a large common divisor would need a kernel of gigabytes. For them the ratio is replaced by the
    nearest one with a small kernel (at worst one part in 1,400, about a cent of pitch) and the length is made right.

    Args:
        wav: float32 [..., S].
        source_rate: Hz.
        target_rate: Hz.

    Returns:
        float32 [..., ceil(S * target_rate / source_rate)].
    """
    if source_rate == target_rate:
        return wav
    source, target = _small_ratio(source_rate, target_rate)
    length = -(-wav.shape[-1] * target_rate // source_rate)
    return _fit(_resampler(source, target)(wav) if source != target else wav, length)


def pad_to_frames(wav: Tensor, frame_size: int) -> Tensor:
    """Append zeros to the last axis until it is a whole number of frames, at least one: [..., S] -> [..., S']."""
    frames = max(1, -(-wav.shape[-1] // frame_size))
    return _fit(wav, frames * frame_size)


def _fit(wav: Tensor, length: int) -> Tensor:
    import torch

    if wav.shape[-1] >= length:
        return wav[..., :length]
    return torch.nn.functional.pad(wav, (0, length - wav.shape[-1]))


def _small_ratio(source_rate: int, target_rate: int) -> tuple[int, int]:
    ratio = Fraction(target_rate, source_rate)
    if ratio.numerator * ratio.denominator > _MAX_KERNEL:
        # Kernel size is numerator * denominator = denominator^2 * ratio.
        ratio = ratio.limit_denominator(max(1, int(math.sqrt(_MAX_KERNEL / max(ratio, Fraction(1, 1000))))))
    return ratio.denominator, ratio.numerator


@lru_cache(maxsize=16)
def _resampler(source: int, target: int) -> Any:
    from torchaudio.transforms import Resample

    return Resample(source, target)


def _name(source: Path | BinaryIO) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "name", "embedded audio"))


def _open(source: Path | BinaryIO) -> Any:
    import soundfile

    name = _name(source)
    if isinstance(source, Path):
        if not source.is_file():
            raise AudioError(f"{name} is not there", kind="missing")
        if not source.stat().st_size:
            raise AudioError(f"{name} is empty (0 bytes)", kind="empty")
    try:
        return soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name} is no sound file that libsndfile can read: {error.error_string}") from error


def _convert(
    samples: NDArray[np.float32], rate: int, sample_rate: int | None, source: Path | BinaryIO
) -> tuple[Tensor, int]:
    import torch

    wav = torch.from_numpy(samples)
    if sample_rate is not None and sample_rate != rate:
        wav, rate = resample(wav, rate, sample_rate), sample_rate
    peak = float(wav.abs().max())
    if not math.isfinite(peak):
        raise AudioError(f"{_name(source)} holds NaN or infinite samples", kind="nan")
    return (wav / peak if peak > 1 else wav), rate


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def _decode(source: Path | BinaryIO) -> tuple[Any, int]:
    import numpy as np
    import soundfile

    name, blocks = _name(source), []
    with _open(source) as file:
        rate, promised = file.samplerate, _promised_samples(file)
        try:
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                blocks.append(_mono(block))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name} breaks off or is damaged: {error.error_string}", kind="truncated") from error
    found = sum(map(len, blocks))
    if promised - found > rate // 10:  # less than 0.1 s is a lossy decoder's rounding
        raise AudioError(f"{name} holds {found} samples, its header promises {promised}", kind="truncated")
    if not found:
        raise AudioError(f"{name} holds no samples", kind="empty")
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return np.ascontiguousarray(samples), rate


def _promised_samples(file: Any) -> int:
    # libsndfile mends the length of a wav that lost its tail without an error, and says so in its log alone.
    mended = re.search(r"^ *data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if mended is not None:
        promised, there = int(mended[1]), int(mended[2])
        if 0 < there < promised < _UNKNOWN_LENGTH:
            return int(file.frames * promised / there)
    return int(file.frames) if file.frames < 1 << 48 else 0
