"""What encodes for `tokenize`, in any process: utterances in, rows of codes or failures out."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk import audio
from slmtk.codecs.base import load_codec
from slmtk.corpus import load_audio, open_audio, relative_source
from slmtk.corpus.segments import Piece, read_piece, whole
from slmtk.errors import SlmtkError
from slmtk.shards import CodesRow, check_row
from slmtk.spec import CodecSpec, Utterance
from slmtk.stages.tokenize.batch import CODEC_ERRORS, MEMORY_HINT, Batcher, Codes, NoCodes, cause, is_memory
from slmtk.stages.tokenize.filter import measured

if TYPE_CHECKING:
    from torch import Tensor

# Column names of the codes format; a manifest's own column of such a name is kept as "corpus_<name>".
_FORMAT_COLUMNS = {"id", "text", "speaker", "language", "source", "source_sha1", "duration", "num_frames", "codes"}
_FORMAT_COLUMNS |= {"speaker_vector"}


@dataclass(frozen=True)
class Failure:
    """An input that gave no codes: one line of errors.jsonl.

    Attributes:
        id: the utterance's; of a piece of a recording, with its nominal ends.
        path: of the sound file, as `CodesRow.source` has it.
        kind: one word to count by: `AudioError.kind`, "memory" or "codec".
        message: what was found.
    """

    id: str
    path: str
    kind: str
    message: str


@dataclass(frozen=True)
class Heard:
    """An utterance's audio, ready for the codec.

    Attributes:
        id: the utterance's; a piece's now that its ends are known.
        wav: float32 [S], a whole number of frames.
        seconds: without the padding of the last frame.
        sha1: of the file, or of the bytes in a dataset.
        extra: the utterance's further columns, with what was measured on the way.
    """

    id: str
    wav: Tensor
    seconds: float
    sha1: str
    extra: Mapping[str, float | str]


@dataclass(frozen=True)
class Answer:
    """What `Encoder` made of a chunk: a row or a failure of each utterance, and lines for the person who waits."""

    results: list[CodesRow | Failure]
    notes: tuple[str, ...] = ()


class Encoder:
    """Makes rows of codes from utterances; see `make_encoder`.

    Several threads may use it: they read at the same time and encode in turn, so that one reads ahead of the other.
    """

    def __init__(
        self, spec: CodecSpec, batcher: Batcher, root: Path | None, *, together: bool, min_dnsmos: float | None = None
    ) -> None:
        """Encode utterances one after the other, or, if ``together``, all those of a call in batches.

        What has a DNSMOS below ``min_dnsmos``, if that is given, becomes a failure of kind `FILTERED`.
        """
        self._spec, self._batcher, self._root, self._together = spec, batcher, root, together
        self._lock, self._min_dnsmos = threading.Lock(), min_dnsmos

    def __call__(self, utterances: Sequence[Utterance]) -> Answer:
        """Read and encode ``utterances``; none can hinder another."""
        if self._together:
            return self.encode(utterances, self.read(utterances))
        # No more than one lies in memory.
        answers = [self.encode([utterance], self.read([utterance])) for utterance in utterances]
        notes = tuple(note for answer in answers for note in answer.notes)
        return Answer([result for answer in answers for result in answer.results], notes)

    def read(self, utterances: Sequence[Utterance]) -> list[Heard | Failure]:
        """Read, resample and pad each."""
        return [self._read(utterance) for utterance in utterances]

    def encode(self, utterances: Sequence[Utterance], sounds: Sequence[Heard | Failure]) -> Answer:
        """Encode ``sounds``, which `read` has made of ``utterances``."""
        with self._lock:
            encoded = iter(self._batcher.encode([sound.wav for sound in sounds if isinstance(sound, Heard)]))
            notes = tuple(self._batcher.notes)
            self._batcher.notes.clear()
        results = [
            self._row(utterance, sound, next(encoded)) if isinstance(sound, Heard) else sound
            for utterance, sound in zip(utterances, sounds, strict=True)
        ]
        return Answer(results, notes)

    def _read(self, utterance: Utterance) -> Heard | Failure:
        try:
            name, wav = _load(utterance, self._spec.sample_rate)
            extra = measured(utterance, wav, self._spec.sample_rate, self._min_dnsmos)
            sha1 = _sha1(open_audio(whole(utterance)))
        except (OSError, *CODEC_ERRORS) as error:
            kind, message = cause(error)
            if is_memory(error):
                kind, message = "memory", message + MEMORY_HINT
        else:
            padded = audio.pad_to_frames(wav, self._spec.frame_size)
            return Heard(name, padded, len(wav) / self._spec.sample_rate, sha1, extra)
        return self._failure(utterance, kind, message)

    def _row(self, utterance: Utterance, sound: Heard, found: Codes | NoCodes) -> CodesRow | Failure:
        if isinstance(found, NoCodes):
            return self._failure(utterance, found.kind, found.message)
        row = CodesRow(
            id=sound.id,
            codes=found.codes,
            duration=sound.seconds,
            text=utterance.text,
            speaker=utterance.speaker,
            language=utterance.language,
            source=relative_source(whole(utterance), self._root),
            source_sha1=sound.sha1,
            speaker_vector=found.speaker_vector,
            extra={column_name(name): value for name, value in sound.extra.items()},
        )
        try:
            check_row(row, self._spec)
        except SlmtkError as error:
            return self._failure(utterance, "codec", str(error))
        return row

    def _failure(self, utterance: Utterance, kind: str, message: str) -> Failure:
        return Failure(utterance.id, relative_source(whole(utterance), self._root), kind, message)


def make_encoder(
    codec: str,
    codebooks: int | None,
    checkpoint: Path | None,
    device: str,
    root: Path | None,
    batch_seconds: float,
    min_dnsmos: float | None = None,
) -> Encoder:
    """Load the codec and return what encodes with it; called once in each process.

    Raises:
        SlmtkError: the codec cannot be loaded.
    """
    loaded = load_codec(codec, device=device, checkpoint=checkpoint, codebooks=codebooks)
    batcher = Batcher(loaded, device, batch_seconds)
    return Encoder(loaded.spec, batcher, root, together=batch_seconds > 0, min_dnsmos=min_dnsmos)


def column_name(name: str) -> str:
    """Name of the codes folder's column for a corpus's own column ``name``."""
    return f"corpus_{name}" if name in _FORMAT_COLUMNS else name


def extra_columns(utterances: Sequence[Utterance]) -> dict[str, type[Any]]:
    """Names and types of the extra columns that the rows of ``utterances`` will have, over all of them."""
    found: dict[str, type[Any]] = {}
    for utterance in utterances:
        for name, value in utterance.extra.items():
            if isinstance(value, str) or name not in found:
                found[name] = str if isinstance(value, str) else float
    return {column_name(name): found[name] for name in sorted(found)}


def _load(utterance: Utterance, sample_rate: int) -> tuple[str, Tensor]:
    if isinstance(utterance.locator, Piece):
        return read_piece(utterance.locator, open_audio(whole(utterance)), sample_rate)
    return utterance.id, load_audio(utterance, sample_rate)


def _sha1(stream: Path | io.BytesIO) -> str:
    if isinstance(stream, io.BytesIO):
        return hashlib.sha1(stream.getvalue(), usedforsecurity=False).hexdigest()
    found = stream.stat()
    return _file_sha1(stream, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=16)
def _file_sha1(path: Path, changed: int, size: int) -> str:
    # Kept for the next piece of a long recording: hashing an hour for each of its pieces would take longer than them.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
