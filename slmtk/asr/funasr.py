"""Paraformer and its kin: speech -> words as the FunASR package recognises them, Mandarin above all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funasr import AutoModel

from slmtk.asr.base import Recognizer
from slmtk.asr.pieces import audible_samples
from slmtk.config import folder_digest
from slmtk.errors import ConfigError, FormatError, first_line

if TYPE_CHECKING:
    from torch import Tensor

# What makes a model of FunASR: weights, settings, vocabulary, statistics of its features.
_PARTS = (".pt", ".yaml", ".json", ".mvn")


class FunasrRecognizer(Recognizer):
    """A model of FunASR alone: no voice activity detection, no punctuation, utterances one by one.

    Source: seed-tts-eval and F5-TTS score Mandarin with "paraformer-zh" called this way.
    """

    def __init__(self, model: str, device: str = "cpu", *, revision: str | None = None) -> None:
        """Load a model.

        Args:
            model: FunASR's name of it ("paraformer-zh"), a ModelScope id or a local folder.
            device: torch's name of where it runs.
            revision: tag or branch on ModelScope; None for the newest. A local folder has none.

        Raises:
            ConfigError: a local folder with a revision.
            FormatError: the model cannot be had or read.
        """
        if revision is not None and Path(model).is_dir():
            raise ConfigError(f"{model} is a local folder, which has no revision {revision!r}; leave the revision out")
        choice = {} if revision is None else {"model_revision": revision}
        try:
            with contextlib.redirect_stdout(sys.stderr):  # FunASR prints what it downloads
                self._model: Any = AutoModel(
                    model=model, device=device, disable_update=True, disable_pbar=True, log_level="ERROR", **choice
                )
        except (OSError, ValueError, KeyError, AssertionError, RuntimeError) as error:
            raise FormatError(
                f"{model}: not a model that FunASR can have or load ({first_line(error)}); without a network name a "
                "local folder"
            ) from error
        self.name = f"funasr-{version('funasr')} {model} {folder_digest(Path(self._model.model_path), _PARTS)}"

    @classmethod
    def create(
        cls,
        *,
        model: str | None = None,
        revision: str | None = None,
        grammar: Path | None = None,
        device: str = "cpu",
        language: str = "zh",
    ) -> FunasrRecognizer:
        """Load it; without ``model`` paraformer-zh. The language is the model's own.

        Raises:
            ConfigError: a ``grammar`` is named, or a revision of a local folder.
            FormatError: the model cannot be had or read.
        """
        if grammar is not None:
            raise ConfigError(f"funasr has an open vocabulary and no use for {grammar}")
        return cls(model or "paraformer-zh", device, revision=revision)

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, as the model writes it.

        Args:
            wavs: float32 [S] each, in [-1, 1], at 16 kHz.

        Returns:
            as many texts, in the same order; "" for silence.

        Raises:
            AudioError: kind "nan": a sample is NaN or infinite.
        """
        texts = []
        for wav in wavs:
            samples = audible_samples(wav)
            with contextlib.redirect_stdout(sys.stderr):
                found = self._model.generate(input=samples, batch_size_s=300) if len(samples) else []
            texts.append(found[0]["text"].strip() if found else "")
        return texts
