"""Training targets as audio: rows that are spoken, in the codec's own voice whatever the model is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from slmtk.data.dataset import open_dataset
from slmtk.data.dataset_columns import DatasetRow, SpeakerVectors
from slmtk.data.dataset_writer import DatasetWriter
from slmtk.data.training_set import TrainingSet
from slmtk.layout import Layout
from slmtk.stages.targets import write_targets
from tests.data.test_dataset import write_index
from tests.helpers.tiny_run import use_voiced_tone
from tests.helpers.tone import VoicedToneCodec

SPEC = VoicedToneCodec.spec
CODES = np.stack([np.full(50, 20), np.zeros(50, np.int64)])  # a full-scale sine of a second


def row(name: str, task: str, timbre: float) -> DatasetRow:
    vector, own = np.array([9, 9, 9], np.float32), np.array([timbre], np.float32)
    if task == "text":
        return DatasetRow(name, task, "Hi", None, CODES[:, :0], None, None, 0, 2, 0.0)
    return DatasetRow(name, task, "Hi", None, CODES, vector, "s", 50, 2, 1.0, own)


@pytest.mark.parametrize("layout", [Layout("grouped", 2, 4), Layout("delayed", 2)])
def test_spoken_rows_are_heard_in_the_codecs_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout):
    use_voiced_tone(monkeypatch)
    speakers = SpeakerVectors("other", 3, "other 1")
    (tmp_path / "set").mkdir()
    writer = DatasetWriter(tmp_path / "set", SPEC, speakers)
    for made in (row("t", "text", 0), row("a", "asr", 0.1), row("b", "tts+asr", 0.5), row("c", "tts", 0.25)):
        writer.add("train", made)
    write_index(tmp_path / "set", writer.close(), SPEC, speakers)
    folder = open_dataset(tmp_path / "set")
    rows = TrainingSet(folder, "train", layout, speaker_aware=True)
    files = write_targets(rows, folder, layout, tmp_path / "targets", 5, None)
    assert [path.name for path in files] == ["b.wav", "c.wav"]
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in files]
    assert peaks == pytest.approx([0.5, 0.25], abs=0.01)
    assert write_targets(rows, folder, layout, tmp_path / "none", 0, None) == []
