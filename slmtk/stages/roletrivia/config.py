"""What `roletrivia` is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError
from slmtk.models.said import FORMS
from slmtk.models.sampling import Sampling
from slmtk.stages.roletrivia.questions import Source

ASKS = ("text", "speech")
"""How questions are asked."""
MODEL = "model"
"""Name of the system that ``slmtk train`` wrote, beside the baselines."""


@dataclass(frozen=True)
class RoleTriviaConfig:
    """Settings of a benchmark run."""

    model: Path | None = None
    """Folder that ``slmtk train`` wrote, of a model trained to answer; None for baselines alone."""
    baselines: tuple[str, ...] = ()
    """Other systems: "text:BASE", or "cascade:BASE+MODEL" (BASE writes, MODEL reads it aloud)."""
    ask: str = "text"
    """How questions are asked: "text", or "speech" (a model trained on spoken questions hears their recordings)."""
    form: str = "text+speech"
    """Of the model's answers: written and then spoken, or "speech" alone."""
    source: Source = field(default_factory=Source)
    """How the questions are read."""
    recognizer: str = "pocketsphinx"
    """Plug-in that hears the answers."""
    recognizer_model: str | None = None
    """The recogniser's weights: a local folder or hub id."""
    recognizer_revision: str | None = None
    """Tag or commit of a hub id."""
    grammar: Path | None = None
    """JSGF file of all that can be heard; without it the recogniser's general language model."""
    cache: Path | None = None
    """Folder of kept transcripts, so that what was heard once is not recognised again; None keeps none."""
    encoder: str = "resemblyzer"
    """Plug-in that compares voices."""
    sampling: Sampling = field(default_factory=Sampling)
    """How text and codes are chosen."""
    batch_size: int = 8
    """Questions answered at once; answers do not depend on it."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the model's codec."""

    def __post_init__(self) -> None:
        """Check names and numbers.

        Raises:
            ConfigError: one is unknown or out of its range, or there is nobody to ask.
        """
        for what, name, known in (("--ask", self.ask, ASKS), ("--form", self.form, FORMS)):
            if name not in known:
                raise ConfigError(f"{what} {name!r}; expected one of {', '.join(known)}")
        if self.batch_size < 1:
            raise ConfigError(f"--batch-size {self.batch_size} must be 1 or more")
        if self.model is None and not self.baselines:
            raise ConfigError("nobody to ask: give --model DIR, or a --baseline")

    @property
    def task(self) -> str:
        """What the model has to know (`slmtk.models.said.Ask.task`)."""
        return ("qa" if self.ask == "text" else "sqa") + ("-speech" if self.form == "speech" else "")


@dataclass(frozen=True)
class RoleTriviaReport:
    """What a benchmark run came to; scores are as `scores.summarize` makes them.

    Attributes:
        out: the folder.
        questions: how many were asked.
        resumed: answers that an earlier run into the same folder had given already.
        recognizer: that heard the answers, with its model.
        encoder: that compared voices.
        normalizer: of texts and transcripts for the WER.
        seconds_audio: of the model's speech; of the first baseline where there is no model.
        seconds_wall: that the model took to answer, resumed answers included.
        all: scores of the model (of the first baseline where there is no model).
        splits: the same by split.
        roles: the same by role.
        systems: "all" and "splits" of every system by name, the model first.
    """

    out: str
    questions: int
    resumed: int
    recognizer: str
    encoder: str
    normalizer: str
    seconds_audio: float
    seconds_wall: float
    all: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    roles: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]
