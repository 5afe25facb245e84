"""Recordings -> the speaker vectors of a dataset's rows, by an encoder other than the codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmtk.corpus import CorpusConfig, find_utterances, load_audio
from slmtk.data.dataset_columns import SpeakerVectors
from slmtk.device import resolve_device
from slmtk.errors import ConfigError
from slmtk.shards import CodesFolder, CodesRow
from slmtk.speakers.base import SpeakerEncoder, load_named_encoder
from slmtk.spec import CodecSpec, Utterance
from slmtk.stages.build_dataset.config import BuildDatasetConfig
from slmtk.stages.build_dataset.sources import Sources

_NAMED = 5


class CodecVectors:
    """The vectors that came with the codes."""

    def __init__(self, spec: CodecSpec) -> None:
        """``spec`` says how wide they are."""
        self.vectors = SpeakerVectors.of_codec(spec)

    def find(self, sources: Sources) -> None:
        """There is nothing to be found."""

    def of(self, row: CodesRow) -> NDArray[np.float32] | None:
        """The codec's vector of ``row``, float32 [D]; None if the codec has none."""
        return row.speaker_vector


class RecordedVectors:
    """The vectors that an encoder hears in the recordings."""

    def __init__(self, encoder: SpeakerEncoder, name: str, audio: Sequence[str]) -> None:
        """``audio`` are the sources of the recordings, ``name`` is how to load ``encoder`` again."""
        self.vectors = SpeakerVectors(name, encoder.dim, encoder.name)
        self._encoder = encoder
        self._audio = audio
        self._recordings: dict[str, Utterance] = {}

    def find(self, sources: Sources) -> None:
        """Find the recording of every utterance, in the layout that ``slmtk tokenize`` read them in.

        Raises:
            ConfigError: some have none; names a few.
            CorpusError: a source holds no recordings.
        """
        folders = sources.folders if len(self._audio) == len(sources.folders) else [None] * len(self._audio)
        for source, folder in zip(self._audio, folders, strict=True):
            corpus = find_utterances(source, _corpus_config(folder))
            self._recordings.update((utterance.id, utterance) for utterance in corpus.utterances)
        missing = [row.id for row in sources.codes(("id",)) if row.id not in self._recordings]
        if missing:
            named = ", ".join(repr(name) for name in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise ConfigError(
                f"--audio holds no recording of {len(missing)} utterances of the codes: {named}{more}; "
                "name the sources that they were tokenized from"
            )

    def of(self, row: CodesRow) -> NDArray[np.float32]:
        """The encoder's vector of ``row``, float32 [D].

        Raises:
            AudioError: the recording cannot be read or holds no voice.
        """
        wav = load_audio(self._recordings[row.id], self._encoder.sample_rate)
        vector: NDArray[np.float32] = self._encoder.embed(wav).numpy().astype(np.float32)
        return vector


def make_vectors(spec: CodecSpec, config: BuildDatasetConfig) -> CodecVectors | RecordedVectors:
    """Load what the settings ask for.

    Raises:
        PluginError: no such encoder.
        WeightsError: its weights are not here and cannot be fetched.
    """
    if config.speaker_encoder == "codec":
        return CodecVectors(spec)
    encoder = load_named_encoder(config.speaker_encoder, device=resolve_device(config.device))
    return RecordedVectors(encoder, config.speaker_encoder, config.audio)


def _corpus_config(folder: CodesFolder | None) -> CorpusConfig:
    """The settings with which the corpus of ``folder`` was read; None, and folders that do not say, find all out."""
    values: Any = None if folder is None else folder.index.get("config", {}).get("corpus")
    if not isinstance(values, dict):
        return CorpusConfig()
    known = {key: value for key, value in values.items() if key in CorpusConfig.__dataclass_fields__}
    return CorpusConfig(**{**known, "keep_columns": tuple(known.get("keep_columns") or ())})
