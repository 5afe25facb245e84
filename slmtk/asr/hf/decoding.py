"""Features -> texts, one class per kind of model, each so that a text does not depend on its batch mates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from slmtk.errors import ConfigError

if TYPE_CHECKING:
    from slmtk.asr.hf.loading import Parts

# CTC models whose whole network keeps padding out of speech; the tests hold their texts alone against those in company.
_MASKED_CTC = ("wav2vec2", "hubert", "wavlm", "parakeet_ctc")
# The authors of Moonshine stop it after this many tokens a second, where it begins to repeat itself.
_MOONSHINE_TOKENS_PER_SECOND = 6.5
# A word of half a second may be spelled with more than three.
_MOONSHINE_MIN_TOKENS = 10
# Whisper's decoder has 448 places, and half of them are for a prompt.
_MAX_TOKENS = 225
# Of a text: start, language, task, no time stamps.
_WHISPER_CONTROLS = 4


class Decoding(ABC):
    """How one kind of model turns features into texts: greedily, without a language model."""

    batched = False
    """Whether utterances of different lengths may share a call."""
    settings = ""
    """What of the settings changes a text, as it is written into the recogniser's name."""

    def __init__(self, parts: Parts) -> None:
        """Keep the parts."""
        self._parts = parts

    def extractor_settings(self) -> dict[str, Any]:
        """Return how the feature extractor pads."""
        return {"padding": True}

    @abstractmethod
    def texts(self, inputs: dict[str, Any], seconds: float) -> list[str]:
        """Return one text per utterance.

        Args:
            inputs: what the extractor made, on the model's device.
            seconds: of the longest utterance.
        """


class CtcDecoding(Decoding):
    """The likeliest token of every frame, equal neighbours joined, blanks left out."""

    def __init__(self, parts: Parts) -> None:
        """Models without attention mask would hear the padding of shorter batch mates: one utterance at a time."""
        super().__init__(parts)
        masked = parts.model_type.startswith("parakeet") or getattr(parts.extractor, "return_attention_mask", False)
        self.batched = bool(masked) and parts.model_type in _MASKED_CTC

    def texts(self, inputs: dict[str, Any], seconds: float) -> list[str]:
        """Return one text per utterance."""
        best = self._parts.model(**inputs).logits.argmax(-1)
        # Behind the end of a shorter utterance the model goes on writing letters.
        rows = [row[:length].tolist() for row, length in zip(best, self._lengths(inputs, best.shape[1]), strict=True)]
        # The blank is a special token: leaving those out before equal neighbours are joined would join "ll" too.
        tokenizer = self._parts.tokenizer
        texts: list[str] = tokenizer.batch_decode(rows)
        for special in tokenizer.all_special_tokens:
            texts = [text.replace(special, " ") for text in texts]
        return [" ".join(text.split()) for text in texts]

    def _lengths(self, inputs: dict[str, Any], frames: int) -> list[int]:
        """Return how many of the model's frames are speech."""
        model, mask = self._parts.model, inputs.get("attention_mask")
        if hasattr(model, "_get_output_attention_mask") and mask is not None:
            inside: list[int] = model._get_output_attention_mask(mask, target_length=frames).sum(-1).tolist()
            return inside
        rows = len(next(iter(inputs.values())))
        if rows == 1 or mask is None:
            return [frames] * rows
        lengths: list[int] = model._get_feat_extract_output_lengths(mask.sum(-1)).tolist()
        return lengths


