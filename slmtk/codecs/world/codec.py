"""The codec `world`: audio -> content1, content2, prosody and a speaker vector -> audio."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from slmtk.codecs.base import Card, Codec, Encoded, check_codes, check_wav
from slmtk.codecs.rendering import Renderer
from slmtk.codecs.world import analysis, synthesis
from slmtk.codecs.world.quantize import average, dequantize, quantize
from slmtk.codecs.world.streaming import WorldRenderer
from slmtk.codecs.world.tables import CODES, PATH, Tables, load_tables
from slmtk.codecs.world.timbre import VECTOR, Timbre, estimate_timbre
from slmtk.spec import CodecSpec, Stream


class WorldCodec(Codec):
    """WORLD vocoder with learned codebooks: 80 frames/s, three codes of 10 bits a frame, one voice an utterance.

    It runs on the CPU, whatever device is asked for, and needs about 10 ms of one core per second of audio either way.
    A speaker vector says how a voice differs from the average one, which is all zeros; see `timbre.Timbre`.
    """

    can_average = True
    card: ClassVar[Card] = Card(
        CodecSpec(
            "world",
            sample_rate=analysis.SAMPLE_RATE,
            frame_size=analysis.FRAME_SIZE,
            streams=(
                Stream("content1", CODES, "content"),
                Stream("content2", CODES, "content"),
                Stream("prosody", CODES, "prosody"),
            ),
            family="decoupled",
            speaker_dim=VECTOR,
            revision="2",
        ),
        requires=("pyworld",),
        source="WORLD vocoder: Morise, Yokomori, Ozawa 2016",
    )
    cpu_only = True

    def __init__(self, tables: Tables, sha256: str) -> None:
        """Take ``tables``, whose file has ``sha256``."""
        self._tables = tables
        self.spec = dataclasses.replace(self.card.spec, weights_sha256=sha256)

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> WorldCodec:
        """Load the tables of the package, or others of the same kind from the file ``checkpoint``.

        Raises:
            FormatError: ``checkpoint`` is not a file of this codec's tables.
        """
        return cls(*load_tables(checkpoint or PATH))

    def encode(self, wav: Tensor) -> Encoded:
        """Return codes int64 [B, 3, T] and speaker vectors float32 [B, D]; each utterance is worked on alone.

        Raises:
            ShapeError: ``wav`` is not float [B, S] with S a positive multiple of 200.
        """
        check_wav(wav, self.spec)
        codes = np.zeros((wav.shape[0], 3, wav.shape[1] // self.spec.frame_size), dtype=np.int64)
        vectors = np.zeros((wav.shape[0], self.spec.speaker_dim), dtype=np.float32)
        for index, utterance in enumerate(wav.detach().cpu().numpy()):
            features = analysis.analyse(utterance.astype(np.float64))
            # Codes must fit the vector that is kept, and it is kept as float32.
            vectors[index] = estimate_timbre(features, self._tables).to_vector()
            codes[index] = quantize(features, Timbre.from_vector(vectors[index].astype(np.float64)), self._tables)
        return Encoded(torch.from_numpy(codes), torch.from_numpy(vectors))

    def average(self, probabilities: Tensor) -> Tensor:
        """Return the codes int64 [N, 3] nearest to the mean of all, of ``probabilities`` float [N, 3, 1024]."""
        codes = average(probabilities.double().cpu().numpy(), self._tables)
        return torch.from_numpy(codes).to(probabilities.device)

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return audio float32 [B, T * 200] in [-1, 1] of codes [B, 3, T] in the voices ``speaker`` [B, D].

        Raises:
            ShapeError: codes or speaker vectors do not fit the spec.
        """
        check_codes(codes, self.spec, speaker)
        assert speaker is not None  # check_codes has seen to it
        wavs = np.zeros((codes.shape[0], codes.shape[2] * self.spec.frame_size), dtype=np.float32)
        if wavs.size:
            for index, (row, vector) in enumerate(zip(codes.cpu().numpy(), speaker.cpu().numpy(), strict=True)):
                timbre = Timbre.from_vector(vector.astype(np.float64))
                wav = synthesis.synthesize(dequantize(row.astype(np.int64), timbre, self._tables))
                wavs[index] = np.clip(wav, -1.0, 1.0)
        return torch.from_numpy(wavs)

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Begin to decode an utterance stretch by stretch in the voice ``speaker`` [D]; see `WorldRenderer`."""
        assert speaker is not None  # StreamDecoder has seen to it
        return WorldRenderer(Timbre.from_vector(speaker.cpu().numpy().astype(np.float64)), self._tables)
