"""Speaker verification networks of the transformers library: speech -> an x-vector of who speaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmtk.config import hub_commit, model_revision
from slmtk.errors import FormatError, WeightsError, first_line
from slmtk.quiet import no_bars
from slmtk.speakers.base import SpeakerEncoder, check_samples

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "microsoft/wavlm-base-plus-sv"
REVISION = "feb593a6c23c1cc3d9510425c29b0a14d2b07b1e"
"""Commit of `CHECKPOINT`, as several projects name it; it was not fetched when this was written."""
# The x-vector's convolutions over time reach over 15 frames of 20 ms.
_MIN_SECONDS = 0.4
# A voice is known after some seconds, and attention's memory grows with the square of them.
_MAX_SECONDS = 30.0


class WavLMEncoder(SpeakerEncoder):
    """A `WavLMForXVector`; of recordings longer than 30 s the first 30 s are heard.

    Source: Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", IEEE JSTSP
    2022, with the x-vector head of Snyder et al. (ICASSP 2018); published weights microsoft/wavlm-base-plus-sv (512
    values), the measure of speaker similarity in much of the literature.
    """

    def __init__(self, model: str = CHECKPOINT, device: str = "cpu") -> None:
        """Load network and feature extractor from ``model``, a local folder or a hub id.

        Raises:
            WeightsError: they are not here and cannot be fetched.
            FormatError: ``model`` is no WavLM with an x-vector head, or damaged.
        """
        from transformers import AutoConfig, AutoFeatureExtractor, WavLMForXVector

        pinned = REVISION if model == CHECKPOINT else None
        try:
            # "main" may move between two downloads: all parts come from one commit.
            commit = None if Path(model).is_dir() else hub_commit(model, pinned)
            config = AutoConfig.from_pretrained(model, revision=commit)
            kinds = list(config.architectures or [])
            # transformers would fill the head of any other WavLM with random numbers.
            if config.model_type != "wavlm" or "WavLMForXVector" not in kinds:
                found = ", ".join(kinds) or "nothing more"
                raise FormatError(
                    f"{model} is a {config.model_type} model ({found}); expected a WavLMForXVector such as {CHECKPOINT}"
                )
            self._extractor: Any = AutoFeatureExtractor.from_pretrained(model, revision=commit)
            with no_bars():
                self._network: Any = WavLMForXVector.from_pretrained(model, revision=commit).to(device).eval()
        except OSError as error:
            raise WeightsError(
                f"the speaker encoder {model} is not here and cannot be fetched; without a network name a local folder "
                "of it, as wavlm:FOLDER"
            ) from error
        except (ValueError, KeyError) as error:
            raise FormatError(
                f"{model}: not a speaker encoder that transformers can load ({first_line(error)})"
            ) from error
        self.dim = int(config.xvector_output_dim)
        self.sample_rate = int(self._extractor.sampling_rate)
        self._device = device
        self.name = f"{_short(model)} {commit[:12] if commit else model_revision(model)}"

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> WavLMEncoder:
        """Load it; without ``model`` the published weights.

        Raises:
            WeightsError: they are not here and cannot be fetched.
            FormatError: ``model`` is no WavLM with an x-vector head.
        """
        return cls(model or CHECKPOINT, device)

    def embed(self, wav: Tensor) -> Tensor:
        """Return the vector of one utterance.

        Args:
            wav: float32 [S] in [-1, 1] at ``sample_rate``.

        Returns:
            float32 [D] of length 1, on the CPU.

        Raises:
            AudioError: kind "nan", "empty" (no sample, or silence) or "too_short" (0.4 s are needed).
        """
        import torch

        check_samples(wav.detach(), self.sample_rate, _MIN_SECONDS)
        samples = wav.detach().cpu().numpy().astype(np.float32)[: int(_MAX_SECONDS * self.sample_rate)]
        inputs = self._extractor(samples, sampling_rate=self.sample_rate, return_tensors="pt")
        with torch.inference_mode():
            found: Tensor = self._network(inputs["input_values"].to(self._device)).embeddings[0].float().cpu()
        unit: Tensor = found / found.norm()
        return unit.clone()


def _short(model: str) -> str:
    """The hub id, or a folder's own name: where it lies is no part of what it is."""
    path = Path(model)
    return path.resolve().name if path.is_dir() else model
