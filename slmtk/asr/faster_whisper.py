"""Whisper under CTranslate2: speech -> words as the faster-whisper package decodes them, by beam search."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faster_whisper

from slmtk.asr.base import Recognizer
from slmtk.asr.pieces import audible_samples
from slmtk.errors import ConfigError, FormatError, first_line

if TYPE_CHECKING:
    from torch import Tensor

# What the package's own default is, and what F5-TTS scores with.
_BEAMS = 5
# Where the best text is unlikely, the package would draw others at random, at higher temperatures. CTranslate2 goes on
# with its random numbers from utterance to utterance, so that a text would depend on what was heard before.
_TEMPERATURE = 0.0


class FasterWhisperRecognizer(Recognizer):
    """faster-whisper with five beams and its own windows in long sound, but without its further tries at random.

    Utterances are recognised one by one; the package has no batches of several recordings.
    """

    def __init__(self, model: str, device: str = "cpu", *, revision: str | None = None, language: str = "en") -> None:
        """Load a converted model.

        Args:
            model: a size as "large-v3", a hub id or a local folder with what CTranslate2's converter wrote.
            device: "cpu" (float32) or torch's name of a GPU (float16).
            revision: tag or commit of a hub id; None for the newest.
            language: that is spoken.

        Raises:
            ConfigError: a local folder with a revision, another device, or a language that the model does not know.
            FormatError: the model cannot be had or read.
        """
        kind, _, index = device.partition(":")
        if kind not in ("cpu", "cuda"):
            raise ConfigError(f"faster-whisper runs on cpu or cuda, not on {device!r}")
        precision = "float16" if kind == "cuda" else "float32"
        folder, identity = _locate(model, revision)
        try:
            self._model: Any = faster_whisper.WhisperModel(
                str(folder), device=kind, device_index=int(index or 0), compute_type=precision
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise FormatError(f"{model}: not a model that faster-whisper can load ({first_line(error)})") from error
        known = self._model.supported_languages
        if language not in known:
            raise ConfigError(f"{model} does not know the language {language!r}; it knows {' '.join(known)}")
        self._language = language
        self.name = f"faster-whisper-{version('faster-whisper')} {model} {identity} {language} {precision}"

    @classmethod
    def create(
        cls,
        *,
        model: str | None = None,
        revision: str | None = None,
        grammar: Path | None = None,
        device: str = "cpu",
        language: str = "en",
    ) -> FasterWhisperRecognizer:
        """Load it.

        Raises:
            ConfigError: no ``model`` is named, a ``grammar`` is, or ``revision``, ``device`` or ``language`` cannot be
                had.
            FormatError: the model cannot be had or read.
        """
        if grammar is not None:
            raise ConfigError(f"faster-whisper has an open vocabulary and no use for {grammar}")
        if not model:
            raise ConfigError(
                "the recogniser 'faster-whisper' needs a model: a size such as large-v3, a hub id such as "
                "Systran/faster-whisper-large-v3, or a local folder"
            )
        return cls(model, device, revision=revision, language=language)

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, as Whisper writes it.

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
            segments: Iterable[Any] = ()
            if len(samples):
                segments, _ = self._model.transcribe(
                    samples, language=self._language, beam_size=_BEAMS, temperature=_TEMPERATURE
                )
            texts.append(" ".join(segment.text.strip() for segment in segments))
        return texts


def _locate(model: str, revision: str | None) -> tuple[Path, str]:
    """Return a model's folder, fetched if need be, and its commit or the digest of its files.

    Raises:
        ConfigError: a local folder with a revision.
        FormatError: it cannot be had.
    """
    if Path(model).is_dir():
        if revision is not None:
            raise ConfigError(f"{model} is a local folder, which has no revision {revision!r}; leave the revision out")
        digest = hashlib.sha256()
        for path in sorted(path for path in Path(model).iterdir() if path.suffix in (".bin", ".json", ".txt")):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        return Path(model), f"sha256:{digest.hexdigest()[:12]}"
    try:
        folder = Path(faster_whisper.download_model(model, revision=revision))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{model} is no local folder and cannot be fetched from the hub ({first_line(error)}); where there is no "
            "internet, name a folder with the converted model"
        ) from error
    return folder, folder.name[:12]  # the hub's cache calls a folder by its commit
