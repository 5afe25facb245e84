"""What a speech language model is made of, saved as config.json beside its weights (tokens -> codes)."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.layout import Layout

HEADS = ("linear", "mlp", "transformer", "depth")
FUSIONS = ("mean", "concat")


class SpeechLMConfig(PreTrainedConfig):  # type: ignore[misc]
    """Settings of a `SpeechLM`; every field has a default, as transformers asks.

    Attributes:
        backbone: the language model's own configuration, as a dictionary with its ``model_type``.
        vocabulary: `Vocabulary.to_dict`: text size and the codec's spec, from which all token ids follow.
        layout: "grouped" (multi-token prediction), "interleaved" (next-token prediction) or "delayed" (all streams of
            a frame a step, each a frame later than the one before it).
        frames_per_step: g.
        stream_order: which of the codec's streams stands at place 0, 1, ... of a frame; None for the codec's order.
        head: "linear", "mlp" (hidden x 2, SiLU), "transformer" (two more layers over the backbone's hidden states) or
            "depth" (a small transformer over the codes of one step); the interleaved layout has none and ignores it.
        fusion: how the embeddings of a step's H codes become one: "mean", or "concat" (concatenation + MLP).
        speaker_dim: width of the speaker vector that replaces the placeholder's embedding, 0 for none.
        speaker_encoder: which encoder the speaker vectors come from: "codec" for the codec's own, else a plug-in's name
            such as "resemblyzer" or "wavlm"; "" if ``speaker_dim`` is 0.
        reference_prompt: whether a reference's codes stand in the prompt in place of a speaker vector.
        speaker_hidden: width of the hidden layer of the speaker's projection (1024 in the paper).
        text_weight: of the text's cross-entropy in the loss (grouped layout).
        speech_weight: of the mean over heads of the speech's cross-entropy in the loss (grouped layout).
        tasks: what the model was trained on, of `slmtk.data.prompts.TASKS`.
    """

    model_type = "slmtk-speech-lm"

    backbone: dict[str, Any] | None = None
    vocabulary: dict[str, Any] | None = None
    layout: str = "grouped"
    frames_per_step: int = 4
    stream_order: list[int] | None = None
    head: str = "linear"
    fusion: str = "mean"
    speaker_dim: int = 0
    speaker_encoder: str = ""
    reference_prompt: bool = False
    speaker_hidden: int = 1024
    text_weight: float = 0.2
    speech_weight: float = 0.8
    tasks: list[str] | None = None

    def __post_init__(self, **values: Any) -> None:
        """Say where vectors come from in a configuration older than the question: from the codec."""
        if self.speaker_dim and not self.speaker_encoder:
            self.speaker_encoder = "codec"
        super().__post_init__(**values)

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
        if self.reference_prompt and self.speaker_dim:
            raise ConfigError("a model takes a reference as codes in its prompt or as a speaker vector, not as both")
        if self.speaker_encoder and not self.speaker_dim:
            raise ConfigError(f"speaker encoder {self.speaker_encoder!r} needs a speaker_dim greater than 0")

    def make_layout(self) -> Layout:
        """The layout of these settings for the vocabulary's codec."""
        order = None if self.stream_order is None else tuple(self.stream_order)
        return Layout(self.layout, self.make_vocabulary().spec.num_codebooks, self.frames_per_step, order)

    def make_vocabulary(self) -> Vocabulary:
        """The vocabulary of these settings.

        Raises:
            ConfigError: there is none.
        """
        if not self.vocabulary:
            raise ConfigError("this configuration has no vocabulary; it is not one that slmtk train saved")
        return Vocabulary.from_dict(self.vocabulary)
