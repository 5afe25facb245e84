"""What a worker process of `tokenize` does: utterances in, rows of codes or failures out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec
from slmtk.corpus import open_audio, relative_source
from slmtk.errors import AudioError, SlmtkError
from slmtk.shards import CodesRow, check_row
from slmtk.spec import Utterance

# Column names of the codes format; a manifest's own column of such a name is kept as "corpus_<name>".
_FORMAT_COLUMNS = {"id", "text", "speaker", "language", "source", "source_sha1", "duration", "num_frames", "codes"}
_FORMAT_COLUMNS |= {"speaker_vector"}


@dataclass(frozen=True)
class Failure:
    """An input that gave no codes: one line of errors.jsonl.

    Attributes:
        id: the utterance's.
        path: of the sound file, as `CodesRow.source` has it.
        kind: one word to count by: `AudioError.kind` or "codec".
        message: what was found.
    """

    id: str
    path: str
    kind: str
    message: str


@dataclass(frozen=True)
class Encoder:
    """Makes rows of codes from utterances; see `make_encoder`."""

    codec: Codec
    device: str
    root: Path | None

    def __call__(self, utterances: Sequence[Utterance]) -> list[CodesRow | Failure]:
        """Encode one utterance after the other; none can hinder the next."""
        return [self._encode_or_fail(utterance) for utterance in utterances]

    def _encode_or_fail(self, utterance: Utterance) -> CodesRow | Failure:
        try:
            return self._encode(utterance)
        except AudioError as error:
            kind, message = error.kind, str(error)
        except OSError as error:
            kind, message = "unreadable", str(error)
        except SlmtkError as error:
            kind, message = "codec", str(error)
        # What codecs' libraries raise on an input they cannot take; it is counted and the run goes on.
        except (RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError) as error:
            kind, message = "codec", f"{type(error).__name__}: {error}"
        return Failure(utterance.id, relative_source(utterance, self.root), kind, message)

    def _encode(self, utterance: Utterance) -> CodesRow:
        import torch

        spec = self.codec.spec
        stream = open_audio(utterance)
        wav, _ = audio.read_stream(stream, spec.sample_rate)
        padded = audio.pad_to_frames(wav, spec.frame_size)[None].to(self.device)
        with torch.inference_mode():
            encoded = self.codec.encode(padded)
        vector = None if encoded.speaker is None else encoded.speaker[0].float().cpu().numpy()
        row = CodesRow(
            id=utterance.id,
            codes=encoded.codes[0].cpu().numpy().astype(np.int32),
            duration=len(wav) / spec.sample_rate,
            text=utterance.text,
            speaker=utterance.speaker,
            language=utterance.language,
            source=relative_source(utterance, self.root),
            source_sha1=_sha1(stream),
            speaker_vector=vector,
            extra={column_name(name): value for name, value in utterance.extra.items()},
        )
        check_row(row, spec)
        return row


def make_encoder(codec: str, codebooks: int | None, checkpoint: Path | None, device: str, root: Path | None) -> Encoder:
    """Load the codec and return what encodes with it; called once in each process.

    Raises:
        SlmtkError: the codec cannot be loaded.
    """
    return Encoder(load_codec(codec, device=device, checkpoint=checkpoint, codebooks=codebooks), device, root)


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


def _sha1(stream: Path | io.BytesIO) -> str:
    if isinstance(stream, io.BytesIO):
        return hashlib.sha1(stream.getvalue(), usedforsecurity=False).hexdigest()
    with stream.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
