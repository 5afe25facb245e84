"""The door every speaker encoder comes through: speech -> a vector that says who speaks, for scores and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from slmtk import plugins

if TYPE_CHECKING:
    from torch import Tensor


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
