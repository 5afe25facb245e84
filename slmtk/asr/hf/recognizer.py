"""Any speech recogniser of the transformers library: utterances -> words, in batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk.asr.base import Recognizer
from slmtk.asr.hf.decoding import decoding_for
from slmtk.asr.hf.loading import load_parts
from slmtk.asr.pieces import audible_samples, batches_by_length, cut, prepared_ahead
from slmtk.errors import ConfigError
from slmtk.quiet import errors_only

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Convolutions need some hundred samples; shorter recordings get silence at their end.
_MIN_SECONDS = 0.1


class TransformersRecognizer(Recognizer):
    """A CTC, transducer or encoder-decoder model, decoded greedily, without a language model.

    Recordings longer than 30 s are cut at their quietest moment between 25 and 30 s of each piece. Models that would
    hear the padding of shorter batch mates get one utterance at a time.
    """

    def __init__(
        self,
        model: str,
        device: str = "cpu",
        *,
        revision: str | None = None,
        language: str = "en",
        batch_size: int = 8,
    ) -> None:
        """Load model, feature extractor and tokenizer.

        Args:
            model: local folder or hub id.
            device: torch's name of where it runs; half precision on a GPU.
            revision: tag or commit of a hub id; None for the newest.
            language: of multilingual models.
            batch_size: utterances at a time, of similar length, where the model can be given several.

        Raises:
            ConfigError: a local folder with a revision, or a language that the model does not know.
            FormatError: the model cannot be loaded or is no recogniser.
        """
        import torch

        half = device.startswith("cuda")
        self._device = device
        self._dtype = torch.float16 if half else torch.float32
        parts = load_parts(model, revision, device, self._dtype)
        self._extractor = parts.extractor
        self._decoding = decoding_for(parts, language)
        self._batch_size = batch_size if self._decoding.batched else 1
        self.sample_rate = int(parts.extractor.sampling_rate)
        precision = " float16" if half else ""
        self.name = f"transformers {model} {parts.revision}{self._decoding.settings}{precision}"

    @classmethod
    def create(
        cls,
        *,
        model: str | None = None,
        revision: str | None = None,
        grammar: Path | None = None,
        device: str = "cpu",
        language: str = "en",
    ) -> TransformersRecognizer:
        """Load it.

        Raises:
            ConfigError: no ``model`` is named, a ``grammar`` is, or ``revision`` or ``language`` cannot be had.
            FormatError: the model cannot be loaded or is no recogniser.
        """
        if grammar is not None:
            raise ConfigError(f"transformers recognisers have an open vocabulary and no use for {grammar}")
        if not model:
            raise ConfigError(
                "the recogniser 'transformers' needs a model: a local folder or a hub id such as "
                "openai/whisper-large-v3 or facebook/hubert-large-ls960-ft"
            )
        return cls(model, device, revision=revision, language=language)

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, as the model writes it.

        Args:
            wavs: float32 [S] each, in [-1, 1], at ``sample_rate``.

        Returns:
            as many texts, in the same order; "" for silence.

        Raises:
            AudioError: kind "nan": a sample is NaN or infinite.
        """
        owners: list[int] = []
        pieces: list[NDArray[np.float32]] = []
        for number, wav in enumerate(wavs):
            samples = audible_samples(wav)
            parts = cut(samples, self.sample_rate) if len(samples) else []
            owners += [number] * len(parts)
            pieces += parts
        texts: list[list[str]] = [[] for _ in wavs]
        for number, text in zip(owners, self._recognize(pieces), strict=True):
            texts[number].append(text)
        return [" ".join(part for part in parts if part) for parts in texts]

    def _recognize(self, pieces: Sequence[NDArray[np.float32]]) -> list[str]:
        """Return the text of each piece of 30 s or less."""
        import torch

        heard = [""] * len(pieces)
        batches = batches_by_length(pieces, self._batch_size)
        # Features are made on the CPU for the next batch while the device listens to this one.
        for places, features in prepared_ahead(lambda places: self._features([pieces[i] for i in places]), batches):
            inputs = {
                key: value.to(self._device, self._dtype if value.is_floating_point() else value.dtype)
                for key, value in features.items()
            }
            seconds = max(len(pieces[place]) for place in places) / self.sample_rate
            with torch.inference_mode(), errors_only():
                texts = self._decoding.texts(inputs, seconds)
            for place, text in zip(places, texts, strict=True):
                heard[place] = text.strip()
        return heard

    def _features(self, batch: list[NDArray[np.float32]]) -> dict[str, Any]:
        shortest = int(_MIN_SECONDS * self.sample_rate)
        longer = [np.pad(samples, (0, max(0, shortest - len(samples)))) for samples in batch]
        padding = self._decoding.extractor_settings()
        return dict(self._extractor(longer, sampling_rate=self.sample_rate, return_tensors="pt", **padding))
