"""The door every speaker encoder comes through: speech -> a vector that says who speaks, for scores and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from slmtk import plugins
from slmtk.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

# Below -80 dB of full scale there is nothing that amplifying could make audible.
_SILENCE = 1e-4


class SpeakerEncoder(ABC):
    """Turns an utterance into a vector of unit length; the cosine of two vectors is their similarity."""

    name: str
    """Encoder and weights, as it is written into scores: similarities of different encoders do not compare."""
    dim: int
    sample_rate: int = 16_000

    @classmethod
    @abstractmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> SpeakerEncoder:
        """Load it; ``model`` is a local folder or hub id.

        Raises:
            ConfigError: this encoder has no use for ``model``.
            WeightsError: its weights are not here and cannot be fetched.
        """

    @abstractmethod
    def embed(self, wav: Tensor) -> Tensor:
        """Return the vector of one utterance.

        Args:
            wav: float32 [S] in [-1, 1] at ``sample_rate``.

        Returns:
            float32 [D] of length 1.

        Raises:
            AudioError: the utterance is empty or holds no speech to judge.
        """


def load_speaker_encoder(name: str, *, model: str | None = None, device: str = "cpu") -> SpeakerEncoder:
    """Load the speaker encoder that a plug-in offers as ``name``.

    Raises:
        PluginError: no such encoder.
        MissingDependencyError: a package it needs is not installed.
    """
    encoder: SpeakerEncoder = plugins.load("slmtk.speakers", name).create(model=model, device=device)
    return encoder


def load_named_encoder(name: str, *, device: str = "cpu") -> SpeakerEncoder:
    """Load "NAME", or "NAME:MODEL" with a local folder or hub id: one word for settings that are saved.

    Raises:
        PluginError: no such encoder.
        ConfigError: the encoder has no use for a model.
        WeightsError: its weights are not here and cannot be fetched.
        MissingDependencyError: a package it needs is not installed.
    """
    plugin, _, model = name.partition(":")
    return load_speaker_encoder(plugin, model=model or None, device=device)


def check_samples(wav: Tensor, sample_rate: int, min_seconds: float) -> None:
    """Raise if ``wav``, float32 [S] at ``sample_rate`` Hz, holds nothing that an encoder could judge.

    Raises:
        AudioError: kind "nan", "empty" (no sample, or silence) or "too_short" (less than ``min_seconds``).
    """
    if not bool(wav.isfinite().all()):
        raise AudioError("an utterance to compare holds NaN or infinite samples", kind="nan")
    if not wav.numel() or float(wav.abs().max()) < _SILENCE:
        raise AudioError("an utterance to compare is silent; a voice needs sound", kind="empty")
    if wav.numel() < min_seconds * sample_rate:
        raise AudioError(f"less than {min_seconds} s of speech in an utterance to compare", kind="too_short")
