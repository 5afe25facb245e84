from __future__ import annotations

import dataclasses
import json
import pickle
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from slmtk.config import write_json
from slmtk.data import dataset_writer
from slmtk.data.dataset import open_dataset
from slmtk.data.dataset_columns import DatasetRow, SpeakerVectors
from slmtk.data.dataset_writer import DatasetWriter, SplitStats
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.spec import CodecSpec, Stream

SPEC = CodecSpec("two", 16_000, 200, (Stream("a", 8), Stream("b", 4)), speaker_dim=3)


def make_rows(count: int) -> list[DatasetRow]:
    random = np.random.default_rng(1)
    rows = []
    for number in range(count):
        frames = 1 + number % 5
        codes = np.stack([random.integers(0, 8, frames), random.integers(0, 4, frames)])
        vector = None if number % 3 == 2 else random.normal(size=3).astype(np.float32)
        question = "Who?" if number % 2 else None
        task = "qa" if question else "tts"
        speaker = f"s{number % 4}"
        rows.append(DatasetRow(f"u{number}", task, "Hé", question, codes, vector, speaker, frames, number, frames / 80))
    return rows


def write(folder: Path, rows: list[DatasetRow], spec: CodecSpec = SPEC, speakers: SpeakerVectors | None = None) -> None:
    folder.mkdir(parents=True)
    writer = DatasetWriter(folder, spec, speakers)
    for row in rows:
        writer.add("train", row)
    write_index(folder, writer.close(), spec, speakers)


def write_index(
    folder: Path, splits: Mapping[str, SplitStats], spec: CodecSpec, speakers: SpeakerVectors | None = None
) -> None:
    ByteTokenizer().save(folder / "tokenizer")
    tasks = sorted({task for stats in splits.values() for task in stats.tasks})
    head = {"format": 1, "kind": "dataset", "codec": spec.to_dict(), "tokenizer": {}, "tasks": tasks}
    said = {"speaker": speakers} if speakers else {}
    write_json(folder / "slmtk.json", {**head, **said, "vocabulary": Vocabulary(259, spec).to_dict(), "splits": splits})


