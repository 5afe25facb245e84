"""Which texts are to be spoken in which voices, and what makes a line of speech this one and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slmtk.config import fingerprint, to_jsonable
from slmtk.errors import ConfigError, FormatError
from slmtk.models.config import SpeechLMConfig
from slmtk.models.released_files import read_object
from slmtk.models.voices import clips_of, codes_speaker
from slmtk.shards import open_codes
from slmtk.shards.writer import file_sha256
from slmtk.spec import CodecSpec
from slmtk.stages import dry_run
from slmtk.stages.lines import Line
from slmtk.stages.synth.config import SynthConfig


@dataclass(frozen=True)
class Job:
    """A line to speak.

    Attributes:
        number: of the line, from 0.
        line: id and text.
        voice: what `Synthesizer.voice` makes a voice of; None for a model that needs none.
        key: digest of everything that its speech depends on.
    """

    number: int
    line: Line
    voice: Path | None
    key: str


def run_settings(config: SynthConfig) -> dict[str, Any]:
    """Everything but texts and voices that the speech depends on; where and how fast it is made is not in it.

    Raises:
        FormatError: the folder holds no finished model.
        ConfigError: the model was not trained to read aloud.
        CodecMismatchError: its codec here is another one.
    """
    if not config.model.is_dir():
        raise FormatError(f"{config.model} is no folder; expected one written by `slmtk train`")
    dry_run.model(config.model, "tts")
    settings: dict[str, Any] = {
        "model_digest": _model_digest(config.model),
        "codec_checkpoint": config.codec_checkpoint,
        "sampling": config.sampling,
        "split_long": config.split_long,
        "n_best": config.n_best,
    }
    if config.n_best > 1:
        names = ("rerank", "recognizer", "recognizer_model", "grammar", "normalizer")
        settings |= {name: getattr(config, name) for name in names}
    plain: dict[str, Any] = to_jsonable(settings)
    return plain


def make_jobs(lines: Sequence[Line], config: SynthConfig, settings: dict[str, Any]) -> list[Job]:
    """Give every line its voice and its key.

    Raises:
        ConfigError: a line has no voice and the model, or its codec, needs one.
        AudioError: a voice is not there.
        FormatError: a voice is a folder of codes without a speaker, or a damaged one.
    """
    needed = _needs_voice(config.model)
    digest: Callable[[Path], Any] = cache(_voice_digest)
    jobs = []
    for number, line in enumerate(lines):
        voice = line.reference or (config.speakers[number % len(config.speakers)] if config.speakers else None)
        if voice is None and needed:
            named = f" ({line.speaker!r} in its 'speaker' column is no recording)" if line.speaker else ""
            raise ConfigError(
                f"this model needs a voice for {line.id!r}{named}; give --speaker REF.wav, or a 'reference' column in "
                "the file of texts"
            )
        found = None if voice is None else digest(voice)
        jobs.append(Job(number, line, voice, fingerprint([settings, line.id, line.text, found])))
    return jobs


def _needs_voice(model: Path) -> bool:
    config = SpeechLMConfig(**read_object(model / "config.json"))
    spec = CodecSpec.from_dict(read_object(model / dry_run.MODEL_INFO)["codec"])
    return bool(config.speaker_dim or config.reference_prompt or spec.speaker_dim)


def _model_digest(folder: Path) -> str:
    """Of what the model computes with: weights, shape, tokenizer, and the codec that it speaks."""
    files = [*folder.glob("*.safetensors"), folder / "config.json", *(folder / "tokenizer").rglob("*")]
    digests = [(str(file.relative_to(folder)), file_sha256(file)) for file in sorted(files) if file.is_file()]
    return fingerprint([digests, read_object(folder / dry_run.MODEL_INFO)["codec"]])


def _voice_digest(voice: Path) -> Any:
    named = codes_speaker(voice)
    if named is not None:
        return [open_codes(named[0]).index["fingerprint"], named[1]]
    digest = hashlib.sha256()
    for clip in clips_of(voice):
        digest.update(file_sha256(clip).encode())
    return [voice.stem if voice.is_file() else voice.resolve().name, digest.hexdigest()[:16]]
