"""Where questions come from: a jsonl or Parquet file, a folder as the hub has it, or a dataset of the hub -> rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError, one_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SUFFIXES = (".jsonl", ".parquet", ".json")
_TRAINING = "train"


@dataclass(frozen=True)
class Table:
    """Rows of questions, recordings apart.

    Attributes:
        name: what the user called it, for messages.
        stem: for ids of rows that have none.
        folder: that paths in it are relative to; None for a dataset of the hub.
        columns: names of all columns.
        sounds: names of those that hold recordings.
        rows: values of the other columns.
        splits: the dataset's split of each row; "" where it has but one.
        cell: (number of a row, name of a column of sounds) -> {"bytes", "path"}.
    """

    name: str
    stem: str
    folder: Path | None
    columns: tuple[str, ...]
    sounds: frozenset[str]
    rows: Sequence[Mapping[str, Any]]
    splits: Sequence[str]
    cell: Callable[[int, str], Any]

    def value(self, number: int, column: str | None) -> Any:
        """Return what row ``number`` (from 0) has in ``column``; None for nothing, or no column."""
        if not column:
            return None
        return self.cell(number, column) if column in self.sounds else self.rows[number].get(column)


def looks_like_hub_id(source: str | Path) -> bool:
    """Tell whether ``source`` can be the id of a dataset, "owner/name", and is no path that is here."""
    here = Path(source).exists() or Path(source).suffix in _SUFFIXES
    return _HUB_ID.fullmatch(str(source)) is not None and not here


def read_table(source: str | Path, *, split: str | None = None, subset: str | None = None) -> Table:
    """Read the rows.

    Args:
        source: a .jsonl or .parquet file, a folder in the hub's layout or of `save_to_disk`, or a hub id "owner/name".
        split: of a dataset; None takes its test splits, else all that are not for training, else all.
        subset: configuration of a dataset.

    Raises:
        FormatError: it cannot be read, holds no row, or has no such split.
    """
    path = Path(source)
    table = (
        _dataset(source, split, subset)
        if path.is_dir() or path.suffix != ".jsonl"
        else table_of_rows(path, read_json_lines(path))
    )
    if not table.rows:
        raise FormatError(f"{source} holds no question; expected one row each")
    return table


def table_of_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table of ``rows``, which lie in the file ``path`` and hold no sounds."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(str(path), path.stem, path.parent, names, frozenset(), rows, [""] * len(rows), _no_cell)


def _no_cell(number: int, column: str) -> Any:
    raise KeyError(f"no sounds in row {number}, column {column}")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line; empty lines are left out.

    Raises:
        FormatError: it is something else.
    """
    try:
        # Not splitlines: JSON may hold line separators of Unicode inside a text.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as UTF-8 text: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path} line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise FormatError(f"{path} line {number} is not a JSON object: {line[:100]}")
        records.append(record)
    return records


def _dataset(source: str | Path, split: str | None, subset: str | None) -> Table:
    import datasets

    loaded = _load(source, split, subset)
    parts = _chosen(loaded, split, str(source))
    several = len(parts) > 1 or next(iter(parts)) not in (_TRAINING, "")
    whole = datasets.concatenate_datasets(list(parts.values())) if len(parts) > 1 else next(iter(parts.values()))
    splits = [name if several else "" for name, part in parts.items() for _ in range(len(part))]
    sounds = [name for name, feature in whole.features.items() if _is_sound(feature)]
    for name in sounds:
        if type(whole.features[name]).__name__ == "Audio":
            whole = whole.cast_column(name, datasets.Audio(decode=False))
    plain = whole.select_columns([name for name in whole.column_names if name not in sounds])
    path = Path(source)
    here = path if path.is_dir() else path.parent if path.is_file() else None
    return Table(
        name=str(source),
        stem=re.sub(r"[^\w.\-]+", "-", path.stem).strip("-.") or "question",
        folder=here,
        columns=tuple(whole.column_names),
        sounds=frozenset(sounds),
        rows=list(plain) if plain.column_names else [{} for _ in range(len(whole))],
        splits=splits,
        cell=lambda number, column: whole.select_columns([column])[number][column],
    )


def _is_sound(feature: Any) -> bool:
    return type(feature).__name__ == "Audio" or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def _load(source: str | Path, split: str | None, subset: str | None) -> Any:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    path = Path(source)
    try:
        if path.is_file():
            if path.suffix != ".parquet":
                raise FormatError(f"{path} is no file of questions; expected .jsonl or .parquet")
            return datasets.load_dataset("parquet", data_files=[str(path)])
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path.resolve()) if path.is_dir() else str(source), subset)
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        why = one_line(error)[:300]
        raise FormatError(
            f"cannot load the questions {str(source)!r}: {why}; expected a .jsonl or .parquet file, a folder of them, "
            "or a dataset of the hub (without a network: a folder fetched by `hf download --repo-type dataset`)"
        ) from error


def _chosen(loaded: Any, split: str | None, source: str) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        loaded = {str(loaded.split or ""): loaded}
    if split is not None:
        if split not in loaded:
            raise FormatError(f"{source} has no split {split!r}; choose one of {', '.join(loaded)} with --split")
        return {split: loaded[split]}
    tests = [name for name in loaded if name.lower().startswith(("test", "eval"))]
    names = tests or [name for name in loaded if name != _TRAINING] or list(loaded)
    return {name: loaded[name] for name in names}
