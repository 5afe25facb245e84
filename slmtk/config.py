"""Frozen dataclasses <-> JSON and TOML: how a stage's settings are read, checked and kept beside its output."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from slmtk.errors import ConfigError


def to_jsonable(value: Any) -> Any:
    """Turn dataclasses, paths, tuples, sets (sorted), numpy numbers and arrays into what `json` writes.

    NaN and the infinities become null: strict JSON has no word for them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_jsonable(item) for item in value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON under a temporary name, then rename: the file is whole or absent."""
    write_text(path, json.dumps(to_jsonable(value), indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` under a temporary name, then rename: the file is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fingerprint(value: Any) -> str:
    """Hex digest (16 digits) of ``value``'s canonical JSON; equal settings give equal fingerprints."""
    canonical = json.dumps(to_jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lines "name was 1, is 2" for every setting that differs or is in one of the two alone."""
    return [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def model_revision(model: str, revision: str | None = None) -> str:
    """Which weights ``model`` has: the first digits of a hub id's commit, or of a digest of a local folder's weights.

    Raises:
        OSError: a local file cannot be read, or the hub cannot be asked and its cache does not know.
    """
    if not Path(model).is_dir():
        return hub_commit(model, revision)[:12]
    digest = hashlib.sha256()
    for path in sorted([*Path(model).glob("*.safetensors"), *Path(model).glob("pytorch_model*.bin")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:12]}"


def folder_digest(folder: Path, suffixes: Collection[str]) -> str:
    """Return "sha256:" and twelve digits over names and contents of the files in ``folder`` that end so.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in suffixes):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:12]}"


def hub_commit(model: str, revision: str | None = None) -> str:
    """Return the 40 digits of the commit that ``revision`` (None: "main") of a hub id stands for.

    Raises:
        OSError: the hub cannot be asked and its cache does not know.
    """
    from huggingface_hub import hf_hub_download

    # The hub's cache keeps the files of a commit in a folder of its name.
    return Path(hf_hub_download(model, "config.json", revision=revision)).parent.name


def unknown_key(key: str, known: Iterable[str], where: str) -> ConfigError:
    """Return the error for a key that nobody knows, naming the nearest one."""
    near = difflib.get_close_matches(key, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
    return ConfigError(f"{where}: unknown setting {key!r}{hint}")


def read_toml(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """Read settings from a flat TOML file; "-" and "_" in keys mean the same.

    Raises:
        ConfigError: the file is not TOML, a key is there in both spellings, or a key is not in ``known`` (the nearest
            one is named).
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    names = list(known)
    settings: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in names:
            raise unknown_key(key, names, str(path))
        if name in settings:
            raise ConfigError(f"{path} sets {name!r} twice; keep one")
        settings[name] = value
    return settings
