"""Recordings, or codes, of somebody -> the voice to speak in: what the codec and the model want to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slmtk import audio
from slmtk.codecs.base import Codec
from slmtk.data.examples import REFERENCE_SECONDS, reference_clip
from slmtk.errors import AudioError, CodecMismatchError, ConfigError, FormatError
from slmtk.shards import CodesFolder, CodesRow, open_codes
from slmtk.shards.rows import INDEX_NAME
from slmtk.speakers.base import SpeakerEncoder

# So many of a speaker's utterances, spread over all, are decoded for an encoder that wants to hear them.
_MOST_DECODED = 10


@dataclass(frozen=True)
class Voice:
    """A voice to speak in.

    Attributes:
        id: the reference's name, for seeds and reports.
        path: the reference recording, of several the one nearest to their mean; None if there is none.
        speaker: float32 [D], the codec's timbre vector of the reference, None if the codec has none: it gives the
            decoded audio its voice, and conditions a speaker-aware model that was trained with such vectors.
        embedding: float32 [D'], the vector by the speaker encoder of a model that was trained with another's.
        codes: int64 [K, T], the beginning of the reference, for a model that reads it in its prompt.
    """

    id: str
    path: Path | None
    speaker: Tensor | None
    embedding: Tensor | None = None
    codes: Tensor | None = None


@dataclass(frozen=True)
class Clip:
    """One utterance of a voice.

    Attributes:
        seconds: its duration, and its weight in the mean.
        path: the recording, None if it is not there.
        speaker: float32 [D], the codec's vector of it.
        embedding: float32 [D'], the speaker encoder's.
        codes: returns int64 [K, T]; called for the one clip whose codes are needed.
    """

    seconds: float
    path: Path | None
    speaker: Tensor | None
    embedding: Tensor | None
    codes: Callable[[], Tensor]


def clips_of(place: Path) -> list[Path]:
    """Return the recordings that ``place`` names: itself, or those in the folder, sorted.

    Raises:
        AudioError: there are none.
        FormatError: the folder is one of codes, and no speaker of it is named.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise AudioError(
            f"{place} is not there; expected a recording, a folder of recordings, or CODES_FOLDER:SPEAKER_ID",
            kind="missing",
        )
    if (place / INDEX_NAME).is_file():
        speakers = speakers_in(open_codes(place))
        raise FormatError(f"{place} is a folder of codes; name one of its speakers: {place}:{_some(speakers)}")
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() in audio.SUFFIXES and path.is_file())
    if not found:
        raise AudioError(f"{place} holds no recordings ({', '.join(audio.SUFFIXES)})", kind="missing")
    return found


def codes_speaker(place: Path) -> tuple[Path, str] | None:
    """Folder and speaker of "CODES_FOLDER:SPEAKER_ID"; None if ``place`` is something else."""
    folder, colon, speaker = str(place).rpartition(":")
    if not colon or not folder or not speaker or place.exists() or not Path(folder).is_dir():
        return None
    return Path(folder), speaker


def speakers_in(codes: CodesFolder) -> list[str]:
    """Ids of the speakers of a folder of codes, sorted."""
    return sorted({row.speaker for row in codes.rows(("speaker",)) if row.speaker})


def make_voice(name: str, clips: Sequence[Clip], *, with_codes: bool, codec: Codec) -> Voice:
    """Make one voice of one clip or more.

    Vectors are averaged, weighted by duration; an encoder's mean keeps the clips' length, since those of one person
    differ in direction and their mean would be shorter. Codes, which cannot be averaged, are those of the clip nearest
    to the mean among those that fill a prompt.

    Args:
        name: of the voice.
        clips: of one speaker.
        with_codes: the model reads codes in its prompt.
        codec: of the model.
    """
    weights = torch.tensor([clip.seconds for clip in clips])
    speaker = _mean([clip.speaker for clip in clips], weights, keep_length=False)
    embedding = _mean([clip.embedding for clip in clips], weights, keep_length=True)
    best = _nearest(clips, speaker, embedding)
    codes = reference_clip(best.codes(), codec.spec) if with_codes else None
    return Voice(name, best.path, speaker, embedding, codes)


def _mean(vectors: Sequence[Tensor | None], weights: Tensor, *, keep_length: bool) -> Tensor | None:
    present = [vector for vector in vectors if vector is not None]
    if not present or len(present) == 1:
        return present[0] if present else None
    table = torch.stack(present).float()
    shares = (weights / weights.sum()).to(table.device)[:, None]
    mean = (shares * table).sum(0)
    if keep_length:
        mean = mean * ((shares[:, 0] * table.norm(dim=1)).sum() / mean.norm().clamp(min=1e-9))
    return mean


def _nearest(clips: Sequence[Clip], speaker: Tensor | None, embedding: Tensor | None) -> Clip:
    longest = max(clips, key=lambda clip: clip.seconds)
    filling = [clip for clip in clips if clip.seconds >= REFERENCE_SECONDS] or [longest]
    if embedding is None and speaker is None:
        return longest

    def closeness(clip: Clip) -> float:
        own, mean = (clip.speaker, speaker) if embedding is None else (clip.embedding, embedding)
        assert own is not None  # all clips went through the same codec and encoder
        assert mean is not None
        return float(torch.nn.functional.cosine_similarity(own.float(), mean.float(), dim=0))

    return max(filling, key=closeness)


def record_clip(path: Path, codec: Codec, encoder: SpeakerEncoder | None) -> Clip:
    """Listen to a recording.

    Raises:
        AudioError: the recording cannot be used.
    """
    wav, _ = audio.read(path, codec.spec.sample_rate)
    if not len(wav):
        raise AudioError(f"{path} holds no audio; a reference needs a second or more of speech", kind="empty")
    encoded = codec.encode(audio.pad_to_frames(wav, codec.spec.frame_size)[None])
    embedding = None if encoder is None else encoder.embed(audio.read(path, encoder.sample_rate)[0])
    vector = None if encoded.speaker is None else encoded.speaker[0]
    return Clip(len(wav) / codec.spec.sample_rate, path, vector, embedding, lambda: encoded.codes[0].cpu())


def codes_clips(folder: Path, speaker: str, codec: Codec, encoder: SpeakerEncoder | None) -> list[Clip]:
    """Clips of ``speaker`` in a folder of codes; an ``encoder`` hears at most ten of them, decoded.

    Raises:
        FormatError: it is no folder of codes, or a part is damaged.
        CodecMismatchError: the codes are of another codec.
        ConfigError: it has no such speaker.
    """
    codes = open_codes(folder)
    differences = codec.spec.differences(codes.spec)
    if differences:
        raise CodecMismatchError(
            f"{folder} holds codes of another codec than the model's ({'; '.join(differences)}); tokenize the "
            "recordings with the model's codec, or name one of them"
        )
    columns = ("speaker", "duration", "source", *(("speaker_vector",) if codec.spec.speaker_dim else ()))
    rows = [row for row in codes.rows(columns) if row.speaker == speaker and row.duration > 0]
    if not rows:
        raise ConfigError(f"{folder} has no speaker {speaker!r}; it has {_some(speakers_in(codes))}")
    if encoder is not None and len(rows) > _MOST_DECODED:
        rows = [rows[place * len(rows) // _MOST_DECODED] for place in range(_MOST_DECODED)]
    root = codes.index.get("config", {}).get("root")
    return [_codes_clip(row, codes, Path(root) if root else None, codec, encoder) for row in rows]


def _codes_clip(
    row: CodesRow, codes: CodesFolder, root: Path | None, codec: Codec, encoder: SpeakerEncoder | None
) -> Clip:
    vector = None if row.speaker_vector is None else torch.from_numpy(np.array(row.speaker_vector))

    def read() -> Tensor:
        return torch.from_numpy(codes.row(row.id).codes.astype(np.int64))

    embedding = None
    if encoder is not None:
        with torch.inference_mode():
            wav = codec.decode(read()[None], None if vector is None else vector[None])[0].float().cpu()
        embedding = encoder.embed(audio.resample(wav, codec.spec.sample_rate, encoder.sample_rate))
    source = None if root is None or not row.source else root / row.source
    return Clip(row.duration, source if source and source.is_file() else None, vector, embedding, read)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none with a name"
