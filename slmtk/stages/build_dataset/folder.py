"""The folder that `build_dataset` writes into: whether it may, and what of an earlier run has to go."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from slmtk.data.dataset import FORMAT_VERSION, KIND, TOKENIZER_FOLDER
from slmtk.data.dataset_columns import INDEX_NAME
from slmtk.data.text_ids import FILE_NAME as TOKENIZER_FILE
from slmtk.errors import ConfigError

DROPPED_NAME = "dropped.jsonl"
CARD_NAME = "README.md"
_OUR_PART = re.compile(r"(train|dev|test)-\d{5}\.parquet|\.(train|dev|test|dropped)\.\d+\.tmp")


def open_index(out: Path) -> dict[str, Any] | None:
    """Return the index of the dataset that is in ``out`` already, None if there is room for one.

    Raises:
        ConfigError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    path = out / INDEX_NAME
    if not path.is_file():
        if (out / TOKENIZER_FOLDER / TOKENIZER_FILE).is_file():
            return None  # ours, interrupted
        raise ConfigError(f"{out} is not empty and holds no dataset; name another folder, or empty this one")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        kind = index.get("kind")
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is not an index of slmtk's; name another folder for the dataset") from error
    if kind != KIND:
        raise ConfigError(f"{out} holds {kind!r}, not a dataset; name another folder")
    return dict(index)


def up_to_date(out: Path, wanted: str, overwrite: bool) -> dict[str, Any] | None:
    """Return the index of a whole dataset of fingerprint ``wanted`` in ``out``, None if one has to be made.

    Raises:
        ConfigError: something else is there, or another dataset that must not be overwritten.
    """
    index = open_index(out)
    if index is None:
        return None
    if index.get("fingerprint") == wanted and index.get("format") == FORMAT_VERSION and _is_whole(out, index):
        return index
    if not overwrite and index.get("fingerprint") != wanted:
        raise ConfigError(
            f"{out} holds a dataset made from other codes or with other settings; "
            "name another folder, or add --overwrite to replace it"
        )
    return None


def clear(out: Path) -> None:
    """Take away what an earlier or interrupted run left, the index first; nothing that is not ours."""
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_NAME).unlink(missing_ok=True)
    for path in out.iterdir():
        if _OUR_PART.fullmatch(path.name) or path.name in (DROPPED_NAME, CARD_NAME):
            path.unlink()
    if (out / TOKENIZER_FOLDER).is_dir():
        shutil.rmtree(out / TOKENIZER_FOLDER)


def _is_whole(out: Path, index: dict[str, Any]) -> bool:
    entries = [entry for split in index["splits"].values() for entry in split["files"]]
    paths = [(out / entry["file"], entry["bytes"]) for entry in entries]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)
