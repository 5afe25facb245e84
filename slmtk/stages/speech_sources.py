"""Speech to be scored, wherever it lies: recordings, codes, or what `slmtk synth` wrote -> utterances with audio."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec_of
from slmtk.corpus import CorpusConfig, find_utterances, load_audio
from slmtk.errors import AudioError, CodecMismatchError, CorpusError, FormatError
from slmtk.shards import CodesFolder, CodesRow, open_codes
from slmtk.stages.lines import read_lines

if TYPE_CHECKING:
    from torch import Tensor

SYNTH_NAME = "synth.jsonl"
CODES_NAME = "slmtk.json"
ReadAudio = Callable[[int], "Tensor"]


@dataclass(frozen=True)
class Spoken:
    """One utterance to be scored, or to score against.

    Attributes:
        id: unique in its source.
        text: what was said or meant to be said.
        speaker: the source's name of the speaker.
        read: returns float32 [S] in [-1, 1] at the rate in Hz that it is given; None if there is no audio.
        reason: why synthesis failed, "" if it did not.
        reference: recording of the voice that was to be spoken in.
        extra: further columns.
    """

    id: str
    text: str | None
    speaker: str | None
    read: ReadAudio | None
    reason: str = ""
    reference: Path | None = None
    extra: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class SpeechSource:
    """All utterances of one place.

    Attributes:
        kind: "recordings", "codes" or "synthesis".
        name: as the user called it.
        utterances: by id, sorted.
        codec: name of the codec of codes.
    """

    kind: str
    name: str
    utterances: dict[str, Spoken]
    codec: str | None = None


def open_speech(
    source: Path | str, config: CorpusConfig | None = None, *, device: str = "cpu", checkpoint: Path | None = None
) -> SpeechSource:
    """Find out what ``source`` is and list its utterances; audio is read, or decoded from codes, when it is asked for.

    Args:
        source: a folder with synth.jsonl, a folder of codes, or anything `slmtk.corpus.find_utterances` reads.
        config: layout and columns of recordings.
        device: where codes are decoded.
        checkpoint: weights of the codec, instead of the published ones.

    Raises:
        FormatError: a folder of codes or synthesised speech is damaged.
        CorpusError: no recordings are found.
        CodecMismatchError: the codec that is installed is not the one that made the codes.
    """
    path = Path(source)
    codec = None
    if (path / SYNTH_NAME).is_file():
        kind, spoken = "synthesis", _synthesised(path)
    elif (path / CODES_NAME).is_file():
        folder = open_codes(path)
        kind, spoken, codec = "codes", _coded(folder, device, checkpoint), folder.spec.name
    else:
        kind, spoken = "recordings", _recorded(source, config)
    if not spoken:
        raise CorpusError(f"{source} holds no utterances")
    return SpeechSource(kind, str(source), {item.id: item for item in sorted(spoken, key=lambda item: item.id)}, codec)


def with_references(speech: SpeechSource, path: Path) -> SpeechSource:
    """Return ``speech`` with the recordings that ``path`` names as the voices that were to be spoken in.

    Args:
        speech: recordings, codes or synthesised speech.
        path: jsonl, tsv or csv with the fields id, text and reference, as `slmtk synth` takes it.

    Raises:
        FormatError: the file cannot be read, or a line's reference is not there.
        CorpusError: no utterance of ``speech`` is among its ids.
    """
    references = {line.id: line.reference for line in read_lines(path) if line.reference}
    lost = [reference for reference in references.values() if not reference.is_file()]
    if lost:
        raise FormatError(f"{path} names the reference {lost[0]}, which is not there; paths are relative to the file")
    if not references.keys() & speech.utterances.keys():
        raise CorpusError(f"{path} names references for none of the ids of {speech.name}; ids have to be the same")
    replaced = {
        key: replace(spoken, reference=references.get(key, spoken.reference))
        for key, spoken in speech.utterances.items()
    }
    return replace(speech, utterances=replaced)


def _recorded(source: Path | str, config: CorpusConfig | None) -> list[Spoken]:
    utterances = find_utterances(source, config).utterances
    # "language" is a column like others here, so that scores can be grouped by it.
    return [
        Spoken(
            id=utterance.id,
            text=utterance.text,
            speaker=utterance.speaker,
            read=functools.partial(load_audio, utterance),
            extra={**({"language": utterance.language} if utterance.language else {}), **utterance.extra},
        )
        for utterance in utterances
    ]


def _synthesised(folder: Path) -> list[Spoken]:
    lines = (folder / SYNTH_NAME).read_text(encoding="utf-8").splitlines()
    spoken = [_from_line(folder, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if len({item.id for item in spoken}) != len(spoken):
        raise FormatError(f"{folder / SYNTH_NAME} has an id twice; run the synthesis again")
    return spoken


def _from_line(folder: Path, number: int, line: str) -> Spoken:
    try:
        values: dict[str, Any] = json.loads(line)
        wav, reference = values["wav"], values["reference"]
        return Spoken(
            id=str(values["id"]),
            text=values["text"],
            speaker=values["speaker"],
            read=functools.partial(_read_file, folder / wav) if wav and (folder / wav).is_file() else None,
            reason=str(values["reason"]),
            reference=folder / reference if reference else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{folder / SYNTH_NAME}, line {number}: not a line of slmtk synth ({error!r})") from error


def _read_file(path: Path, sample_rate: int) -> Tensor:
    return audio.read(path, sample_rate)[0]


def _coded(folder: CodesFolder, device: str, checkpoint: Path | None) -> list[Spoken]:
    settings = folder.index.get("config", {})
    codec = load_codec_of(folder.spec, device=device, checkpoint=checkpoint)
    if codec.spec != folder.spec:
        differences = "; ".join(folder.spec.differences(codec.spec))
        raise CodecMismatchError(f"{folder.folder} was made by another codec (there, here): {differences}")
    root = Path(settings["root"]) if settings.get("root") else None
    # Audio is read ahead in several threads, and a codec may keep buffers of its own.
    lock = threading.Lock()
    return [
        Spoken(
            id=row.id,
            text=row.text,
            speaker=row.speaker,
            read=functools.partial(_decode, codec, row, device, lock),
            reason=str(row.extra.get("reason", "")),
            reference=_existing(root, row.source),
            extra={**({"language": row.language} if row.language else {}), **row.extra},
        )
        for row in folder.rows()
    ]


def _existing(root: Path | None, source: str) -> Path | None:
    path = None if root is None else root / source
    return path if path is not None and path.is_file() else None


def _decode(codec: Codec, row: CodesRow, device: str, lock: threading.Lock, sample_rate: int) -> Tensor:
    import torch

    if not row.codes.shape[1]:
        raise AudioError(f"utterance {row.id!r} has no frame of codes", kind="empty")
    codes = torch.from_numpy(row.codes.astype(np.int64))[None].to(device)
    vector = None if row.speaker_vector is None else torch.from_numpy(np.array(row.speaker_vector))[None].to(device)
    with lock, torch.inference_mode():
        wav = codec.decode(codes, vector)[0].float().cpu()
    # Frames pad the recording to a whole number; the tail was never recorded.
    return audio.resample(wav[: round(row.duration * codec.spec.sample_rate)], codec.spec.sample_rate, sample_rate)
