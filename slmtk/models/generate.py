"""A prompt -> text and codes: a batch of one. Tokens -> codes."""

from __future__ import annotations

import torch
from torch import Tensor

from slmtk.models.decoding.batch import BatchGenerator, Generated, Request
from slmtk.models.sampling import Sampling
from slmtk.models.speech_lm import SpeechLM

__all__ = ["Generated", "generate"]


def generate(
    model: SpeechLM,
    prefix: list[int] | Tensor,
    placeholder: int | None,
    speaker: Tensor | None,
    sampling: Sampling,
    generator: torch.Generator,
) -> Generated:
    """Go on from ``prefix`` until the speech ends.

    Args:
        model: in eval mode.
        prefix: ids, `slmtk.data.prompts.prefix`, or int64 [L, H] where there are codes among them; speech begins at
            once if the last one is ``<sosp>``, else the model writes text until it emits ``<sosp>``.
        placeholder: index in ``prefix`` that the speaker's vector replaces.
        speaker: float32 [D].
        sampling: how codes are chosen; text is always the model's best.
        generator: of this utterance alone, on the CPU.

    Raises:
        ConfigError: a placeholder without a speaker vector.
    """
    request = Request(prefix, placeholder, speaker, sampling, generator=generator)
    ((_, result),) = BatchGenerator(model, batch_size=1).run([request])
    return result
