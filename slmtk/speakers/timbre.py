"""A codec's own vector of who speaks as a speaker encoder: speech -> what the codec takes the voice for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec
from slmtk.errors import AudioError, ConfigError
from slmtk.speakers.base import SpeakerEncoder, check_samples
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# Codecs judge a voice by whole frames, and by much speech; of less than this hardly any is left.
_MIN_SECONDS = 0.2


class TimbreEncoder(SpeakerEncoder):
    """The speaker vector that a decoupled codec (world, facodec) takes out of the codes, brought to length 1.

    It says whether a voice is the same to the codec, which decodes with that vector; not whether it is the same to
    listeners or to an encoder that was trained to tell speakers apart.
    """

    def __init__(self, codec: Codec, device: str = "cpu") -> None:
        """Take a codec with speaker vectors, loaded on ``device``.

        Raises:
            ConfigError: the codec has none.
        """
        if not codec.spec.speaker_dim:
            raise ConfigError(f"codec {codec.spec.name!r} has no speaker vector to compare; world and facodec have one")
        self._codec = codec
        self._device = device
        self.dim = codec.spec.speaker_dim
        self.sample_rate = codec.spec.sample_rate
        self.name = codec_label(codec.spec)

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu", checkpoint: Path | None = None) -> TimbreEncoder:
        """Load the codec ``model``, by default world; ``checkpoint`` replaces its published weights.

        Raises:
            PluginError: no such codec.
            ConfigError: the codec has no speaker vector.
            WeightsError: its weights are not here and cannot be fetched.
        """
        return cls(load_codec(model or "world", device=device, checkpoint=checkpoint), device)

    def embed(self, wav: Tensor) -> Tensor:
        """Return the vector of one utterance.

        Args:
            wav: float32 [S] in [-1, 1] at the codec's rate.

        Returns:
            float32 [D] of length 1, on the CPU.

        Raises:
            AudioError: kind "nan", "too_short" (0.2 s are needed) or "empty" (silence, or the codec's average voice,
                whose vector is zero).
        """
        import torch

        check_samples(wav.detach(), self.sample_rate, _MIN_SECONDS)
        padded = audio.pad_to_frames(wav.detach().float(), self._codec.spec.frame_size)
        with torch.inference_mode():
            found = self._codec.encode(padded[None].to(self._device)).speaker
        assert found is not None  # its spec says that there is one
        vector: Tensor = found[0].float().cpu()
        length = vector.norm()
        if not length > 0:
            raise AudioError("the codec hears no voice in an utterance to compare", kind="empty")
        unit: Tensor = vector / length
        return unit.clone()


def codec_label(spec: CodecSpec) -> str:
    """Name and weights of a codec as they are written into scores: "world 1f2e3d4c"."""
    weights = spec.weights_sha256[:8] or spec.revision
    return f"{spec.name} {weights}".strip()
