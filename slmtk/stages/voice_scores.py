"""Whose voice is heard: speech against a reference of the voice and against the original recording -> similarities."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.errors import AudioError
from slmtk.metrics.similarity import cosine
from slmtk.speakers.base import SpeakerEncoder, load_speaker_encoder
from slmtk.stages.scoring import Pair
from slmtk.stages.speech_sources import ReadAudio

if TYPE_CHECKING:
    from torch import Tensor


class VoiceScores:
    """Compares voices; the encoder is loaded for the first pair that has something to compare with."""

    def __init__(self, encoder: str, device: str, *, originals: bool) -> None:
        """Take the plug-in's name; ``originals``: the texts' source holds other recordings than the speech's."""
        self._name = encoder
        self._device = device
        self._originals = originals
        self._embed_file = lru_cache(maxsize=4096)(self._read_and_embed)

    def compare(self, pair: Pair, wav: Tensor, sample_rate: int) -> dict[str, float]:
        """Return the cosines by name, "ENCODER to reference" and "ENCODER to original".

        A side without a voice to judge (too short, silent, unreadable) gives no number; a mean says how many it has.

        Args:
            pair: tells what to compare with.
            wav: float32 [S] in [-1, 1], the speech.
            sample_rate: of ``wav`` in Hz.
        """
        reference = None if pair.speech is None else pair.speech.reference
        original = pair.meant.read if self._originals else None
        if reference is None and original is None:
            return {}
        found: dict[str, float] = {}
        rate = self._encoder.sample_rate
        vector = self._voice(audio.resample(wav, sample_rate, rate))
        others = {
            "reference": None if reference is None else self._embed_file(reference),
            "original": None if original is None else self._voice_of(original),
        }
        for name, other in others.items():
            if vector is not None and other is not None:
                found[f"{self._encoder.name} to {name}"] = cosine(vector, other)
        return found

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return load_speaker_encoder(self._name, device=self._device)

    def _voice(self, wav: Tensor) -> Tensor | None:
        try:
            return self._encoder.embed(wav)
        except AudioError:
            return None

    def _voice_of(self, read: ReadAudio) -> Tensor | None:
        try:
            wav = read(self._encoder.sample_rate)
        except AudioError:
            return None
        return self._voice(wav)

    def _read_and_embed(self, path: Path) -> Tensor | None:
        return self._voice_of(lambda rate: audio.read(path, rate)[0])
