"""The files of a released checkpoint: configuration, weights in one piece or several, and a tokenizer that also knows
speech. Part of checkpoint -> model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from slmtk.codecs.weights import read_state
from slmtk.data.text_tokenizer import HubTokenizer
from slmtk.errors import FormatError
from slmtk.models.released import is_speech_token

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
_SHAPE = {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of ``folder``, under the names they have there.

    Raises:
        FormatError: there are none, a piece is missing, or a file is damaged or holds more than tensors.
    """
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise FormatError(f"{folder} holds no weights; expected one of {', '.join(WEIGHTS)}")
    if path.suffix != ".json":
        return _tensors(path)
    index = read_object(path).get("weight_map")
    if not isinstance(index, Mapping) or not index:
        raise FormatError(f"{path} names no files of weights; expected a 'weight_map'")
    state: dict[str, Tensor] = {}
    for name in dict.fromkeys(map(str, index.values())):
        if Path(name).name != name or not (folder / name).is_file():
            raise FormatError(f"{path} names {name!r}, which is not in {folder}; copy all files of the checkpoint")
        state.update(_tensors(folder / name))
    missing = sorted(index.keys() - state.keys())
    if missing:
        raise FormatError(f"{path} names {len(missing)} tensors that its files lack (first: {missing[0]})")
    return state


def _tensors(path: Path) -> dict[str, Tensor]:
    state = read_state(path)
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise FormatError(f"{path} holds {strange[0]!r}, which is no tensor; expected the model's weights alone")
    return state


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FormatError: the file is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a {type(value).__name__}; expected a JSON object")
    return value


def backbone_settings(path: Path) -> dict[str, Any] | None:
    """The backbone's settings in a config.json, at its top or one level down; None if it has none."""
    values = read_object(path)
    candidates = [values, *(value for value in values.values() if isinstance(value, dict))]
    return next((dict(value) for value in candidates if value.keys() >= _SHAPE), None)


def added_tokens(folder: Path) -> dict[str, int]:
    """Names and ids of the tokens that were added to the tokenizer of ``folder``, from whichever file lists them.

    Raises:
        FormatError: a file is damaged, or two files disagree about an id.
    """
    found: dict[str, int] = {}
    for place, tokens in _lists(folder):
        for name, number in tokens.items():
            if found.setdefault(name, number) != number:
                raise FormatError(f"{place} gives the token {name} the id {number}, another file says {found[name]}")
    return found


def _lists(folder: Path) -> list[tuple[Path, dict[str, int]]]:
    lists = []
    try:
        if (path := folder / "tokenizer.json").is_file():
            lists.append((path, {str(t["content"]): int(t["id"]) for t in read_object(path).get("added_tokens", [])}))
        if (path := folder / "tokenizer_config.json").is_file():
            entries = read_object(path).get("added_tokens_decoder", {})
            lists.append((path, {str(entry["content"]): int(number) for number, entry in entries.items()}))
        if (path := folder / "added_tokens.json").is_file():
            lists.append((path, {str(name): int(number) for name, number in read_object(path).items()}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} lists its added tokens in a form that is not known ({error!r})") from error
    return lists


def text_tokenizer(folder: Path) -> HubTokenizer:
    """The tokenizer of ``folder`` without the tokens of speech: prompts are put together from ids, never from text.

    Raises:
        ConfigError: there is no tokenizer that can be loaded.
        FormatError: a file is damaged.
    """
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work)
        for name in TOKENIZER_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, copy / name)
        _rewrite(copy / "tokenizer.json", _without_list)
        _rewrite(copy / "tokenizer_config.json", _without_decoder)
        _rewrite(copy / "added_tokens.json", _without_names)
        return HubTokenizer(str(copy), name=folder.resolve().name)


def _rewrite(path: Path, change: Any) -> None:
    if path.is_file():
        path.write_text(json.dumps(change(read_object(path)), ensure_ascii=False), encoding="utf-8")


def _without_list(values: dict[str, Any]) -> dict[str, Any]:
    kept = [token for token in values.get("added_tokens", []) if not is_speech_token(token["content"])]
    return {**values, "added_tokens": kept}


def _without_decoder(values: dict[str, Any]) -> dict[str, Any]:
    entries = values.get("added_tokens_decoder", {})
    kept = {number: entry for number, entry in entries.items() if not is_speech_token(entry["content"])}
    special = [name for name in values.get("additional_special_tokens") or [] if not is_speech_token(str(name))]
    return {**values, "added_tokens_decoder": kept, "additional_special_tokens": special}


def _without_names(values: dict[str, Any]) -> dict[str, Any]:
    return {name: number for name, number in values.items() if not is_speech_token(name)}