def assert_same(found: DatasetRow, expected: DatasetRow) -> None:
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert found.codes.dtype == np.int64
    if expected.speaker_vector is None:
        assert found.speaker_vector is None
    else:
        np.testing.assert_array_equal(found.speaker_vector, expected.speaker_vector)
    for name in ("id", "task", "text", "question", "speaker", "num_frames", "num_text_tokens"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.duration == pytest.approx(expected.duration)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows a group and eighteen codes a part, so that a few rows make several of both."""
    monkeypatch.setattr(dataset_writer, "_ROW_GROUP", 3)
    monkeypatch.setattr(dataset_writer, "_PART_CODES", 18)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_every_row_comes_back_by_index_over_groups_and_parts(tmp_path: Path, cache_bytes: int):
    expected = make_rows(20)
    write(tmp_path / "set", expected)
    folder = open_dataset(tmp_path / "set")
    assert len(folder.files("train")) > 1
    rows = folder.rows("train", cache_bytes=cache_bytes)
    assert len(rows) == 20
    for index in np.random.default_rng(0).permutation(20):
        assert_same(rows[int(index)], expected[index])
    assert_same(rows[-1], expected[-1])
    assert [row.id for row in rows] == [row.id for row in expected]
    assert rows.num_frames.tolist() == [row.num_frames for row in expected]
    assert rows.num_text_tokens.tolist() == list(range(20))
    with pytest.raises(IndexError):
        rows[20]


@pytest.mark.usefixtures("small_groups")
def test_codes_of_spoken_questions_come_back_and_rows_without_one_have_none(tmp_path: Path):
    random = np.random.default_rng(2)
    asked = [None if n % 3 == 0 else random.integers(0, 4, (2, n % 4)) for n in range(20)]
    expected = [dataclasses.replace(row, question_codes=codes) for row, codes in zip(make_rows(20), asked, strict=True)]
    (tmp_path / "set").mkdir()
    writer = DatasetWriter(tmp_path / "set", SPEC, spoken_questions=True)
    for row in expected:
        writer.add("train", row)
    write_index(tmp_path / "set", writer.close(), SPEC)
    rows = open_dataset(tmp_path / "set").rows("train")
    assert rows.num_question_frames.tolist() == [0 if n % 3 == 0 else n % 4 for n in range(20)]
    for found, row in zip(rows, expected, strict=True):
        assert_same(found, row)
        if row.question_codes is None:
            assert found.question_codes is None
        else:
            np.testing.assert_array_equal(found.question_codes, row.question_codes)
            assert found.num_question_frames == row.num_question_frames
    write(tmp_path / "plain", make_rows(20))
    plain = open_dataset(tmp_path / "plain")
    assert not [
        name for name in plain.table("train").column_names if name.endswith(("question_codes", "_question_frames"))
    ]
    assert plain.rows("train").num_question_frames.tolist() == [0] * 20
    assert plain.rows("train")[1].question_codes is None


def test_a_spoken_question_without_its_column_or_of_other_streams_is_refused(tmp_path: Path):
    row = dataclasses.replace(make_rows(1)[0], question_codes=np.zeros((2, 3), np.int64))
    with pytest.raises(FormatError, match="'u0' has a spoken question, and this dataset has no column"):
        DatasetWriter(tmp_path, SPEC).add("train", row)
    wide = dataclasses.replace(row, question_codes=np.zeros((3, 3), np.int64))
    with pytest.raises(FormatError, match=r"'u0' has question codes \[3, 3\]; expected \[2, T\]"):
        DatasetWriter(tmp_path, SPEC, spoken_questions=True).add("train", wide)


def test_the_folder_says_what_a_model_needs(tmp_path: Path):
    write(tmp_path / "set", make_rows(4))
    folder = open_dataset(tmp_path / "set")
    assert folder.spec == SPEC
    assert folder.vocabulary == Vocabulary(259, SPEC)
    assert folder.tokenizer.name == "bytes"
    assert folder.tasks == ("qa", "tts")
    assert folder.table("train").num_rows == 4


def test_codes_lie_frame_by_frame(tmp_path: Path):
    codes = np.array([[1, 2, 3], [0, 1, 2]])
    write(tmp_path / "set", [DatasetRow("u", "tts", "Hi", None, codes, None, None, 3, 2, 0.04)])
    assert open_dataset(tmp_path / "set").table("train")["codes"][0].as_py() == [1, 0, 2, 1, 3, 2]


def test_a_codec_without_speakers_and_with_large_codebooks_fits(tmp_path: Path):
    spec = CodecSpec("large", 24_000, 320, (Stream("a", 100_000),))
    write(tmp_path / "set", [DatasetRow("u", "tts", "Hi", None, np.array([[99_999]]), None, None, 1, 2, 0.01)], spec)
    row = open_dataset(tmp_path / "set").rows("train")[0]
    assert (row.codes.tolist(), row.speaker_vector) == ([[99_999]], None)


def test_open_rows_travel_to_a_worker_process(tmp_path: Path):
    expected = make_rows(5)
    write(tmp_path / "set", expected)
    rows = open_dataset(tmp_path / "set").rows("train")
    assert_same(pickle.loads(pickle.dumps(rows))[3], expected[3])


@pytest.mark.usefixtures("small_groups")
def test_an_utterance_of_several_tasks_stands_there_once_for_each(tmp_path: Path):
    tasks = ["tts+asr", "tts", "asr", "qa+asr", "text", "tts", "asr+tts"]
    rows = [dataclasses.replace(row, task=task) for row, task in zip(make_rows(7), tasks, strict=True)]
    write(tmp_path / "set", rows)
    found = open_dataset(tmp_path / "set").rows("train")
    assert (len(found), found.num_utterances) == (10, 7)
    assert found.utterances.tolist() == [0, 0, 1, 2, 3, 3, 4, 5, 6, 6]
    assert list(found.tasks) == ["tts", "asr", "tts", "asr", "qa", "asr", "text", "tts", "asr", "tts"]
    assert [row.task for row in found] == list(found.tasks)
    assert [row.id for row in found] == [f"u{number}" for number in found.utterances]
    assert found.num_frames.tolist() == [rows[number].num_frames for number in found.utterances]
    assert list(found.speakers) == [rows[number].speaker for number in found.utterances]
    assert found.group_starts.tolist() == [0, 4, 8, 10]  # groups of the rows 0 1 2, 3 4 5 and 6
    stats = open_dataset(tmp_path / "set").info["splits"]["train"]
    assert (stats["rows"], stats["tasks"]) == (7, {"asr": 4, "qa": 1, "text": 1, "tts": 4})


def test_vectors_of_another_encoder_lie_beside_the_codecs(tmp_path: Path):
    speakers = SpeakerVectors("other", 2, "other 1.0")
    vector, timbre = np.array([1, 2], np.float32), np.array([3, 4, 5], np.float32)
    rows = [dataclasses.replace(make_rows(1)[0], speaker_vector=vector, timbre=timbre)]
    write(tmp_path / "set", rows, speakers=speakers)
    folder = open_dataset(tmp_path / "set")
    assert folder.speakers == speakers
    row = folder.rows("train")[0]
    assert row.speaker_vector is not None
    assert row.timbre is not None
    assert (row.speaker_vector.tolist(), row.timbre.tolist()) == ([1, 2], [3, 4, 5])
    assert row.codec_vector(folder.speakers) is row.timbre
    change_index(tmp_path / "set", speaker={"encoder": "codec", "dim": 3})
    with pytest.raises(FormatError, match="other columns"):
        open_dataset(tmp_path / "set").rows("train")


def test_reading_many_rows_takes_no_object_for_each(tmp_path: Path):
    count = 20_000
    row = DatasetRow("u", "tts+asr", "Hi", None, np.zeros((2, 1), np.int64), None, None, 1, 2, 0.01)
    rows = (dataclasses.replace(row, id=f"u{n}", speaker=f"speaker {n % 100}") for n in range(count))
    write(tmp_path / "set", rows)  # type: ignore[arg-type]
    folder = open_dataset(tmp_path / "set")
    folder.rows("train")  # what is loaded once
    tracemalloc.start()
    found = folder.rows("train")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 2 * count
    assert held / len(found) < 40  # bytes; a Python string alone has 50 and more


def test_statistics_of_a_split_are_sums(tmp_path: Path):
    write(tmp_path / "set", make_rows(6))  # frames 1 2 3 4 5 1
    stats = open_dataset(tmp_path / "set").info["splits"]["train"]
    assert (stats["rows"], stats["frames"], stats["text_tokens"], stats["speakers"]) == (6, 16, 15, 4)
    assert stats["seconds"] == 0.2


def test_rows_of_the_wrong_shape_are_refused(tmp_path: Path):
    writer = DatasetWriter(tmp_path, SPEC)
    with pytest.raises(FormatError, match=r"expected \[2, 3\]"):
        writer.add("train", DatasetRow("u", "tts", "Hi", None, np.zeros((3, 3), np.int64), None, None, 3, 2, 0.04))
    vector = np.zeros(4, np.float32)
    with pytest.raises(FormatError, match="speaker vector of 4; expected 3"):
        writer.add("train", DatasetRow("u", "tts", "Hi", None, np.zeros((2, 3), np.int64), vector, None, 3, 2, 0.04))


def test_an_unknown_split_is_named_with_those_there_are(tmp_path: Path):
    write(tmp_path / "set", make_rows(2))
    with pytest.raises(ConfigError, match="no split 'dev'; it has train"):
        open_dataset(tmp_path / "set").rows("dev")


def change_index(folder: Path, **values: object) -> None:
    index = json.loads((folder / "slmtk.json").read_text())
    write_json(folder / "slmtk.json", {**index, **values})


def test_a_folder_that_is_no_finished_dataset_is_refused(tmp_path: Path):
    with pytest.raises(FormatError, match=r"no slmtk\.json"):
        open_dataset(tmp_path)
    write(tmp_path / "set", make_rows(2))
    change_index(tmp_path / "set", kind="codes")
    with pytest.raises(FormatError, match="'codes'"):
        open_dataset(tmp_path / "set")
    (tmp_path / "set" / "slmtk.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        open_dataset(tmp_path / "set")


def test_missing_damaged_and_foreign_files_are_refused(tmp_path: Path):
    write(tmp_path / "set", make_rows(2))
    write(tmp_path / "other", make_rows(3))
    part = tmp_path / "set" / "train-00000.parquet"
    part.write_bytes((tmp_path / "other" / part.name).read_bytes())
    with pytest.raises(FormatError, match=r"has 3 rows, slmtk\.json says 2"):
        open_dataset(tmp_path / "set").rows("train")
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(FormatError, match="damaged"):
        open_dataset(tmp_path / "set").rows("train")
    part.unlink()
    with pytest.raises(FormatError, match="missing"):
        open_dataset(tmp_path / "set").rows("train")


def test_a_file_of_another_codec_is_refused(tmp_path: Path):
    # same columns, so only what the file says of its codec tells them apart
    other = CodecSpec("two", 16_000, 200, SPEC.streams, speaker_dim=3, revision="v2")
    write(tmp_path / "set", make_rows(2))
    write(tmp_path / "other", make_rows(2), other)
    part = tmp_path / "set" / "train-00000.parquet"
    part.write_bytes((tmp_path / "other" / part.name).read_bytes())
    with pytest.raises(FormatError, match="another codec"):
        open_dataset(tmp_path / "set").rows("train")


def test_another_tokenizer_than_the_vocabularys_is_refused(tmp_path: Path):
    write(tmp_path / "set", make_rows(2))
    change_index(tmp_path / "set", vocabulary=Vocabulary(300, SPEC).to_dict())
    with pytest.raises(FormatError, match="has 259 ids, but the dataset was built with 300"):
        _ = open_dataset(tmp_path / "set").tokenizer
