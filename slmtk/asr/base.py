"""The door every recogniser comes through: speech -> words, to score what was synthesised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import plugins

if TYPE_CHECKING:
    from torch import Tensor


class Recognizer(ABC):
    """Turns utterances into words; deterministic, and independent of what is recognised beside them."""

    name: str
    """Engine and model with revision, as it is written into scores."""
    sample_rate: int = 16_000
    workers: int = 1
    """Processes that share the utterances of one call, if the engine runs in processes; texts do not depend on it."""

    @classmethod
    @abstractmethod
    def create(cls, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu") -> Recognizer:
        """Load it; ``model`` is a local folder or hub id, ``grammar`` a JSGF file that closes the vocabulary.

        Raises:
            ConfigError: this recogniser has no use for ``model`` or ``grammar``.
            FormatError: the model or grammar cannot be read.
        """

    @abstractmethod
    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance.

        Args:
            wavs: float32 [S] each, in [-1, 1], at ``sample_rate``; lengths may differ, S may be 0.

        Returns:
            as many texts, "" where nothing was heard; not normalised.
        """


def load_recognizer(
    name: str, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu"
) -> Recognizer:
    """Load the recogniser that a plug-in offers as ``name``.

    Raises:
        PluginError: no such recogniser.
        MissingDependencyError: a package it needs is not installed.
    """
    recognizer: Recognizer = plugins.load("slmtk.asr", name).create(model=model, grammar=grammar, device=device)
    return recognizer
