"""Write a few training targets as audio before the first step: a broken dataset is heard, not trained on."""

from __future__ import annotations

from pathlib import Path

import torch

from slmtk import audio
from slmtk.codecs.base import load_codec_of
from slmtk.data.collate import codes_of_labels
from slmtk.data.dataset import DatasetFolder
from slmtk.data.training_set import TrainingSet
from slmtk.errors import CodecMismatchError
from slmtk.layout import Layout


def write_targets(
    train_set: TrainingSet, folder: DatasetFolder, layout: Layout, out: Path, count: int, checkpoint: Path | None
) -> list[Path]:
    """Decode the labels of the first ``count`` rows and write them as wav files into ``out``.

    Returns:
        the files, named by the rows' ids.

    Raises:
        CodecMismatchError: the codec here is not the one that the dataset was made with.
    """
    if not count:
        return []
    codec = load_codec_of(folder.spec, checkpoint=checkpoint)
    differences = codec.spec.differences(folder.spec)
    if differences:
        raise CodecMismatchError(
            f"the codec here is not the dataset's ({'; '.join(differences)}); use the same weights"
        )
    files = []
    for index in range(min(count, len(train_set))):
        row = train_set.rows[index]
        codes = codes_of_labels(train_set[index], folder.vocabulary, layout)
        speaker = None if row.speaker_vector is None else torch.from_numpy(row.speaker_vector.copy())[None]
        wav = codec.decode(codes[None], speaker)[0]
        files.append(out / f"{row.id.replace('/', '_')}.wav")
        audio.write(files[-1], wav, folder.spec.sample_rate)
    return files
