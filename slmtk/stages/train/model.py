"""The model that a run trains: new, around a language model, or going on from one that slmtk trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmtk.data.dataset import DatasetFolder
from slmtk.data.training_set import TrainingSet
from slmtk.errors import ConfigError, FormatError, first_line
from slmtk.models.build import build_model
from slmtk.models.config import SpeechLMConfig
from slmtk.models.loading import load_model
from slmtk.models.speech_lm import SpeechLM
from slmtk.stages.train.base import Base, stream_numbers
from slmtk.stages.train.config import TrainConfig

STATISTICS_ROWS = 2000
"""Speaker vectors that mean and deviation are taken from."""


def model_settings(folder: DatasetFolder, config: TrainConfig) -> dict[str, Any]:
    """Fields of `SpeechLMConfig`, for settings that `resolve` has filled in."""
    return {
        "layout": config.layout,
        "frames_per_step": config.frames_per_step,
        "stream_order": stream_numbers(config.stream_order, folder),
        "head": config.head,
        "fusion": config.fusion,
        "speaker_dim": folder.speaker_dim if config.speaker_aware else 0,
        "speaker_encoder": folder.speaker_encoder if config.speaker_aware else "",
        "reference_prompt": config.reference_prompt,
        "text_weight": config.text_weight,
        "speech_weight": config.speech_weight,
        "tasks": list(folder.tasks),
    }


def make_model(folder: DatasetFolder, config: TrainConfig, base: Base) -> SpeechLM:
    """Build the model, on the CPU; its random parts follow torch's global seed.

    Raises:
        FormatError: the base's weights cannot be read, or are not all there.
        ConfigError: the base does not fit the dataset, or noise is asked for without speaker vectors.
    """
    if base.speech is None:
        settings, vocabulary = model_settings(folder, config), folder.vocabulary.to_dict()
        model = build_model(settings, vocabulary, base=config.base, size=config.size, revision=config.base_revision)
    else:
        model = load_model(Path(config.base))
        _check_speakers(model, folder, config)
        model.config.text_weight, model.config.speech_weight = config.text_weight, config.speech_weight
        # In the base's order: it may still be asked for what it learnt first.
        model.config.tasks = list(dict.fromkeys([*(model.config.tasks or []), *folder.tasks]))
    if model.speaker is not None:
        model.speaker.noise = config.speaker_noise
    elif config.speaker_noise:
        raise ConfigError("speaker_noise is for the vectors of a speaker-aware model, and this one has none")
    model.set_attention(config.attention)
    return model


def _check_speakers(model: SpeechLM, folder: DatasetFolder, config: TrainConfig) -> None:
    ours, theirs = (
        (model.config.speaker_encoder, model.config.speaker_dim),
        (folder.speaker_encoder, folder.speaker_dim),
    )
    if model.config.speaker_dim and ours != theirs:
        raise ConfigError(
            f"--base {config.base!r} was trained with speaker vectors of {ours[0]!r} ({ours[1]} numbers), the dataset "
            f"has {theirs[0]!r} ({theirs[1]}); build it with `--speaker-encoder {ours[0]}`"
        )


def set_speaker_statistics(model: SpeechLM, train_set: TrainingSet) -> None:
    """Standardise speaker vectors by the training set's; a model that was trained before keeps its own.

    Raises:
        ConfigError: no row has a vector.
    """
    if model.speaker is None:
        return
    picks = np.linspace(0, len(train_set) - 1, min(len(train_set), STATISTICS_ROWS)).astype(int)
    vectors = [train_set.rows[int(i)].speaker_vector for i in picks]
    known = [vector for vector in vectors if vector is not None]
    if not known:
        raise ConfigError("no row of the dataset has a speaker vector; train without --speaker-aware")
    values = np.stack(known)
    model.speaker.mean.copy_(torch.from_numpy(values.mean(0)))
    model.speaker.scale.copy_(torch.from_numpy(np.maximum(values.std(0), 1e-3)))


def count_parameters(folder: DatasetFolder, config: TrainConfig, base: Base) -> int | None:
    """How many parameters the model will have, without reading or making weights; None for a base on the hub.

    Raises:
        FormatError: a local base's configuration cannot be read.
    """
    from transformers import AutoConfig

    from slmtk.models.build import tiny_backbone_config

    rows = folder.vocabulary.size
    if base.speech is not None:
        settings = base.speech
    elif base.kind == "hub":
        return None
    else:
        try:
            backbone = (
                tiny_backbone_config(rows, config.size)
                if base.kind == "tiny"
                else AutoConfig.from_pretrained(config.base, local_files_only=True)
            )
        except (OSError, ValueError) as error:
            raise FormatError(
                f"--base {config.base!r}: no causal language model could be loaded from this folder "
                f"({first_line(error)})"
            ) from error
        backbone.vocab_size = rows
        settings = SpeechLMConfig(
            backbone=backbone.to_dict(), vocabulary=folder.vocabulary.to_dict(), **model_settings(folder, config)
        )
    with torch.device("meta"):
        return sum(int(parameter.numel()) for parameter in SpeechLM(settings).parameters())
