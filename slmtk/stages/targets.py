"""Write a few training targets as audio before the first step: a broken dataset is heard, not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from slmtk import audio
from slmtk.codecs.base import Codec, load_codec_of
from slmtk.data.dataset import DatasetFolder
from slmtk.data.examples import codes_of_labels
from slmtk.data.prompts import SPEAKING_TASKS
from slmtk.data.training_set import TrainingSet
from slmtk.errors import CodecMismatchError
from slmtk.layout import Layout


def write_targets(
    train_set: TrainingSet, folder: DatasetFolder, layout: Layout, out: Path, count: int, checkpoint: Path | None
) -> list[Path]:
    """Decode the labels of the first ``count`` rows that are spoken and write them as wav files into ``out``.

    Returns:
        the files, named by the rows' ids.

    Raises:
        CodecMismatchError: the codec here is not the one that the dataset was made with.
    """
    spoken = _spoken(train_set, count)
    if not spoken:
        return []
    codec = load_codec_of(folder.spec, checkpoint=checkpoint)
    differences = codec.spec.differences(folder.spec)
    if differences:
        raise CodecMismatchError(
            f"the codec here is not the dataset's ({'; '.join(differences)}); use the same weights"
        )
    return [_write(index, train_set, folder, layout, codec, out) for index in spoken]


def _spoken(train_set: TrainingSet, count: int) -> list[int]:
    tasks = train_set.rows.tasks
    spoken = [number for number, name in enumerate(tasks.names) if name in SPEAKING_TASKS]
    found: list[int] = np.flatnonzero(np.isin(tasks.codes, spoken))[:count].tolist()
    return found


def _write(index: int, train_set: TrainingSet, folder: DatasetFolder, layout: Layout, codec: Codec, out: Path) -> Path:
    row = train_set.rows[index]
    codes = codes_of_labels(train_set[index], folder.vocabulary, layout)
    vector = row.codec_vector(folder.speakers)
    speaker = None if vector is None else torch.from_numpy(vector.copy())[None]
    path = out / f"{row.id.replace('/', '_')}.wav"
    audio.write(path, codec.decode(codes[None], speaker)[0], folder.spec.sample_rate)
    return path
