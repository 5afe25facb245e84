"""Which texts are to be spoken in which voices, and what makes a line of speech this one and no other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slmtk.config import fingerprint, to_jsonable
from slmtk.errors import ConfigError, FormatError
from slmtk.models.config import SpeechLMConfig
from slmtk.models.own_voices import OwnVoices, own_name, own_place, read_voices
from slmtk.models.released_files import read_object
from slmtk.models.sampling import Sampling
from slmtk.models.voices import clips_of, codes_speaker
from slmtk.shards import open_codes
from slmtk.shards.writer import file_sha256
from slmtk.spec import CodecSpec
from slmtk.stages import dry_run
from slmtk.stages.lines import Line
from slmtk.stages.synth.config import SynthConfig

# No text is torn to shreds because somebody allows its speech a moment only.
_SHORTEST_PIECE = 2.0


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
    limit = piece_seconds(config)
    if config.split_long and limit < config.sampling.max_seconds:
        settings["piece_seconds"] = limit
    if config.n_best > 1:
        names = ("rerank", "recognizer", "recognizer_model", "grammar", "normalizer")
        settings |= {name: getattr(config, name) for name in names}
    plain: dict[str, Any] = to_jsonable(settings)
    return plain


def piece_seconds(config: SynthConfig) -> float:
    """A text is split if it takes longer to say: than the run's limit, or than the model speaks well, if it says that.

    Raises:
        FormatError: the model's slmtk.json is damaged.
    """
    if not config.split_long:
        return math.inf
    model = read_object(config.model / dry_run.MODEL_INFO).get("piece_seconds") or math.inf
    return max(min(config.sampling.max_seconds, float(model)), _SHORTEST_PIECE)


def settled_sampling(config: SynthConfig) -> Sampling:
    """How codes are chosen: as asked for, or as the model's own way is, where it is there and has one.

    Raises:
        FormatError: the model's slmtk.json is damaged.
        ConfigError: the model's own way is out of range.
    """
    info = config.model / dry_run.MODEL_INFO
    return config.sampling.or_own(read_object(info).get("sampling") or {}) if info.is_file() else config.sampling


def make_jobs(lines: Sequence[Line], config: SynthConfig, settings: dict[str, Any]) -> list[Job]:
    """Give every line its voice and its key.

    Raises:
        ConfigError: a line has no voice and the model, or its codec, needs one; or the model lacks one that is named.
        AudioError: a voice is not there.
        FormatError: a voice is a folder of codes without a speaker, or a damaged one.
    """
    needed, own = _needs_voice(config.model), read_voices(config.model)
    digest: Callable[[Path], Any] = cache(_voice_digest)
    jobs = []
    for number, line in enumerate(lines):
        voice = voice_of(line, number, config, own)
        if voice is None and needed:
            named = f" ({line.speaker!r} in its 'speaker' column is no recording)" if line.speaker else ""
            raise ConfigError(
                f"this model needs a voice for {line.id!r}{named}; give --speaker REF.wav, or a 'reference' column in "
                "the file of texts"
            )
        found = None if voice is None else digest(voice)
        jobs.append(Job(number, line, voice, fingerprint([settings, line.id, line.text, found])))
    return jobs


def voice_of(line: Line, number: int, config: SynthConfig, own: OwnVoices) -> Path | None:
    """The voice of line ``number``: its own, else one of the run's speakers in turn, else the model's default one.

    Args:
        line: a recording, or the name of a voice of the model, may stand in it.
        number: from 0.
        config: of the run.
        own: the voices that the model carries.

    Returns:
        what `Synthesizer.voice` makes a voice of, or None.

    Raises:
        ConfigError: the model has no voice of the name.
    """
    if line.reference is not None:
        return line.reference
    if line.speaker is not None and line.speaker in own.voices:
        return own_place(line.speaker)
    if config.speakers:
        voice = config.speakers[number % len(config.speakers)]
        name = own_name(voice)
        if name is not None:
            own.get(name)
        return voice
    return own_place(own.default) if own.default else None


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
    own = own_name(voice)
    if own is not None:  # its vectors are in the model's digest
        return ["own", own]
    named = codes_speaker(voice)
    if named is not None:
        return [open_codes(named[0]).index["fingerprint"], named[1]]
    digest = hashlib.sha256()
    for clip in clips_of(voice):
        digest.update(file_sha256(clip).encode())
    return [voice.stem if voice.is_file() else voice.resolve().name, digest.hexdigest()[:16]]
