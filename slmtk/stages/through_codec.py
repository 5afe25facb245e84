"""Recordings -> what a codec gives back of them: the other side of SIM-r."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec
from slmtk.speakers.timbre import codec_label

if TYPE_CHECKING:
    from torch import Tensor


class ThroughCodec:
    """Encodes and decodes; the codec is loaded when the first recording comes."""

    def __init__(self, codec: str, *, device: str = "cpu", checkpoint: Path | None = None) -> None:
        """Take the codec's plug-in name, or "module:Class", and weights instead of the published ones."""
        self._name = codec
        self._device = device
        self._checkpoint = checkpoint

    @property
    def name(self) -> str:
        """Codec and weights, for scores.

        Raises:
            SlmtkError: as `slmtk.codecs.base.load_codec`.
        """
        return codec_label(self._codec.spec)

    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Return what is left of a recording.

        Args:
            wav: float32 [S] in [-1, 1].
            sample_rate: Hz.

        Returns:
            float32 [S] at ``sample_rate``, on the CPU.

        Raises:
            SlmtkError: as `slmtk.codecs.base.load_codec`.
        """
        import torch

        spec = self._codec.spec
        samples = audio.resample(wav.float(), sample_rate, spec.sample_rate)
        padded = audio.pad_to_frames(samples, spec.frame_size)[None].to(self._device)
        with torch.inference_mode():
            found = self._codec.encode(padded)
            decoded = self._codec.decode(found.codes, found.speaker)[0].float().cpu()
        return audio.resample(decoded[: len(samples)], spec.sample_rate, sample_rate)[: len(wav)]

    @cached_property
    def _codec(self) -> Codec:
        return load_codec(self._name, device=self._device, checkpoint=self._checkpoint)
