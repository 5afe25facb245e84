"""Tar shards of sounds (WebDataset, Emilia) -> utterances: members are indexed once and read where they lie.

A shard holds an utterance as members of one name: ``id.mp3`` and ``id.json`` (or ``id.txt``).
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from slmtk import audio
from slmtk.corpus.base import Corpus, CorpusConfig, count_note, squeeze
from slmtk.corpus.columns import GUESSES, as_number, as_text, json_row
from slmtk.errors import AudioError, CorpusError
from slmtk.spec import Utterance

_TEXTS = (".txt", ".lab")
_EMILIA_KEYS = {"id", "wav", "text", "dnsmos"}
_SECONDS = "duration"


@dataclass(frozen=True, slots=True)
class TarMember:
    """Where an utterance's sound lies in a tar, which is its `Utterance.path`.

    Attributes:
        name: of the member.
        offset: of its first byte in the tar.
        size: in bytes.
        seconds: duration as the shard's json states it; None if it does not.
    """

    name: str
    offset: int
    size: int
    seconds: float | None = None


def is_tar(path: Path) -> bool:
    """Tell by its suffix whether a file is an uncompressed tar; a compressed one has no random access."""
    return path.suffix.lower() == ".tar"


def open_member(tar: Path, member: TarMember) -> io.BytesIO:
    """Return the bytes of ``member``, in memory.

    Raises:
        AudioError: the tar is gone, or has become shorter than it was when it was indexed.
    """
    try:
        with tar.open("rb") as file:
            file.seek(member.offset)
            stream = io.BytesIO(file.read(member.size))
    except FileNotFoundError as error:
        raise AudioError(f"{tar} is not there", kind="missing") from error
    stream.name = f"{tar}/{member.name}"
    if len(stream.getvalue()) < member.size:
        raise AudioError(f"{stream.name} breaks off: the tar is shorter than when it was indexed", kind="truncated")
    return stream


def webdataset(root: Path, tars: Sequence[Path], config: CorpusConfig) -> Corpus:
    """Read tar shards: the sound, and what is known of it from the json or text of the same name.

    Keys of the json are found by name as columns of a manifest are. Its numbers become `Utterance.extra`, but for
    "duration", which saves reading every sound before the first is encoded.

    Raises:
        CorpusError: a tar breaks off or is none, a json is none, or a key that ``config`` names is in no json.
    """
    if not tars:
        raise CorpusError(f"{root} holds no *.tar; expected shards of sounds with a .json or .txt each")
    endless: list[Path] = []
    entries = [entry for path in tars for entry in _read_tar(path, config, endless)]
    _check_named_keys(entries, config, root)
    ids = _ids(entries, root)
    utterances = [
        Utterance(name, e.tar, e.text, e.speaker, e.language, e.extra, e.member)
        for name, e in zip(ids, entries, strict=True)
    ]
    layout = config.layout if config.layout != "auto" else "emilia" if _is_emilia(entries) else "webdataset"
    untold = sum(utterance.text is None for utterance in utterances)
    notes = tuple(f"{path} has no mark at its end: it may have been cut between two files" for path in endless)
    return Corpus(layout, root, utterances, notes + count_note(untold, "sounds have no text"))


@dataclass(slots=True)
class _Entry:
    """One sound, the utterance that it will be."""

    tar: Path
    key: str
    member: TarMember
    id: str | None = None
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    extra: dict[str, float | str] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()


def _read_tar(path: Path, config: CorpusConfig, endless: list[Path]) -> Iterator[_Entry]:
    sounds: dict[str, TarMember] = {}
    known: dict[str, dict[str, Any]] = {}
    texts: dict[str, str] = {}
    for member, file in _members(path, endless):
        name = PurePosixPath(member.name)
        suffix, key = name.suffix.lower(), str(name.with_suffix(""))
        if suffix in audio.SUFFIXES:
            if key in sounds:
                raise CorpusError(f"{path} holds {key!r} as two sounds: {sounds[key].name} and {member.name}")
            sounds[key] = TarMember(member.name, member.offset_data, member.size)
        elif suffix == ".json" or suffix in _TEXTS:
            file.seek(member.offset_data)
            text = _decode(file.read(member.size), path, member.name)
            if suffix == ".json":
                known[key] = json_row(text, f"{path}: {member.name}")
            else:
                texts[key] = text
    key_sets: dict[frozenset[str], frozenset[str]] = {}
    for key, sound in sounds.items():
        entry = _entry(path, key, sound, known.get(key, {}), config, key_sets)
        if entry.text is None and key in texts:
            entry.text = squeeze(texts[key])
        yield entry


def _members(path: Path, endless: list[Path]) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    count, size = 0, path.stat().st_size
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                hidden = PurePosixPath(member.name).name.startswith(".")
                if member.isreg() and not member.issparse() and not hidden:
                    # tarfile would tell only at the next member, after half a json was taken for a broken one.
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"{member.name} ends after the file does")
                    yield member, file
                    count += 1
            # Two blocks of zeros end a tar; tarfile does without, and so could a download that broke off there.
            if archive.offset >= size:
                endless.append(path)
    except tarfile.TarError as error:
        what = f"breaks off or is damaged after {count} files" if count else "is no uncompressed tar, or is damaged"
        raise CorpusError(f"{path} {what} ({error}); fetch it again, or take it away") from error


def _decode(content: bytes, path: Path, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: {name} is not UTF-8 text: {error}") from error


def _entry(
    path: Path,
    key: str,
    sound: TarMember,
    row: dict[str, Any],
    config: CorpusConfig,
    key_sets: dict[frozenset[str], frozenset[str]],
) -> _Entry:
    found = {kind: _key_of(kind, row, config) for kind in ("id", "text", "speaker", "language")}
    used = {name for name in found.values() if name}
    values = {kind: as_text(row[name]) if name else None for kind, name in found.items()}
    seconds = as_number(row.get(_SECONDS))
    if seconds is not None and seconds > 0:
        sound = TarMember(sound.name, sound.offset, sound.size, seconds)
    extra: dict[str, float | str] = {}
    for name, value in row.items():
        if name in used or name == _SECONDS:
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = as_number(value)
            extra |= {} if number is None else {sys.intern(name): number}
        elif name in config.keep_columns and (text := as_text(value)) is not None:
            extra[sys.intern(name)] = text
    keys = frozenset(row)
    # One object for what is alike in millions of utterances: keys, speakers, languages.
    speaker, language = (sys.intern(v) if v else None for v in (values["speaker"], values["language"]))
    text = squeeze(values["text"]) if values["text"] else None
    return _Entry(path, key, sound, values["id"], text, speaker, language, extra, key_sets.setdefault(keys, keys))


def _key_of(kind: str, row: Mapping[str, Any], config: CorpusConfig) -> str | None:
    named: str | None = getattr(config, f"{kind}_column")
    if named is not None:
        return named if named in row else None
    lowered = {name.lower(): name for name in row}
    return next((lowered[guess] for guess in GUESSES[kind] if guess in lowered), None)


def _check_named_keys(entries: Sequence[_Entry], config: CorpusConfig, root: Path) -> None:
    named = [getattr(config, f"{kind}_column") for kind in ("id", "text", "speaker", "language")]
    keys = frozenset[str]().union(*{entry.keys for entry in entries})
    for name in [*(name for name in named if name), *config.keep_columns]:
        if entries and name not in keys:
            raise CorpusError(f"no json in {root} has a key {name!r}; found {', '.join(sorted(keys)) or 'none'}")


def _is_emilia(entries: Sequence[_Entry]) -> bool:
    return bool(entries) and entries[0].keys >= _EMILIA_KEYS


def _ids(entries: Sequence[_Entry], root: Path) -> list[str]:
    """Ids as the json has them, or else the member's name; where two are alike, with the tar's name before it."""
    names = [entry.id or PurePosixPath(entry.key).name for entry in entries]
    counts = Counter(names)
    return [
        name if entry.id or counts[name] == 1 else _long_id(entry, root)
        for name, entry in zip(names, entries, strict=True)
    ]


def _long_id(entry: _Entry, root: Path) -> str:
    tar = Path(os.path.relpath(entry.tar, root)).with_suffix("")
    return "-".join([*tar.parts, *PurePosixPath(entry.key).parts])
