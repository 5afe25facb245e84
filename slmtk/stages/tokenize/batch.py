"""Utterances of equal length -> one call of the codec; what does not fit in memory goes in smaller batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk.codecs.base import Codec
from slmtk.errors import AudioError, CorpusError, SlmtkError

if TYPE_CHECKING:
    from torch import Tensor

# What codecs' libraries raise on an input they cannot take; it is counted and the run goes on.
CODEC_ERRORS = (SlmtkError, RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError)
MEMORY_HINT = "; it does not fit in memory even alone: split long recordings with --max-seconds"
_MEMORY_WORDS = ("out of memory", "allocate memory")


@dataclass(frozen=True)
class Codes:
    """An utterance's codes.

    Attributes:
        codes: int32 [K, T].
        speaker_vector: float32 [D] if the codec has them.
    """

    codes: np.ndarray[Any, np.dtype[np.int32]]
    speaker_vector: np.ndarray[Any, np.dtype[np.float32]] | None


@dataclass(frozen=True)
class NoCodes:
    """Why an utterance has none: ``kind`` "memory" or "codec", and a message."""

    kind: str
    message: str


class Batcher:
    """Encodes utterances, those with the same number of samples together.

    Padding to a common length would change codes, so unequal ones are never put together.
    """

    def __init__(self, codec: Codec, device: str, batch_seconds: float) -> None:
        """Fill batches up to ``batch_seconds`` of audio; 0 encodes each utterance alone."""
        self._codec, self._device = codec, device
        self._limit = batch_seconds * codec.spec.sample_rate
        self._told = False
        self.notes: list[str] = []
        """What the person who started the run should be told; whoever tells it clears it."""

    def encode(self, wavs: Sequence[Tensor]) -> list[Codes | NoCodes]:
        """Encode ``wavs``, float32 [S] each, S a whole number of frames; longest first, so memory fails early."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, wav in enumerate(wavs):
            by_length[len(wav)].append(place)
        done: dict[int, Codes | NoCodes] = {}
        for length in sorted(by_length, reverse=True):
            waiting = by_length[length]
            while waiting:
                count = max(1, int(self._limit // max(1, length)))
                batch = waiting[:count]
                found = self._try([wavs[place] for place in batch])
                if found is not None:
                    done.update(zip(batch, found, strict=True))
                    waiting = waiting[count:]
        return [done[place] for place in range(len(wavs))]

    def _try(self, wavs: Sequence[Tensor]) -> list[Codes | NoCodes] | None:
        """Encode one batch; None if it must be smaller, which the limit then is."""
        try:
            return list(self._run(wavs))
        except CODEC_ERRORS as error:
            # Kept without its traceback, which would hold on to the tensors that filled the memory.
            kind, message = ("memory" if is_memory(error) else "codec"), describe(error)
        if kind == "memory":
            _empty_cache()
        if len(wavs) == 1:
            return [NoCodes(kind, message + (MEMORY_HINT if kind == "memory" else ""))]
        if kind == "memory":
            self._halve(len(wavs) * len(wavs[0]))
            return None
        # One of them is at fault; the others are not to suffer for it.
        return [result for wav in wavs for result in self._try([wav]) or []]

    def _run(self, wavs: Sequence[Tensor]) -> list[Codes]:
        import torch

        with torch.inference_mode():
            encoded = self._codec.encode(torch.stack(list(wavs)).to(self._device))
        codes = encoded.codes.cpu().numpy().astype(np.int32)
        if encoded.speaker is None:
            return [Codes(row, None) for row in codes]
        vectors = encoded.speaker.float().cpu().numpy()
        return [Codes(row, vector) for row, vector in zip(codes, vectors, strict=True)]

    def _halve(self, samples: int) -> None:
        rate = self._codec.spec.sample_rate
        self._limit = samples / 2
        if not self._told:
            self._told = True
            self.notes.append(
                f"out of memory with {samples / rate:.0f} s of audio at once: going on with half, and half again "
                "where that is too much; --batch-seconds sets it from the start"
            )


def is_memory(error: BaseException) -> bool:
    """Tell whether ``error`` says that memory, of the machine or a GPU, did not suffice."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def cause(error: Exception) -> tuple[str, str]:
    """Kind and message of what made a recording fail.

    Raises:
        CorpusError: what the whole corpus lies on is gone, which is no recording's fault.
    """
    if isinstance(error, CorpusError):
        raise error
    if isinstance(error, AudioError):
        return error.kind, str(error)
    if isinstance(error, OSError):
        return "unreadable", str(error)
    return "codec", describe(error)


def describe(error: BaseException) -> str:
    """Return a line about ``error``, with its type unless it was meant for users."""
    return str(error) if isinstance(error, SlmtkError) else f"{type(error).__name__}: {error}"


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
