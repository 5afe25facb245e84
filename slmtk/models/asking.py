"""Tasks, questions and voices -> the beginning of a prompt that a model goes on from. Text -> tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmtk.data.examples import prompt_start
from slmtk.data.prompts import ANSWER_TASKS, HEARING_TASKS, prefix_prompt
from slmtk.data.text_tokenizer import TextTokenizer
from slmtk.errors import ConfigError, FormatError
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.voices import Voice
from slmtk.spec import CodecSpec

NO_VOICE = "this model speaks in the voice of a reference; give --speaker REF.wav"


def check_task(task: str, tasks: Sequence[str]) -> None:
    """Refuse a task that a model of ``tasks`` was not trained for.

    Raises:
        ConfigError: says how a dataset for it is built.
    """
    if task in tasks:
        return
    mend = ""
    if task in ANSWER_TASKS:
        mend = "; build its dataset with --questions" + (" and --spoken-questions" if task in HEARING_TASKS else "")
        mend += "" if task == "qa" else f", --answer-task {task}"
    raise ConfigError(f"this model was trained for {', '.join(tasks)} and not for {task!r}{mend}")


def start_of(
    model: SpeechLM, tokenizer: TextTokenizer, task: str, text: str, voice: Voice, question: Tensor | None = None
) -> tuple[Tensor, int | None]:
    """Return what ``model`` goes on from: ids int64 [L, H], and the position of the speaker's place or None.

    Args:
        model: says how it is told a voice.
        tokenizer: the model's.
        task: one of `slmtk.data.prompts.SPEAKING_TASKS`.
        text: to read, or the question; not used for a spoken one.
        voice: to speak in.
        question: int64 [K, T], the spoken question.

    Raises:
        ConfigError: the model needs codes of a reference and the voice has none.
        FormatError: ``text`` is not Unicode text.
    """
    with_codes = bool(model.config.reference_prompt)
    if with_codes and voice.codes is None:
        raise ConfigError(NO_VOICE)
    aware = model.speaker is not None
    prompt = prefix_prompt(task, text, tokenizer, model.vocabulary, speaker_aware=aware, reference_prompt=with_codes)
    return prompt_start(prompt, model.vocabulary, model.layout, reference=voice.codes, question=question)


def question_codes(codes: NDArray[Any], spec: CodecSpec) -> Tensor:
    """Return the codes of a spoken question as int64 [K, T].

    Raises:
        FormatError: there are not as many streams as the codec has, or a code is out of its stream's range.
    """
    if len(codes) != spec.num_codebooks:
        raise FormatError(f"a spoken question has {len(codes)} streams of codes; {spec.name} has {spec.num_codebooks}")
    for stream, values in zip(spec.streams, codes, strict=True):
        if values.min() < 0 or values.max() >= stream.size:
            raise FormatError(
                f"a spoken question's stream {stream.name!r} holds {values.min()}..{values.max()}, "
                f"not 0..{stream.size - 1}; encode it with the model's codec"
            )
    return torch.from_numpy(np.array(codes, dtype=np.int64))


def seed_of(*parts: object) -> int:
    """A seed that depends on all of ``parts``; codes count by their values."""
    texts = [hashlib.sha256(part.numpy().tobytes()).hexdigest() if isinstance(part, Tensor) else part for part in parts]
    digest = hashlib.sha256("\x1f".join(str(text) for text in texts).encode()).digest()
    return int.from_bytes(digest[:7], "big")
