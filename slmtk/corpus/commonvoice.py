"""Common Voice: a folder of clips and a table for each split -> utterances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmtk.corpus.base import Corpus, CorpusConfig, count_note, is_audio
from slmtk.corpus.manifest import find_columns, make_utterance, read_rows
from slmtk.errors import CorpusError
from slmtk.spec import Utterance

_CLIPS = "clips"
_HEADER = {"client_id", "path", "sentence"}
# All clips that two people agreed on; train, dev and test are drawn from it.
_WHOLE = "validated"


def tables(files: Sequence[Path]) -> list[Path]:
    """Return those of ``files`` that are Common Voice's tables: beside a folder "clips", with its columns.

    A release holds a folder for each language; there may be several under one root.
    """
    homes = {path.parent.parent for path in files if path.parent.name == _CLIPS and is_audio(path)}
    return [path for path in files if path.suffix == ".tsv" and path.parent in homes and _has_header(path)]


def commonvoice(root: Path, files: Sequence[Path], config: CorpusConfig) -> Corpus:
    """Read ``<split>.tsv`` (columns client_id, path, sentence, locale, ...) and ``clips/<path>`` beside it.

    ``config.split`` chooses the table, "validated" if it is None. Votes become `Utterance.extra`.

    Raises:
        CorpusError: there is no such table, or a table is damaged.
    """
    found = tables(files)
    split = config.split or _WHOLE
    chosen = [table for table in found if table.stem == split]
    if not chosen:
        there = ", ".join(sorted({table.stem for table in found})) or "no table of Common Voice beside a folder clips/"
        raise CorpusError(f"{root} has no {split}.tsv; found {there}; choose with --split")
    clips = {path for path in files if path.parent.name == _CLIPS}
    utterances: list[Utterance] = []
    gone = 0
    for table in chosen:
        rows = read_rows(table)
        columns = find_columns(rows, config, table)
        for row in rows:
            path = table.parent / _CLIPS / row[columns.audio]
            if path in clips:
                utterances.append(make_utterance(path.stem, path, row, columns))
            else:
                gone += 1
    if not utterances:
        raise CorpusError(f"{root}: none of the {gone} clips of {split}.tsv is in {_CLIPS}/; unpack them all")
    untold = sum(utterance.text is None for utterance in utterances)
    notes = count_note(gone, f"rows of {split}.tsv have no clip; they are left out")
    return Corpus("commonvoice", root, utterances, notes + count_note(untold, "rows have no text"))


def _has_header(table: Path) -> bool:
    with table.open(encoding="utf-8-sig", errors="replace") as lines:
        return set(lines.readline().rstrip("\r\n").split("\t")) >= _HEADER
