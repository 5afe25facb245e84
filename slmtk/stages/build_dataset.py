"""Codes and text -> a dataset to train on; every row that is left out is counted and named."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.data.bpe import parse_bpe, train_bpe
from slmtk.data.card import dataset_card
from slmtk.data.dataset import FORMAT_VERSION, INDEX_NAME, KIND, TOKENIZER_FOLDER, DatasetRow
from slmtk.data.dataset_writer import DatasetWriter, SplitStats
from slmtk.data.filters import FilterConfig, check_columns, why_drop
from slmtk.data.prompts import normalize_text
from slmtk.data.questions import check_questions, read_questions
from slmtk.data.splits import SplitConfig, split_of
from slmtk.data.text_tokenizer import FILE_NAME as TOKENIZER_FILE
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.progress import Progress
from slmtk.shards import CodesFolder, CodesRow, check_row, open_codes

DROPPED_NAME = "dropped.jsonl"
CARD_NAME = "README.md"
_OUR_PART = re.compile(r"(train|dev|test)-\d{5}\.parquet|\.(train|dev|test|dropped)\.\d+\.tmp")


@dataclass(frozen=True)
class BuildDatasetConfig:
    """Settings of `build_dataset`.

    Attributes:
        tokenizer: "bytes", a hub id or a local folder: the text tokenizer of the model to be trained; "bpe:N" makes
            one of N tokens from the texts themselves, for a model trained from scratch.
        questions: jsonl of {"id", "question"}: those utterances are spoken answers.
        filters: what is left out.
        split: what is kept from training.
        overwrite: replace a dataset that OUT holds already.
    """

    tokenizer: str = "bytes"
    questions: Path | None = None
    filters: FilterConfig = field(default_factory=FilterConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    overwrite: bool = False


@dataclass(frozen=True)
class BuildDatasetReport:
    """What came of it.

    Attributes:
        out: the dataset's folder.
        rows_read: rows of all codes.
        rows_kept: rows of the dataset.
        rows_dropped: rows left out; ``dropped.jsonl`` names them.
        dropped: rows and seconds by the first reason that held.
        tasks: "tts", "qa" or both.
        splits: rows, seconds, frames, text tokens, speakers and files of each.
        warnings: what the user should know.
        up_to_date: the dataset was there already, made from the same input with the same settings.
    """

    out: str
    rows_read: int
    rows_kept: int
    rows_dropped: int
    dropped: dict[str, dict[str, float]]
    tasks: list[str]
    splits: dict[str, Any]
    warnings: list[str]
    up_to_date: bool = False


@dataclass
class _Drops:
    """Counts of rows left out, and the file that names them."""

    file: TextIO
    reasons: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, row: CodesRow, reason: str) -> None:
        counts = self.reasons.setdefault(reason, {"rows": 0, "seconds": 0.0})
        counts["rows"] += 1
        counts["seconds"] += row.duration
        line = {"id": row.id, "reason": reason, "seconds": round(row.duration, 3)}
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def summary(self) -> dict[str, dict[str, float]]:
        """Reasons in the order of the alphabet, so that it does not depend on which row came first."""
        return {
            reason: {"rows": int(counts["rows"]), "seconds": round(counts["seconds"], 3)}
            for reason, counts in sorted(self.reasons.items())
        }


def build_dataset(
    sources: Sequence[Path], out: Path, config: BuildDatasetConfig, progress: Progress
) -> BuildDatasetReport:
    """Merge folders of codes into one dataset.

    Args:
        sources: folders of codes of one codec; their rows keep this order.
        out: folder of the dataset; one made from the same input with the same settings is left as it is.
        config: tokenizer, questions, filters and split.
        progress: shows rows done.

    Raises:
        CodecMismatchError: the codes are of different codecs.
        FormatError: a folder of codes is unfinished or damaged, a code is out of its stream's range, an id occurs
            twice, or the questions' file is damaged.
        ConfigError: a setting cannot be used, ``out`` holds something else, or no row is left.
    """
    folders = _open_sources(sources, out)
    check_columns(config.filters.minimums, _columns(folders))
    questions = read_questions(config.questions) if config.questions else {}
    tokenizer = _make_tokenizer(config.tokenizer, folders, questions)
    index = _head(folders, tokenizer, questions, config)
    if (report := _existing(out, index["fingerprint"], config.overwrite)) is not None:
        progress.message(f"{out} is up to date: made from the same codes with the same settings")
        return report
    check_questions(questions, _unique_ids(folders))
    _clear(out)
    tokenizer.save(out / TOKENIZER_FOLDER)
    splits, drops, tasks = _write_rows(folders, out, tokenizer, questions, config, progress)
    warnings = _check_splits(splits, drops, config)
    index.update(tasks=tasks, splits=to_jsonable(splits), dropped=drops, warnings=warnings)
    write_text(out / CARD_NAME, dataset_card(index))
    write_json(out / INDEX_NAME, index)
    for warning in warnings:
        progress.message(f"warning: {warning}")
    return _report(out, index)


def _open_sources(sources: Sequence[Path], out: Path) -> list[CodesFolder]:
    if not sources:
        raise ConfigError("no folder of codes given")
    for source in sources:
        if out.resolve() == source.resolve():
            raise ConfigError(f"{out} is the folder of codes itself; name another folder for the dataset")
    folders = [open_codes(source) for source in sources]
    first = folders[0]
    for folder in folders[1:]:
        if folder.spec != first.spec:
            raise CodecMismatchError(
                f"codes of different codecs cannot be one dataset; {first.folder} and {folder.folder} differ in "
                + "; ".join(first.spec.differences(folder.spec))
            )
    return folders


def _columns(folders: Sequence[CodesFolder]) -> set[str]:
    import pyarrow.parquet as pq

    ours = {"text", "id", "speaker", "language", "source", "source_sha1", "codes", "speaker_vector"}
    return {name for folder in folders for part in folder.parts for name in pq.read_schema(part).names} - ours


def _unique_ids(folders: Sequence[CodesFolder]) -> dict[str, Path]:
    """Every id with its folder.

    Raises:
        FormatError: an id occurs twice.
    """
    seen: dict[str, Path] = {}
    for folder in folders:
        for row in folder.rows(("id",)):
            if row.id in seen:
                raise FormatError(
                    f"utterance {row.id!r} is in {seen[row.id]} and again in {folder.folder}; "
                    "ids must be unique in a dataset"
                )
            seen[row.id] = folder.folder
    return seen


def _make_tokenizer(name: str, folders: Sequence[CodesFolder], questions: Mapping[str, str]) -> TextTokenizer:
    size = parse_bpe(name)
    if size is None:
        return load_text_tokenizer(name)
    texts = (normalize_text(row.text) for folder in folders for row in folder.rows(["id", "text"]) if row.text)
    return train_bpe([*texts, *questions.values()], size)


def _head(
    folders: Sequence[CodesFolder], tokenizer: TextTokenizer, questions: dict[str, str], config: BuildDatasetConfig
) -> dict[str, Any]:
    """The part of the index that is known before a row is read; no path of this machine is in it."""
    settings = {
        "tokenizer": tokenizer.name,
        "questions": fingerprint(questions) if questions else None,
        "filters": to_jsonable(config.filters),
        "split": to_jsonable(config.split),
    }
    text = {
        "name": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "sha256": _tokenizer_digest(tokenizer),
    }
    sources = [
        {"fingerprint": f.index["fingerprint"], "shards": [shard["sha256"] for shard in f.index["shards"]]}
        for f in folders
    ]
    spec = folders[0].spec
    return {
        "format": FORMAT_VERSION,
        "kind": KIND,
        "codec": spec.to_dict(),
        "tokenizer": text,
        "vocabulary": Vocabulary(tokenizer.vocab_size, spec).to_dict(),
        "fingerprint": fingerprint({"settings": settings, "tokenizer": text, "sources": sources, "spec": spec}),
        "config": settings,
        "sources": [{**source, "rows": f.num_rows} for source, f in zip(sources, folders, strict=True)],
    }


def _tokenizer_digest(tokenizer: TextTokenizer) -> str:
    """SHA-256 over the saved files: two tokenizers of one name may differ."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save(Path(name))
        for path in sorted(Path(name).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _existing(out: Path, wanted: str, overwrite: bool) -> BuildDatasetReport | None:
    """The report of the dataset that is in ``out`` already, None if there is room for one.

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
    if index.get("fingerprint") == wanted and index.get("format") == FORMAT_VERSION and _is_whole(out, index):
        return _report(out, index, up_to_date=True)
    if not overwrite and index.get("fingerprint") != wanted:
        raise ConfigError(
            f"{out} holds a dataset made from other codes or with other settings; "
            "name another folder, or add --overwrite to replace it"
        )
    return None


def _is_whole(out: Path, index: dict[str, Any]) -> bool:
    entries = [entry for split in index["splits"].values() for entry in split["files"]]
    paths = [(out / entry["file"], entry["bytes"]) for entry in entries]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _clear(out: Path) -> None:
    """Take away what an earlier or interrupted run left, the index first; nothing that is not ours."""
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_NAME).unlink(missing_ok=True)
    for path in out.iterdir():
        if _OUR_PART.fullmatch(path.name) or path.name in (DROPPED_NAME, CARD_NAME):
            path.unlink()
    if (out / TOKENIZER_FOLDER).is_dir():
        shutil.rmtree(out / TOKENIZER_FOLDER)


def _write_rows(
    folders: Sequence[CodesFolder],
    out: Path,
    tokenizer: TextTokenizer,
    questions: dict[str, str],
    config: BuildDatasetConfig,
    progress: Progress,
) -> tuple[dict[str, SplitStats], dict[str, dict[str, float]], list[str]]:
    spec = folders[0].spec
    tasks: set[str] = set()
    writer = DatasetWriter(out, spec)
    total = sum(folder.num_rows for folder in folders)
    try:
        with (out / DROPPED_NAME).open("w", encoding="utf-8") as file, progress.task("build", total, "rows") as task:
            drops = _Drops(file)
            for row in _all_rows(folders):
                check_row(row, spec)
                text = normalize_text(row.text or "")
                columns = {**row.extra, "duration": row.duration, "num_frames": row.codes.shape[1]}
                reason = why_drop(text, row.duration, columns, config.filters)
                reason = reason or (None if row.codes.shape[1] else "no codes")
                if reason:
                    drops.add(row, reason)
                else:
                    made = _make_row(row, text, questions.get(row.id), tokenizer)
                    writer.add(split_of(_split_key(made, config.split.by), config.split), made)
                    tasks.add(made.task)
                task.advance(1)
        return writer.close(), drops.summary(), sorted(tasks)
    finally:
        writer.abort()


def _all_rows(folders: Sequence[CodesFolder]) -> Iterator[CodesRow]:
    for folder in folders:
        yield from folder.rows()


def _make_row(row: CodesRow, text: str, question: str | None, tokenizer: TextTokenizer) -> DatasetRow:
    tokens = len(tokenizer.encode(text)) + len(tokenizer.encode(question or ""))
    return DatasetRow(
        id=row.id,
        task="tts" if question is None else "qa",
        text=text,
        question=question,
        codes=row.codes.astype(np.int64),
        speaker_vector=row.speaker_vector,
        speaker=row.speaker,
        num_frames=row.codes.shape[1],
        num_text_tokens=tokens,
        duration=row.duration,
    )


def _split_key(row: DatasetRow, by: str) -> str:
    if by == "text":
        return row.text if row.question is None else normalize_text(row.question)
    if by == "utterance":
        return row.id
    if row.speaker is None:
        raise ConfigError(f"utterance {row.id!r} has no speaker to split by; use --split-by utterance or text")
    return row.speaker


def _check_splits(
    splits: dict[str, SplitStats], drops: dict[str, dict[str, float]], config: BuildDatasetConfig
) -> list[str]:
    """Warnings about splits that stayed empty.

    Raises:
        ConfigError: nothing is left to train on.
    """
    kept = sum(stats.rows for stats in splits.values())
    if not kept:
        reasons = (
            ", ".join(f"{counts['rows']} {reason}" for reason, counts in drops.items()) or "the codes have no rows"
        )
        raise ConfigError(f"no row is left for the dataset: {reasons}; loosen the filters")
    by, mend = config.split.by, "take another --seed, a larger fraction, or split by utterance"
    if "train" not in splits:
        raise ConfigError(f"all {kept} rows fell into {' and '.join(splits)} and none into train; {mend}")
    wanted = {"dev": config.split.dev_fraction, "test": config.split.test_fraction}
    return [
        f"no {by} fell into {split} ({fraction:g} of {kept} rows was asked for): {mend}"
        for split, fraction in wanted.items()
        if fraction > 0 and split not in splits
    ]


def _report(out: Path, index: dict[str, Any], *, up_to_date: bool = False) -> BuildDatasetReport:
    kept = sum(int(stats["rows"]) for stats in index["splits"].values())
    dropped = sum(int(counts["rows"]) for counts in index["dropped"].values())
    return BuildDatasetReport(
        out=str(out),
        rows_read=kept + dropped,
        rows_kept=kept,
        rows_dropped=dropped,
        dropped=index["dropped"],
        tasks=index["tasks"],
        splits=index["splits"],
        warnings=index["warnings"],
        up_to_date=up_to_date,
    )
