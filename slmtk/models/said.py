"""What a model is asked to say, and what it said: text, questions and voices -> codes -> audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from slmtk.errors import ConfigError
from slmtk.models.voices import Voice

FORMS = ("text+speech", "speech")
"""Of an answer: written and then spoken, or spoken alone."""


@dataclass(frozen=True)
class Said:
    """One thing to say.

    Attributes:
        text: to read, or the question to answer.
        voice: to say it in.
        seed: of its random choices, None for the sampling's.
    """

    text: str
    voice: Voice
    seed: int | None = None


@dataclass(frozen=True)
class Ask:
    """One question.

    Attributes:
        question: in writing; not read where ``question_codes`` are there.
        voice: to answer in.
        question_codes: int [K, T], the spoken question by the model's codec, which is then what the model hears.
        form: of the answer, one of `FORMS`.
        seed: of its random choices, None for the sampling's.
    """

    question: str | None
    voice: Voice
    question_codes: NDArray[Any] | None = None
    form: str = "text+speech"
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check that something is asked.

        Raises:
            ConfigError: neither words nor codes, codes of no frames, or an unknown form.
        """
        if self.form not in FORMS:
            raise ConfigError(f"no form {self.form!r} of an answer; expected one of {', '.join(FORMS)}")
        if self.question_codes is None:
            if self.question is None or not self.question.strip():
                raise ConfigError("nothing is asked: a question needs its text, or the codes of its speech")
        elif self.question_codes.ndim != 2 or not self.question_codes.shape[1]:
            raise ConfigError(
                f"a spoken question has codes of shape {list(self.question_codes.shape)}; expected [K, T], T 1 or more"
            )

    @property
    def task(self) -> str:
        """What the model has to know: "qa", "sqa", "qa-speech" or "sqa-speech"."""
        return ("qa" if self.question_codes is None else "sqa") + ("-speech" if self.form == "speech" else "")


@dataclass
class Speech:
    """What the model said.

    Attributes:
        text: what it meant to say: the text it was given, or the answer it wrote; "" for an answer in speech alone.
        codes: int32 [K, T].
        wav: float32 [S].
        sample_rate: Hz.
        reason: "" for success, else "no_end", "loop", "too_long", "empty" or "no_speech".
        steps: of the model.
        seconds: of wall time from the beginning of its prompt to the end of its audio; in a batch the others' steps are
            in it.
        first_codes_seconds: until the first step of codes; the audio itself is decoded at the end.
    """

    text: str
    codes: NDArray[np.int32]
    wav: Tensor
    sample_rate: int
    reason: str
    steps: int
    seconds: float
    first_codes_seconds: float | None = None
