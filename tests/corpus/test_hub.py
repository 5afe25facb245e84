"""Hugging Face datasets: saved folders and Parquet files with encoded audio, read without a decoder of theirs."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import soundfile

from slmtk.corpus import CorpusConfig, find_utterances, load_audio
from slmtk.errors import AudioError, CorpusError

datasets = pytest.importorskip("datasets")


def encoded(level: float) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(800, level), 8_000, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


@pytest.fixture
def dataset():
    columns = {
        "audio": [{"bytes": encoded(level), "path": f"{level}.flac"} for level in (0.5, 0.25)],
        "text": ["half", ""],
        "speaker_id": [7, 8],
        "dnsmos": [3.5, 2.5],
        "mood": ["calm", "glad"],
    }
    return datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(decode=False))


def check(corpus):
    assert (corpus.layout, corpus.root) == ("hf", None)
    found = [(u.id, u.text, u.speaker, u.extra) for u in corpus.utterances]
    assert found == [("000000", "half", "7", {"dnsmos": 3.5}), ("000001", None, "8", {"dnsmos": 2.5})]
    # Worker processes get utterances through a pipe.
    for utterance, level in zip(pickle.loads(pickle.dumps(corpus.utterances)), (0.5, 0.25), strict=True):
        wav = load_audio(utterance, 8_000)
        np.testing.assert_allclose(wav, np.full(800, level), atol=1e-6)


def test_a_saved_dataset(dataset, tmp_path):
    dataset.cast_column("audio", datasets.Audio()).save_to_disk(tmp_path / "saved")
    check(find_utterances(tmp_path / "saved"))


def test_parquet_files(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pq").mkdir()
    dataset.to_parquet(tmp_path / "pq" / "train-00000-of-00001.parquet")
    check(find_utterances(tmp_path / "pq"))


def test_of_several_splits_one_is_chosen(dataset, tmp_path):
    both = {"train": dataset, "test": dataset.select([1])}
    datasets.DatasetDict(both).save_to_disk(tmp_path / "saved")
    with pytest.raises(CorpusError, match="several splits; choose one of train, test with --split"):
        find_utterances(tmp_path / "saved")
    corpus = find_utterances(tmp_path / "saved", CorpusConfig(split="test", keep_columns=("mood",)))
    assert [(u.speaker, u.extra["mood"]) for u in corpus.utterances] == [("8", "glad")]
    np.testing.assert_allclose(load_audio(corpus.utterances[0], 8_000), np.full(800, 0.25), atol=1e-6)


def test_a_dataset_without_audio_and_an_empty_cell_are_told(dataset, tmp_path):
    dataset.remove_columns("audio").rename_column("mood", "path").save_to_disk(tmp_path / "silent")
    with pytest.raises(CorpusError, match="column 'path' is Value, not audio; columns of audio: none"):
        find_utterances(tmp_path / "silent")
    cells = [{"bytes": None, "path": None}, {"bytes": encoded(0.5), "path": None}]
    datasets.Dataset.from_dict({"audio": cells}).save_to_disk(tmp_path / "holes")
    with pytest.raises(AudioError, match=r"row 0 of .* holds no audio"):
        load_audio(find_utterances(tmp_path / "holes").utterances[0], 8_000)


def test_a_hub_id_that_cannot_be_reached_is_a_user_error():
    with pytest.raises(CorpusError, match="cannot load the dataset 'nobody/nothing'"):
        find_utterances("nobody/nothing")
