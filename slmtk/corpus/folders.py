"""VCTK, LJSpeech and plain folders of sound files -> utterances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slmtk.corpus.base import Corpus, count_note, ids_from_paths, is_audio, read_text_file, squeeze
from slmtk.errors import CorpusError
from slmtk.spec import Utterance

_MICROPHONE = re.compile(r"_mic(\d+)$")
_LJSPEECH_TABLE = "metadata.csv"
# Folders that say what lies in them, not who speaks.
_NO_SPEAKERS = {"wav", "wavs", "flac", "mp3", "audio", "clips", "recordings", "sounds", "data"}


def is_vctk(root: Path) -> bool:
    """Tell whether ``root`` has the folders of VCTK."""
    return (root / "txt").is_dir() and any(path.is_dir() for path in root.glob("wav*"))


def vctk(root: Path, files: Sequence[Path]) -> Corpus:
    """Read ``wav48*/<speaker>/<id>[_mic1].(wav|flac)`` with ``txt/<speaker>/<id>.txt``; of two microphones, mic1.

    Raises:
        CorpusError: no sound is there.
    """
    chosen: dict[str, Path] = {}
    for path in files:  # sorted, so _mic1 comes before _mic2
        if is_audio(path) and path.relative_to(root).parts[0].startswith("wav"):
            chosen.setdefault(_MICROPHONE.sub("", path.stem), path)
    texts = {path.stem: path for path in files if path.suffix == ".txt" and path.relative_to(root).parts[0] == "txt"}
    utterances = []
    for utterance_id, path in chosen.items():
        text = squeeze(read_text_file(texts[utterance_id])) if utterance_id in texts else None
        utterances.append(Utterance(utterance_id, path, text, path.parent.name))
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("vctk", root, utterances, count_note(untold, "sound files have no text (VCTK has none for p315)"))


def is_ljspeech(root: Path) -> bool:
    """Tell whether ``root`` has LJSpeech's table, "|" between its columns, and its folder of sounds."""
    table = root / _LJSPEECH_TABLE
    if not table.is_file() or not (root / "wavs").is_dir():
        return False
    with table.open(encoding="utf-8-sig", errors="replace") as lines:
        return "|" in lines.readline()


def ljspeech(root: Path, files: Sequence[Path]) -> Corpus:
    """Read ``metadata.csv`` of lines "id|text|normalised text" and ``wavs/<id>.wav``; the normalised text is taken.

    Raises:
        CorpusError: the table is missing or has a line without "|".
    """
    table = root / _LJSPEECH_TABLE
    if not table.is_file():
        raise CorpusError(f"{root} has no {_LJSPEECH_TABLE}; LJSpeech keeps its texts there")
    texts: dict[str, str | None] = {}
    for number, line in enumerate(read_text_file(table).splitlines(), 1):
        columns = [column.strip() for column in line.split("|")]
        if len(columns) < 2 and line.strip():
            raise CorpusError(f'{table}, line {number}: expected "id|text" or "id|text|normalised text"')
        if columns[0] in texts:
            raise CorpusError(f"{table}, line {number}: {columns[0]!r} occurs twice")
        if line.strip():
            texts[columns[0]] = squeeze((columns[2] if len(columns) > 2 else "") or columns[1])
    sounds = [path for path in files if is_audio(path) and path.parent.name == "wavs"]
    utterances = [
        Utterance(path.stem, path, texts.get(path.stem), "LJ" if path.stem.startswith("LJ") else root.resolve().name)
        for path in sounds
    ]
    silent = len(texts.keys() - {path.stem for path in sounds})
    untold = sum(utterance.text is None for utterance in utterances)
    notes = count_note(silent, f"lines of {_LJSPEECH_TABLE} have no sound file; they are left out")
    return Corpus("ljspeech", root, utterances, notes + count_note(untold, "sound files have no line in it"))


def plain(root: Path, files: Sequence[Path]) -> Corpus:
    """Read any folder of sounds: text from ``<name>.txt`` or ``<name>.lab`` beside a file, speaker from its folder.

    A file's folder is its speaker's name if there are folders under ``root`` and they are not called "wavs",
    "audio" or the like.

    Raises:
        CorpusError: a text is not UTF-8.
    """
    sounds = [path for path in files if is_audio(path)]
    texts = {path for path in files if path.suffix in (".txt", ".lab")}
    utterances = []
    for utterance_id, path in zip(ids_from_paths(sounds, root), sounds, strict=True):
        beside = [path.with_suffix(suffix) for suffix in (".txt", ".lab")]
        chosen = next((candidate for candidate in beside if candidate in texts), None)
        text = None if chosen is None else squeeze(read_text_file(chosen))
        utterances.append(Utterance(utterance_id, path, text, _speaker(path, root)))
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("folder", root, utterances, count_note(untold, "sound files have no .txt or .lab beside them"))


def _speaker(path: Path, root: Path) -> str | None:
    folders = [name for name in path.parent.relative_to(root).parts if name.lower() not in _NO_SPEAKERS]
    return folders[-1] if folders else None
