"""Whose voice is heard: speech against a reference of the voice and against the original recording -> similarities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from slmtk import audio
from slmtk.errors import AudioError
from slmtk.metrics.similarity import cosine
from slmtk.speakers.base import SpeakerEncoder, check_samples, load_named_encoder
from slmtk.stages.scoring import Pair
from slmtk.stages.speech_sources import ReadAudio
from slmtk.stages.through_codec import ThroughCodec

if TYPE_CHECKING:
    from torch import Tensor

# A voice's clip is compared with many utterances; a vector takes some hundred to thousand bytes.
_REMEMBERED = 4096


class VoiceScores:
    """Compares voices as one encoder hears them; it is loaded for the first pair that has something to compare with."""

    def __init__(
        self,
        encoder: str,
        device: str,
        *,
        originals: bool,
        measures: Sequence[tuple[str, ThroughCodec | None]] = (("", None),),
        load: Callable[[], SpeakerEncoder] | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            encoder: a plug-in's name, or "NAME:MODEL".
            device: where the encoder runs.
            originals: the texts' source holds other recordings than the speech's.
            measures: what the numbers' names begin with, and what the other side goes through before it is compared;
                by default nothing and nothing.
            load: loads the encoder in place of the plug-in.
        """
        self._load = load or partial(load_named_encoder, encoder, device=device)
        self._originals = originals
        self._measures = measures
        self._embed_file = lru_cache(maxsize=_REMEMBERED)(self._read_and_embed)
        self.left_out: Counter[str] = Counter()
        """What could not be compared so far: "MEASURE: reason" -> times."""

    def compare(self, pair: Pair, wav: Tensor, sample_rate: int, original: ReadAudio | None = None) -> dict[str, float]:
        """Return the cosines by name: "ENCODER to reference" (the clip of the voice that was asked for) and "ENCODER to
        original" (the recording of the same sentence), with the measure before them and " through CODEC" behind.

        A side without a voice to judge (too short, silent, unreadable) gives no number and is counted in ``left_out``;
        a mean says how many it has.

        Args:
            pair: tells what to compare with.
            wav: float32 [S] in [-1, 1], the speech.
            sample_rate: of ``wav`` in Hz.
            original: reads the recording of the sentence, instead of the pair's own reader.
        """
        reference = None if pair.speech is None else pair.speech.reference
        original = (original or pair.meant.read) if self._originals else None
        if reference is None and original is None:
            self.left_out.update(f"{measure}: no recording to compare with" for measure, _ in self._measures)
            return {}
        vector = self._voice(audio.resample(wav, sample_rate, self._encoder.sample_rate))
        found: dict[str, float] = {}
        for measure, through in self._measures:
            others: dict[str, Tensor | None] = {}
            if reference is not None:
                others["reference"] = self._embed_file(reference, through)
            if original is not None:
                others["original"] = self._voice_of(original, through)
            for side, other in others.items():
                if vector is None or other is None:
                    self.left_out[f"{measure}: no voice to judge"] += 1
                else:
                    found[self._name_of(measure, side, through)] = cosine(vector, other)
        return found

    def _name_of(self, measure: str, side: str, through: ThroughCodec | None) -> str:
        name = f"{measure} {self._encoder.name} to {side}".strip()
        return name if through is None else f"{name} through {through.name}"

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return self._load()

    def _voice(self, wav: Tensor) -> Tensor | None:
        try:
            return self._encoder.embed(wav)
        except AudioError:
            return None

    def _voice_of(self, read: ReadAudio, through: ThroughCodec | None) -> Tensor | None:
        rate = self._encoder.sample_rate
        try:
            wav = read(rate)
            if through is not None:
                check_samples(wav, rate, min_seconds=0.0)
                wav = through(wav, rate)
        except AudioError:
            return None
        return self._voice(wav)

    def _read_and_embed(self, path: Path, through: ThroughCodec | None) -> Tensor | None:
        return self._voice_of(lambda rate: audio.read(path, rate)[0], through)
