"""Any speech recogniser of the transformers library: speech -> words with Whisper, wav2vec 2.0, HuBERT, ..."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk.asr.base import Recognizer
from slmtk.config import model_revision
from slmtk.errors import AudioError, ConfigError, FormatError

if TYPE_CHECKING:
    from torch import Tensor

# Whisper hears 30 s at a time; others could hear more, at a memory that grows with the square.
_MAX_SECONDS = 30.0
# Longer recordings are cut where they are quietest between these two times.
_EARLIEST_CUT_SECONDS = 25.0
_CUT_WINDOW_SECONDS = 0.02
# Convolutions need some hundred samples; shorter recordings get silence at their end.
_MIN_SECONDS = 0.1
# Below -80 dB of full scale nothing is heard; models make words up out of silence.
_SILENCE = 1e-4


class TransformersRecognizer(Recognizer):
    """A CTC or encoder-decoder model, decoded greedily, without a language model.

    Recordings longer than 30 s are cut at their quietest moment between 25 and 30 s of each piece. Models whose
    published preprocessing has no attention mask would hear the padding of shorter batch mates, so they get one
    utterance at a time, as do encoder-decoder models other than Whisper; Whisper pads every utterance to 30 s anyway.
    """

    def __init__(
        self, model: str, device: str = "cpu", *, language: str = "en", batch_size: int = 8, max_tokens: int = 225
    ) -> None:
        """Load model, feature extractor and tokenizer.

        Args:
            model: local folder or hub id.
            device: torch's name of where it runs; half precision on a GPU.
            language: of multilingual models.
            batch_size: utterances at a time, of similar length.
            max_tokens: that an encoder-decoder model may write for a piece of 30 s; Whisper has places for 225.
        """
        import torch
        from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer

        self._language = language
        self._max_tokens = max_tokens
        self._device = device
        self._dtype = torch.float16 if device.startswith("cuda") else torch.float32
        try:
            config = AutoConfig.from_pretrained(model)
            self._ctc, kind = _model_class(config, model)
            self._extractor: Any = AutoFeatureExtractor.from_pretrained(model)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            with _no_bars():
                self._model: Any = kind.from_pretrained(model, dtype=self._dtype).to(device).eval()
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = str(error).strip().splitlines()[:1]
            raise FormatError(
                f"{model}: not a speech recogniser that transformers can load ({' '.join(first)})"
            ) from error
        self.sample_rate = int(self._extractor.sampling_rate)
        self._is_whisper = config.model_type == "whisper"
        self._batch_size = batch_size if self._is_whisper or self._hears_masks() else 1
        self.name = f"transformers {model} {model_revision(model, config)}"

    @classmethod
    def create(
        cls, *, model: str | None = None, grammar: Path | None = None, device: str = "cpu"
    ) -> TransformersRecognizer:
        """Load it.

        Raises:
            ConfigError: no ``model`` is named, or a ``grammar`` is.
            FormatError: the model cannot be loaded or is no recogniser.
        """
        if grammar is not None:
            raise ConfigError(f"transformers recognisers have an open vocabulary and no use for {grammar}")
        if not model:
            raise ConfigError(
                "the recogniser 'transformers' needs a model: a local folder or a hub id such as "
                "openai/whisper-large-v3 or facebook/hubert-large-ls960-ft"
            )
        return cls(model, device)

    def transcribe(self, wavs: Sequence[Tensor]) -> list[str]:
        """Return one text per utterance, as the model writes it.

        Args:
            wavs: float32 [S] each, in [-1, 1], at ``sample_rate``.

        Returns:
            as many texts, in the same order; "" for silence.

        Raises:
            AudioError: kind "nan": a sample is NaN or infinite.
        """
        pieces: list[tuple[int, np.ndarray[Any, Any]]] = []
        for number, wav in enumerate(wavs):
            samples = wav.detach().cpu().numpy().astype(np.float32)
            if not np.isfinite(samples).all():
                raise AudioError("an utterance to recognise holds NaN or infinite samples", kind="nan")
            if np.abs(samples).max(initial=0.0) >= _SILENCE:
                pieces += [(number, piece) for piece in cut(samples, self.sample_rate)]
        heard = [""] * len(pieces)
        by_length = sorted(range(len(pieces)), key=lambda place: len(pieces[place][1]))
        for start in range(0, len(by_length), self._batch_size):
            places = by_length[start : start + self._batch_size]
            for place, text in zip(places, self._recognize([pieces[i][1] for i in places]), strict=True):
                heard[place] = text.strip()
        texts: list[list[str]] = [[] for _ in wavs]
        for (number, _), text in zip(pieces, heard, strict=True):
            texts[number].append(text)
        return [" ".join(part for part in parts if part) for parts in texts]

    def _hears_masks(self) -> bool:
        """Tell whether the model tells padding from speech, and how many frames of its output are speech."""
        masked = bool(getattr(self._extractor, "return_attention_mask", False))
        return self._ctc and masked and hasattr(self._model, "_get_feat_extract_output_lengths")

    def _recognize(self, batch: list[np.ndarray[Any, Any]]) -> list[str]:
        import torch

        shortest = int(_MIN_SECONDS * self.sample_rate)
        batch = [np.pad(samples, (0, max(0, shortest - len(samples)))) for samples in batch]
        # Whisper's extractor pads to 30 s unless told otherwise, and must.
        padding = {} if self._is_whisper else {"padding": True}
        features = self._extractor(batch, sampling_rate=self.sample_rate, return_tensors="pt", **padding)
        inputs = {
            key: value.to(self._device, self._dtype if value.is_floating_point() else value.dtype)
            for key, value in features.items()
        }
        with torch.inference_mode():
            if self._ctc:
                return self._decode_ctc(self._best_tokens(inputs))
            tokens = self._model.generate(**inputs, **self._generation())
        return list(self._tokenizer.batch_decode(tokens, skip_special_tokens=True))

    def _best_tokens(self, inputs: dict[str, Any]) -> list[list[int]]:
        best = self._model(**inputs).logits.argmax(-1)
        if len(best) == 1:
            return [best[0].tolist()]
        # Behind the end of a shorter utterance the model goes on writing letters.
        lengths = self._model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
        return [row[:length].tolist() for row, length in zip(best, lengths.tolist(), strict=True)]

    def _decode_ctc(self, tokens: list[list[int]]) -> list[str]:
        # The blank is a special token: leaving those out before equal neighbours are joined would join "ll" too.
        texts: list[str] = self._tokenizer.batch_decode(tokens)
        for special in self._tokenizer.all_special_tokens:
            texts = [text.replace(special, " ") for text in texts]
        return [" ".join(text.split()) for text in texts]

    def _generation(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        if self._is_whisper:
            # Places of the decoder, less Whisper's four control tokens.
            settings["max_new_tokens"] = min(self._max_tokens, self._model.config.max_target_positions - 4)
            if getattr(self._model.generation_config, "is_multilingual", False):
                settings |= {"language": self._language, "task": "transcribe"}
        return settings


def cut(samples: np.ndarray[Any, Any], sample_rate: int) -> list[np.ndarray[Any, Any]]:
    """Cut a recording into pieces of 30 s or less, each at the quietest 20 ms of its last 5 s; nothing is lost."""
    longest, earliest = (int(seconds * sample_rate) for seconds in (_MAX_SECONDS, _EARLIEST_CUT_SECONDS))
    window = max(1, int(_CUT_WINDOW_SECONDS * sample_rate))
    pieces = []
    while len(samples) > longest:
        energy = np.square(samples[earliest:longest], dtype=np.float64)
        frames = energy[: len(energy) // window * window].reshape(-1, window).sum(axis=1)
        end = earliest + int(frames.argmin()) * window + window // 2
        pieces.append(samples[:end])
        samples = samples[end:]
    return [*pieces, samples]


@contextmanager
def _no_bars() -> Iterator[None]:
    """Switch off the bar that transformers draws for weights that are read in a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _model_class(config: Any, model: str) -> tuple[bool, Any]:
    """Tell whether a model is a CTC one, and which class loads it.

    Raises:
        FormatError: it is no recogniser.
    """
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CTC_MAPPING_NAMES,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )

    if config.model_type in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return False, AutoModelForSpeechSeq2Seq
    architectures = config.architectures or ["ForCTC"]
    if config.model_type in MODEL_FOR_CTC_MAPPING_NAMES and any(name.endswith("ForCTC") for name in architectures):
        return True, AutoModelForCTC
    raise FormatError(f"{model} is a {config.model_type} model ({', '.join(architectures)}), not a speech recogniser")
