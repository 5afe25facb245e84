"""What `build_dataset` reads: folders of codes and files of text, checked before anything is written."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.data.prompts import normalize_text
from slmtk.data.texts import Text, digest_of, read_texts
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.shards import CodesFolder, CodesRow, open_codes
from slmtk.spec import CodecSpec


@dataclass(frozen=True)
class Sources:
    """Everything that becomes rows.

    Attributes:
        folders: of codes, in the order of their rows.
        texts: files of texts without speech, behind the codes.
        questions: in writing, by the utterance that answers.
    """

    folders: tuple[CodesFolder, ...]
    texts: tuple[Path, ...]
    questions: dict[str, str]

    @property
    def spec(self) -> CodecSpec:
        """Of all codes."""
        return self.folders[0].spec

    @property
    def num_codes(self) -> int:
        """Utterances of all folders."""
        return sum(folder.num_rows for folder in self.folders)

    def codes(self, columns: Sequence[str] | None = None) -> Iterator[CodesRow]:
        """Read the utterances in order, these columns of them."""
        for folder in self.folders:
            yield from folder.rows(columns)

    def plain_texts(self) -> Iterator[Text]:
        """Read the texts without speech in order."""
        for path in self.texts:
            yield from read_texts(path)

    def all_words(self) -> Iterator[str]:
        """Every text and question as it will be tokenised."""
        for row in self.codes(("id", "text")):
            if row.text:
                yield normalize_text(row.text)
        yield from self.questions.values()
        for text in self.plain_texts():
            yield text.text
            if text.instruction is not None:
                yield text.instruction

    def columns(self) -> set[str]:
        """Columns of the codes that rows can be filtered by."""
        import pyarrow.parquet as pq

        ours = {"text", "id", "speaker", "language", "source", "source_sha1", "codes", "speaker_vector"}
        return {name for folder in self.folders for part in folder.parts for name in pq.read_schema(part).names} - ours

    def identities(self) -> list[dict[str, Any]]:
        """What each folder's and file's bytes depend on; no path of this machine is in it."""
        folders: list[dict[str, Any]] = [
            {"fingerprint": folder.index["fingerprint"], "shards": [part["sha256"] for part in folder.index["shards"]]}
            for folder in self.folders
        ]
        return [*folders, *({"text": path.name, "sha256": digest_of(path)} for path in self.texts)]

    def check_ids(self) -> set[str]:
        """Check that every id occurs once, with eight bytes a row in memory; returns the questions' ids that occur.

        Raises:
            FormatError: an id occurs twice.
        """
        found: set[str] = set()

        def numbers() -> Iterator[int]:
            for name, _ in self._ids():
                if name in self.questions:
                    found.add(name)
                yield _number(name)

        values, counts = np.unique(np.fromiter(numbers(), np.uint64), return_counts=True)
        if (counts > 1).any():
            self._find_twice(set(values[counts > 1].tolist()))
        return found

    def _ids(self) -> Iterator[tuple[str, Path]]:
        for folder in self.folders:
            for row in folder.rows(("id",)):
                yield row.id, folder.folder
        for path in self.texts:
            for text in read_texts(path):
                yield text.id, path

    def _find_twice(self, suspects: Collection[int]) -> None:
        seen: dict[str, Path] = {}
        for name, place in self._ids():
            if _number(name) not in suspects:
                continue
            if name in seen:
                raise FormatError(
                    f"utterance {name!r} is in {seen[name]} and again in {place}; ids must be unique in a dataset"
                )
            seen[name] = place


def open_sources(folders: Sequence[Path], texts: Sequence[Path], questions: dict[str, str], out: Path) -> Sources:
    """Open all folders of codes.

    Raises:
        ConfigError: none is given, one is ``out`` itself, or a file of texts is named twice or not there.
        CodecMismatchError: the codes are of different codecs.
        FormatError: a folder is unfinished or damaged.
    """
    check_paths(folders, texts, out)
    for path in texts:
        if not path.is_file():
            raise ConfigError(f"--text {path} is not there; expected a .jsonl, .txt or .parquet file")
    opened = tuple(open_codes(folder) for folder in folders)
    check_codecs(opened)
    return Sources(opened, tuple(texts), questions)


def check_paths(folders: Sequence[Path], texts: Sequence[Path], out: Path, spoken: Sequence[Path] = ()) -> None:
    """Check the names alone, those of folders of ``spoken`` questions among them; nothing has to be there.

    Raises:
        ConfigError: no folder of codes is given, one is ``out`` itself, or a file of texts is named twice.
    """
    if not folders:
        raise ConfigError("no folder of codes given")
    for folder in (*folders, *spoken):
        if out.resolve() == folder.resolve():
            raise ConfigError(f"{out} is the folder of codes itself; name another folder for the dataset")
    places: defaultdict[Path, int] = defaultdict(int)
    for path in texts:
        places[path.resolve()] += 1
    if twice := [path for path, count in places.items() if count > 1]:
        raise ConfigError(f"--text names {twice[0]} twice; once is enough")


def check_codecs(folders: Sequence[CodesFolder]) -> None:
    """Check that all codes are of one codec.

    Raises:
        CodecMismatchError: says how two differ.
    """
    for folder in folders[1:]:
        first = folders[0]
        if folder.spec != first.spec:
            raise CodecMismatchError(
                f"codes of different codecs cannot be one dataset; {first.folder} and {folder.folder} differ in "
                + "; ".join(first.spec.differences(folder.spec))
            )


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