class TransducerDecoding(Decoding):
    """Tokens frame by frame until a blank, with (TDT) or without (RNN-T) predicted durations."""

    batched = True

    def texts(self, inputs: dict[str, Any], seconds: float) -> list[str]:
        """Return one text per utterance; generate() lets a row write on until the longest has ended."""
        model, config = self._parts.model, self._parts.model.config
        frames = model.encoder._get_subsampling_output_length(inputs["attention_mask"].sum(-1))
        limits = (model.max_symbols_per_step * frames).clamp(min=1)
        # generate() takes the likeliest of all scores for the token, and those of the durations are among them.
        silenced = set(model.generation_config.suppress_tokens or ())
        silenced |= set(range(config.vocab_size, config.vocab_size + len(getattr(config, "durations", ()))))
        settings: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": int(limits.max())}
        written = model.generate(**inputs, **settings, suppress_tokens=sorted(silenced) or None)
        # The frame at which each token was written; a start token comes before them all.
        places = (written.durations.cumsum(1) - written.durations)[:, 1:]
        tokens = written.sequences[:, 1:]
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        kept = (places < frames[:, None]) & (steps < limits[:, None])
        kept &= (tokens != config.blank_token_id) & (tokens != config.pad_token_id)
        rows = [row[keep].tolist() for row, keep in zip(tokens, kept, strict=True)]
        texts: list[str] = self._parts.tokenizer.batch_decode(rows, skip_special_tokens=True, group_tokens=False)
        return texts


class GenerateDecoding(Decoding):
    """An encoder-decoder model that writes a text; alone, since its encoder may mix speech with padding."""

    def extractor_settings(self) -> dict[str, Any]:
        """Return how the feature extractor pads: some encoders want whole frames of 5 ms."""
        if self._parts.model_type != "moonshine_streaming":
            return {"padding": True}
        encoder = self._parts.model.config.encoder_config
        return {"padding": True, "pad_to_multiple_of": round(encoder.sample_rate * encoder.frame_ms / 1000)}

    def texts(self, inputs: dict[str, Any], seconds: float) -> list[str]:
        """Return one text per utterance."""
        limit = _MAX_TOKENS
        if self._parts.model_type.startswith("moonshine"):
            limit = max(_MOONSHINE_MIN_TOKENS, math.floor(seconds * _MOONSHINE_TOKENS_PER_SECOND))
        tokens = self._parts.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=limit)
        return list(self._parts.tokenizer.batch_decode(tokens, skip_special_tokens=True))


class WhisperDecoding(Decoding):
    """Whisper, for which every utterance is 30 s long: batch mates cannot be heard."""

    batched = True

    def __init__(self, parts: Parts, language: str) -> None:
        """Check the language.

        Raises:
            ConfigError: the checkpoint does not know it.
        """
        super().__init__(parts)
        self._generation: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        places = parts.model.config.max_target_positions - _WHISPER_CONTROLS
        self._generation["max_new_tokens"] = min(_MAX_TOKENS, places)
        rules = parts.model.generation_config
        if getattr(rules, "is_multilingual", False):
            known = [token.strip("<|>") for token in getattr(rules, "lang_to_id", {})]
            if language not in known:
                raise ConfigError(f"the recogniser does not know the language {language!r}; it knows {' '.join(known)}")
            self._generation |= {"language": language, "task": "transcribe"}
            self.settings = f" {language}"
        elif language != "en":
            raise ConfigError(f"the recogniser knows English alone, not {language!r}; take one without '.en'")

    def extractor_settings(self) -> dict[str, Any]:
        """Return nothing: Whisper's extractor pads to 30 s unless told otherwise, and must."""
        return {}

    def texts(self, inputs: dict[str, Any], seconds: float) -> list[str]:
        """Return one text per utterance."""
        tokens = self._parts.model.generate(**inputs, **self._generation)
        return list(self._parts.tokenizer.batch_decode(tokens, skip_special_tokens=True))


def decoding_for(parts: Parts, language: str) -> Decoding:
    """Return what decodes a model; ``language`` counts for multilingual Whisper, others have the one they were taught.

    Raises:
        ConfigError: Whisper does not know the language.
    """
    if parts.model_type == "whisper":
        return WhisperDecoding(parts, language)
    kinds: dict[str, Callable[[Parts], Decoding]] = {
        "ctc": CtcDecoding,
        "transducer": TransducerDecoding,
        "generate": GenerateDecoding,
    }
    return kinds[parts.kind](parts)
