"""Voices that a model carries in its folder, by name: a voice to speak in without a recording.

A place ":NAME" means the voice NAME of the model, as "CODES_FOLDER:SPEAKER_ID" means a speaker of a folder of codes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from slmtk.errors import ConfigError, FormatError
from slmtk.models.voices import Voice

FILE_NAME = "voices.safetensors"
_PREFIX = ":"
_PARTS = ("speaker", "embedding", "codes")


@dataclass(frozen=True)
class OwnVoices:
    """The voices of a model.

    Attributes:
        voices: by name; empty for a model that carries none.
        default: the name of the one that speaks if none is asked for; "" if there are none.
    """

    voices: Mapping[str, Voice] = field(default_factory=dict)
    default: str = ""

    def get(self, name: str) -> Voice:
        """The voice ``name``.

        Raises:
            ConfigError: there is none; those that are there are named.
        """
        if name not in self.voices:
            has = f"it has {', '.join(self.voices)}" if self.voices else "it carries none"
            raise ConfigError(
                f"the model has no voice {name!r} of its own ({has}), and there is no recording or folder of that name"
            )
        return self.voices[name]


def own_place(name: str) -> Path:
    """The place ":NAME" that `Synthesizer.voice` takes for the model's own voice ``name``."""
    return Path(f"{_PREFIX}{name}")


def own_name(place: Path) -> str | None:
    """NAME of a place ":NAME"; None for any other place."""
    text = str(place)
    return text[len(_PREFIX) :] if text.startswith(_PREFIX) and len(text) > len(_PREFIX) else None


def write_voices(folder: Path, voices: OwnVoices) -> None:
    """Write ``voices`` into ``folder``, the same bytes for the same voices.

    Raises:
        ConfigError: there are none, the default is not among them, or a name cannot be one.
    """
    bad = [name for name in voices.voices if not name.replace("-", "").replace("_", "").isalnum()]
    if bad or voices.default not in voices.voices:
        raise ConfigError(
            f"voices {', '.join(voices.voices) or 'none'}, default {voices.default!r}; expected names of letters, "
            "digits, '-' and '_', and the default among them"
        )
    tensors: dict[str, Tensor] = {}
    for name, voice in voices.voices.items():
        parts = {"speaker": voice.speaker, "embedding": voice.embedding, "codes": voice.codes}
        for part, value in parts.items():
            if value is not None:
                tensors[f"{name}.{part}"] = value.cpu().to(torch.int32 if part == "codes" else torch.float32)
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # One entry of metadata: several are written in any order.
    temporary.write_bytes(save(tensors, {"default": voices.default}))
    os.replace(temporary, path)


def read_voices(folder: Path) -> OwnVoices:
    """Read the voices of the model in ``folder``; none if it carries none. The default one comes first.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return OwnVoices()
    try:
        with safe_open(path, "pt") as file:
            default = str((file.metadata() or {})["default"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError) as error:
        raise FormatError(f"{path} holds no voices ({error}); copy the model's folder again") from error
    found: dict[str, dict[str, Tensor]] = {default: {}}
    for key in sorted(tensors):
        name, _, part = key.rpartition(".")
        if part not in _PARTS:
            raise FormatError(f"{path} holds {key!r}, which is no part of a voice; copy the model's folder again")
        found.setdefault(name, {})[part] = tensors[key]
    return OwnVoices({name: _voice(name, parts) for name, parts in found.items()}, default)


def _voice(name: str, parts: Mapping[str, Tensor]) -> Voice:
    codes = parts.get("codes")
    return Voice(
        name, None, parts.get("speaker"), parts.get("embedding"), None if codes is None else codes.to(torch.int64)
    )
