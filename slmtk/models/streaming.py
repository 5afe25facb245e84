"""A text -> audio while the model is still speaking: codes become sound as soon as they are certain."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from slmtk.codecs.streaming import Pace, StreamDecoder
from slmtk.models.decoding.batch import BatchGenerator, Generated
from slmtk.models.decoding.mean import average_of
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer
from slmtk.models.voices import Voice


class AudioStream(Iterator[NDArray[np.float32]]):
    """One utterance's audio: iterate over stretches, float32 [S] in [-1, 1], none of them empty.

    Joined they are what `Synthesizer.speak` gives for the same text, voice and sampling, as nearly as the codec can
    decode in stretches (`slmtk.codecs.streaming`). The model goes on only when the next stretch is asked for.

    Attributes:
        sample_rate: Hz.
        first_audio_seconds: from the first request to the first stretch; None before it.
        result: what the model said, once the stream has ended; None before, or if it was closed.
        samples: given so far.
        seconds: of wall time, from the first request on, that went into the audio given so far.
    """

    def __init__(
        self, synthesizer: Synthesizer, text: str, voice: Voice, sampling: Sampling, pace: Pace | None = None
    ) -> None:
        """Prepare to speak; `stream_audio` does the same.

        Raises:
            ConfigError: the model was not trained to read text, or needs a voice.
        """
        self.sample_rate = synthesizer.spec.sample_rate
        self.first_audio_seconds: float | None = None
        self.result: Generated | None = None
        self.samples = 0
        self.seconds = 0.0
        request = synthesizer.request("tts", text, voice, sampling)
        self._steps = BatchGenerator(synthesizer.model, batch_size=1, average=average_of(synthesizer.codec)).stream(
            request
        )
        self._decoder = StreamDecoder(synthesizer.codec, voice.speaker, pace)
        self._started: float | None = None

    def __next__(self) -> NDArray[np.float32]:
        """Let the model speak until there is a stretch of audio.

        Raises:
            StopIteration: everything has been said, or the stream was closed.
        """
        started = time.perf_counter()
        try:
            wav = self._until_audio()
        finally:
            self.seconds += time.perf_counter() - started
        if not len(wav):
            raise StopIteration
        if self.first_audio_seconds is None:
            self.first_audio_seconds = self.seconds
        self.samples += len(wav)
        return wav

    def _until_audio(self) -> NDArray[np.float32]:
        for step in self._steps:
            wav = self._decoder.push(step.codes)
            if step.result is not None:
                self.result = step.result
                wav = np.concatenate([wav, self._decoder.finish()])
            if len(wav):
                return wav
        return np.zeros(0, dtype=np.float32)

    def close(self) -> None:
        """Stop speaking: the listener has gone."""
        if isinstance(self._steps, Generator):
            self._steps.close()

    def __enter__(self) -> Self:
        """Nothing but the stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def stream_audio(
    synthesizer: Synthesizer, text: str, voice: Voice, sampling: Sampling, pace: Pace | None = None
) -> AudioStream:
    """Speak ``text`` in ``voice`` and give its audio while it is generated.

    Args:
        synthesizer: speaks; one stream at a time uses the model.
        text: one sentence or a few; `slmtk.data.sentences.split_text` makes such of long texts.
        voice: of `Synthesizer.voice`.
        sampling: how codes are chosen.
        pace: how much audio is decoded at once.

    Raises:
        ConfigError: the model was not trained to read text, or needs a voice.
    """
    return AudioStream(synthesizer, text, voice, sampling, pace)
