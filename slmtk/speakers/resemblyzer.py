"""The embedded speaker encoder, offline: speech -> a 256-d vector of who speaks, by Resemblyzer's network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from slmtk.errors import AudioError, ConfigError
from slmtk.speakers.base import SpeakerEncoder, check_samples

if TYPE_CHECKING:
    from torch import Tensor

# Less speech than this after silences are cut says nothing of a voice; the network hears windows of 1.6 s.
_MIN_SECONDS = 0.2


class ResemblyzerEncoder(SpeakerEncoder):
    """Resemblyzer's voice encoder; its weights come with its wheel.

    Loudness is raised to -30 dBFS and long silences are cut as Resemblyzer does before it embeds. Source: Wan et al.,
    "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018; the package resemblyzer.
    """

    dim = 256

    def __init__(self, device: str = "cpu") -> None:
        """Load the network."""
        with warnings.catch_warnings():
            # webrtcvad, which it imports, asks pkg_resources for its version; that warns at length.
            warnings.simplefilter("ignore")
            from resemblyzer import VoiceEncoder, preprocess_wav
        self.name = f"resemblyzer-{version('resemblyzer')}"
        self._preprocess = preprocess_wav
        self._network = VoiceEncoder(device, verbose=False).eval()

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> ResemblyzerEncoder:
        """Load it.

        Raises:
            ConfigError: a ``model`` is named.
        """
        if model is not None:
            raise ConfigError(f"resemblyzer has its own weights and no use for {model!r}")
        return cls(device)

    def embed(self, wav: Tensor) -> Tensor:
        """Return the vector of one utterance.

        Args:
            wav: float32 [S] in [-1, 1] at 16 kHz.

        Returns:
            float32 [256] of length 1, on the CPU; its values are 0 or more.

        Raises:
            AudioError: kind "nan", "empty" (no sample, or silence) or "too_short" (0.2 s of speech are needed).
        """
        import torch

        check_samples(wav.detach(), self.sample_rate, _MIN_SECONDS)
        samples = wav.detach().cpu().numpy().astype(np.float32)
        with _one_thread():
            speech = self._preprocess(samples)
            if speech.size < _MIN_SECONDS * self.sample_rate:
                raise AudioError(f"less than {_MIN_SECONDS} s of speech in an utterance to compare", kind="too_short")
            vector: Tensor = torch.from_numpy(self._network.embed_utterance(speech)).float()
        unit: Tensor = vector / vector.norm()
        return unit


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: a small LSTM over one utterance only waits for the others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
