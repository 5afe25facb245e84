"""The door every recogniser comes through: speech -> words, to score what was synthesised."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk import plugins
from slmtk.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Recognizer(ABC):
    """Turns utterances into words; deterministic, and independent of what is recognised beside them."""

    name: str
    """Engine, model with revision and every setting that can change a text, as it is written into scores."""
    sample_rate: int = 16_000
    workers: int = 1
    """Processes that share the utterances of one call, if the engine runs in processes; texts do not depend on it."""
    rules: int = 1
    """Raised when the same name begins to give other texts (a mended decoder): kept transcripts count no longer."""

    @classmethod
    @abstractmethod
    def create(cls, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu") -> Recognizer:
        """Load it; ``model`` is a local folder or hub id, ``grammar`` a JSGF file that closes the vocabulary.

        A recogniser that has revisions or languages also takes ``revision`` (a tag or commit of a hub id, None for the
        newest) and ``language`` (two letters, as "en" or "zh").

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
    name: str,
    *,
    model: str | None = None,
    revision: str | None = None,
    grammar: Path | None = None,
    device: str = "cpu",
    language: str = "en",
) -> Recognizer:
    """Load the recogniser that a plug-in offers as ``name``.

    Args:
        name: of the plug-in.
        model: local folder or hub id, for recognisers that come without a model.
        revision: tag or commit of a hub id; None for the newest. A local folder has none.
        grammar: JSGF file that closes the vocabulary, for recognisers that take one.
        device: torch's name of where it runs.
        language: that is spoken, for recognisers that know several: two letters.

    Raises:
        PluginError: no such recogniser.
        MissingDependencyError: a package it needs is not installed.
        ConfigError: a setting was given that this recogniser has no use for.
        FormatError: the model or grammar cannot be read.
    """
    plug_in = plugins.load("slmtk.asr", name)
    takes = inspect.signature(plug_in.create).parameters
    settings: dict[str, Any] = {"revision": revision, "language": language}
    for setting, left_out in (("revision", None), ("language", "en")):
        if setting not in takes:
            value = settings.pop(setting)
            if value != left_out:
                raise ConfigError(f"the recogniser {name!r} has no choice of {setting}; leave out {value!r}")
    recognizer: Recognizer = plug_in.create(model=model, grammar=grammar, device=device, **settings)
    return recognizer
