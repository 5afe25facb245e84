"""What a speech language model's forward pass answers: losses and what measures are made of. Tokens -> losses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class SpeechLMOutput(ModelOutput):  # type: ignore[misc]
    """What a forward pass with labels gives.

    Attributes:
        loss: float [], what training lowers.
        text_loss: float [], cross-entropy of the text; of text and codes together in the interleaved layout.
        head_losses: float [H], cross-entropy of each head (interleaved: [1], of the codes and ``<eosp>``).
        head_correct: int64 [H], how many targets each head ranks first.
        num_speech_targets: int64 [], how many targets each head has.
    """

    loss: Tensor | None = None
    text_loss: Tensor | None = None
    head_losses: Tensor | None = None
    head_correct: Tensor | None = None
    num_speech_targets: Tensor | None = None
