"""What a speech language model is made of, saved as config.json beside its weights (tokens -> codes)."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.layout import Layout

HEADS = ("linear", "mlp")
FUSIONS = ("mean", "concat")


class SpeechLMConfig(PreTrainedConfig):  # type: ignore[misc]
    """Settings of a `SpeechLM`; every field has a default, as transformers asks.

    Attributes:
        backbone: the language model's own configuration, as a dictionary with its ``model_type``.
        vocabulary: `Vocabulary.to_dict`: text size and the codec's spec, from which all token ids follow.
        layout: "grouped" (multi-token prediction) or "interleaved" (next-token prediction).
        frames_per_step: g.
        head: "linear", or "mlp" (hidden x 2, SiLU).
        fusion: how the embeddings of a step's H codes become one: "mean", or "concat" (concatenation + MLP).
        speaker_dim: width of the speaker vector that replaces the placeholder's embedding, 0 for none.
        speaker_hidden: width of the hidden layer of the speaker's projection (1024 in the paper).
        text_weight: of the text's cross-entropy in the loss (grouped layout).
        speech_weight: of the mean over heads of the speech's cross-entropy in the loss (grouped layout).
        tasks: what the model was trained on: "tts", "qa".
    """

    model_type = "slmtk-speech-lm"

    backbone: dict[str, Any] | None = None
    vocabulary: dict[str, Any] | None = None
    layout: str = "grouped"
    frames_per_step: int = 4
    head: str = "linear"
    fusion: str = "mean"
    speaker_dim: int = 0
    speaker_hidden: int = 1024
    text_weight: float = 0.2
    speech_weight: float = 0.8
    tasks: list[str] | None = None

    def check(self) -> None:
        """Raise if the values do not describe a model.

        Raises:
            ConfigError: a value is unknown or missing.
        """
        if self.head not in HEADS:
            raise ConfigError(f"head {self.head!r} is unknown; expected one of {', '.join(HEADS)}")
        if self.fusion not in FUSIONS:
            raise ConfigError(f"fusion {self.fusion!r} is unknown; expected one of {', '.join(FUSIONS)}")
        if not self.backbone or not self.vocabulary:
            raise ConfigError("a speech language model's configuration needs a backbone and a vocabulary")

    def make_layout(self) -> Layout:
        """The layout of these settings for the vocabulary's codec."""
        return Layout(self.layout, self.make_vocabulary().spec.num_codebooks, self.frames_per_step)

    def make_vocabulary(self) -> Vocabulary:
        """The vocabulary of these settings.

        Raises:
            ConfigError: there is none.
        """
        if not self.vocabulary:
            raise ConfigError("this configuration has no vocabulary; it is not one that slmtk train saved")
        return Vocabulary.from_dict(self.vocabulary)
