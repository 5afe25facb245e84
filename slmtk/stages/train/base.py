"""What a model starts from: nothing, a language model, or a model that slmtk trained before."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmtk.data.dataset import DatasetFolder
from slmtk.errors import ConfigError, FormatError
from slmtk.models.config import SpeechLMConfig
from slmtk.stages.train.config import ARCHITECTURE, TrainConfig


@dataclass(frozen=True)
class Base:
    """What is known of ``--base`` before its weights are read.

    Attributes:
        kind: "tiny" (from scratch), "folder" or "hub" (a causal language model), or "slmtk".
        speech: configuration of a slmtk model.
        tokenizer: where its text tokenizer is; None if it brings none.
    """

    kind: str
    speech: SpeechLMConfig | None = None
    tokenizer: str | None = None


def find_base(config: TrainConfig) -> Base:
    """Look at ``config.base`` without fetching anything.

    Raises:
        FormatError: a folder whose config.json cannot be read.
    """
    if config.base == "tiny":
        return Base("tiny")
    folder = Path(config.base)
    if not folder.is_dir():
        return Base("hub", tokenizer=config.base)
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    if values.get("model_type") != SpeechLMConfig.model_type:
        # Of a folder without a tokenizer's files transformers would make an empty one.
        has_tokenizer = any(folder.glob("*token*")) or any(folder.glob("vocab*"))
        return Base("folder", tokenizer=config.base if has_tokenizer else None)
    # A checkpoint lies two folders below its model, which has the tokenizer.
    for place in (folder, folder.resolve().parent.parent):
        if (place / "tokenizer").is_dir():
            return Base("slmtk", SpeechLMConfig.from_dict(values), str(place / "tokenizer"))
    raise FormatError(f"{folder} holds a slmtk model without its tokenizer/; copy the whole folder that train made")


def resolve(config: TrainConfig, base: Base, folder: DatasetFolder) -> TrainConfig:
    """Fill in what the settings leave open: from a slmtk model as base, else from `ARCHITECTURE`.

    Raises:
        ConfigError: the settings contradict the base, or name streams that the codec does not have.
    """
    order = stream_numbers(config.stream_order, folder)
    given = {name: getattr(config, name) for name in ARCHITECTURE}
    found: dict[str, Any] = dict(ARCHITECTURE)
    if base.speech is not None:
        found = {name: getattr(base.speech, name) for name in ("layout", "frames_per_step", "head", "fusion")}
        found["reference_prompt"] = base.speech.reference_prompt
        found["speaker_aware"] = bool(base.speech.speaker_dim)
        _check_same(config, base.speech, {**given, "stream_order": order}, found)
    filled = {name: found[name] if given[name] is None else given[name] for name in ARCHITECTURE}
    if filled["layout"] != "grouped":
        filled["frames_per_step"] = 1
    if filled["reference_prompt"]:
        if config.speaker_aware:
            raise ConfigError("--speaker-aware conditions on a vector, --reference-prompt on codes; use one of them")
        filled["speaker_aware"] = False
    if order is None and base.speech is not None:
        order = base.speech.stream_order
    names = None if order is None else ",".join(folder.spec.streams[place].name for place in order)
    return replace(config, **filled, stream_order=names)


def _check_same(config: TrainConfig, speech: SpeechLMConfig, given: dict[str, Any], found: dict[str, Any]) -> None:
    found = {**found, "stream_order": speech.stream_order}
    wrong = [
        f"{name}: {found[name]!r}, asked for {value!r}"
        for name, value in given.items()
        # Other layouts have a frame a step, whatever was asked for.
        if value is not None and value != found[name] and not (name == "frames_per_step" and speech.layout != "grouped")
    ]
    if wrong:
        raise ConfigError(f"--base {config.base!r} was trained otherwise ({'; '.join(wrong)}); leave these options out")


def stream_numbers(names: str | None, folder: DatasetFolder) -> list[int] | None:
    """Streams of the dataset's codec by their names with commas, as their numbers; None for None.

    Raises:
        ConfigError: a stream is missing, named twice or unknown.
    """
    if names is None:
        return None
    known = [stream.name for stream in folder.spec.streams]
    wanted = [name.strip() for name in names.split(",")]
    if sorted(wanted) != sorted(known):
        raise ConfigError(
            f"--stream-order {names!r}: name every stream of codec {folder.spec.name!r} once: {','.join(known)}"
        )
    return [known.index(name) for name in wanted]
