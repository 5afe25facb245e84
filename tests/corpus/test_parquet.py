"""Parquet files read where they lie: the same utterances as by loading them whole, and no more read than is asked."""

from __future__ import annotations

import io
import pickle

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from slmtk.corpus import CorpusConfig, find_utterances, known_seconds, load_audio, parquet, relative_source
from slmtk.errors import AudioError, CorpusError

pytest.importorskip("datasets")
STREAMING = CorpusConfig(streaming=True)


def encoded(level: float, seconds: float = 0.5) -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, np.full(round(8_000 * seconds), level), 8_000, format="WAV", subtype="PCM_16")
    return sound.getvalue()


def table(numbers: range, ids: list[str] | None = None) -> pa.Table:
    sounds = [{"bytes": encoded(number / 10), "path": f"{number}.wav"} for number in numbers]
    columns = {
        "audio": sounds,
        "text": [f"says {number}" for number in numbers],
        "speaker_id": [number // 2 for number in numbers],
        "dnsmos": [3.0 + number / 10 for number in numbers],
        "mood": ["calm" for _ in numbers],
    }
    return pa.table({**columns, **({"id": ids} if ids else {})})


@pytest.fixture
def dataset(tmp_path):
    """A folder as the hub has it: two shards of one split, row groups of two, and another split."""
    (tmp_path / "in/data").mkdir(parents=True)
    for shard, numbers in enumerate((range(3), range(3, 5))):
        pq.write_table(table(numbers), tmp_path / f"in/data/train-0000{shard}-of-00002.parquet", row_group_size=2)
    pq.write_table(table(range(7, 8)), tmp_path / "in/data/test-00000-of-00001.parquet")
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def nothing_held():
    for held in (parquet._open, parquet._read_group):
        held.cache_clear()


def check(corpus):
    assert (corpus.layout, corpus.root) == ("hf", None)
    found = [(u.id, u.text, u.speaker, u.extra, relative_source(u, None)) for u in corpus.utterances]
    assert found == [
        (f"{n:06d}", f"says {n}", str(n // 2), {"dnsmos": 3.0 + n / 10}, f"row {n}") for n in range(5)
    ]  # fmt: skip
    # Worker processes get utterances through a pipe.
    for number, utterance in enumerate(pickle.loads(pickle.dumps(corpus.utterances))):
        np.testing.assert_allclose(load_audio(utterance, 8_000), np.full(4_000, number / 10), atol=1e-4)


def test_a_folder_in_the_hubs_layout(dataset):
    check(find_utterances(dataset, CorpusConfig(streaming=True, split="train")))
    with pytest.raises(CorpusError, match="several splits; choose one of train, test with --split"):
        find_utterances(dataset, STREAMING)
    with pytest.raises(CorpusError, match="no split 'dev'"):
        find_utterances(dataset, CorpusConfig(streaming=True, split="dev"))


def test_files_behind_an_address_are_read_by_row_group_and_only_when_asked_for(dataset, monkeypatch):
    """As of a dataset of the hub, whose files have addresses; the stand-in is a file system in memory."""
    memory = fsspec.filesystem("memory")
    addresses = []
    for path in sorted((dataset / "data").glob("train-*")):
        memory.pipe(f"/owner/{path.name}", path.read_bytes())
        addresses.append(f"memory://owner/{path.name}")
    monkeypatch.setattr(parquet, "_files", lambda source, config: addresses)
    corpus = find_utterances("owner/name", STREAMING)
    assert parquet._read_group.cache_info().currsize == 0
    check(corpus)
    # Three groups (0-1, 2, 3-4) for five sounds.
    assert parquet._read_group.cache_info().misses == 3


def test_durations_are_estimated_from_bytes(dataset):
    corpus = find_utterances(dataset, CorpusConfig(streaming=True, split="train"))
    # All sounds have 0.5 s; a few bytes of each group are not sound.
    assert [known_seconds(u) for u in corpus.utterances] == pytest.approx([0.5] * 5, rel=0.05)


def test_ids_that_are_not_in_order_get_the_number_of_their_row(tmp_path):
    pq.write_table(table(range(3), ["a", "b", "c"]), tmp_path / "x.parquet")
    assert [u.id for u in find_utterances(tmp_path / "x.parquet", STREAMING).utterances] == ["a", "b", "c"]
    pq.write_table(table(range(3), ["c", "a", "b"]), tmp_path / "y.parquet")
    found = find_utterances(tmp_path / "y.parquet", STREAMING).utterances
    assert [(u.id, u.text) for u in found] == [("000000-c", "says 0"), ("000001-a", "says 1"), ("000002-b", "says 2")]


def test_columns_can_be_named_and_what_is_not_there_is_told(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(table(range(1)), path)
    config = CorpusConfig(streaming=True, text_column="mood", keep_columns=("text",))
    (utterance,) = find_utterances(path, config).utterances
    assert (utterance.text, utterance.extra["text"]) == ("calm", "says 0")
    with pytest.raises(CorpusError, match="no column 'voice'"):
        find_utterances(path, CorpusConfig(streaming=True, speaker_column="voice"))
    pq.write_table(table(range(1)).drop_columns("audio").rename_columns(["path", "s", "d", "m"]), path)
    parquet._open.cache_clear()
    with pytest.raises(CorpusError, match="column 'path' is string, not audio in the file; columns of audio: none"):
        find_utterances(path, STREAMING)


def test_cells_without_sound_fail_alone(tmp_path):
    cells = [{"bytes": None, "path": "gone.wav"}, {"bytes": None, "path": None}, {"bytes": encoded(0.5), "path": None}]
    pq.write_table(pa.table({"audio": cells}), tmp_path / "x.parquet")
    gone, empty, there = find_utterances(tmp_path / "x.parquet", STREAMING).utterances
    with pytest.raises(AudioError, match=r"row 0 .* holds the path 'gone.wav' alone"):
        load_audio(gone, 8_000)
    with pytest.raises(AudioError, match=r"row 1 .* holds no audio"):
        load_audio(empty, 8_000)
    assert len(load_audio(there, 8_000)) == 4_000


def test_a_network_that_fails_ends_the_run_and_no_recording_counts_as_failed(dataset, tmp_path, monkeypatch):
    from slmtk.progress import SilentProgress
    from slmtk.stages.tokenize import TokenizeConfig, tokenize
    from slmtk.stages.tokenize import work as tokenize_work

    def here(tasks, make, workers):
        encoder = make()
        yield from ((chunk, encoder(chunk.utterances)) for chunk in tasks)

    def fail(file, group, column):
        raise TimeoutError("no answer\nwithin 10 s")

    monkeypatch.setattr(tokenize_work, "_in_processes", here)
    monkeypatch.setattr(parquet, "_read_group", fail)
    corpus = CorpusConfig(streaming=True, split="test")
    config = TokenizeConfig("tests.helpers.tone:ToneCodec", device="cpu", workers=1, corpus=corpus)
    with pytest.raises(CorpusError, match=r"test-00000-of-00001.parquet cannot be read: no answer within 10 s"):
        tokenize(dataset, tmp_path / "out", config, SilentProgress())
    assert list((tmp_path / "out").glob("*.parquet")) == []
    monkeypatch.undo()
    assert tokenize(dataset, tmp_path / "out", config, SilentProgress()).encoded == 1


def test_what_cannot_be_streamed_is_told(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(CorpusError, match=r"x.parquet cannot be read as Parquet"):
        find_utterances(tmp_path / "x.parquet", STREAMING)
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8_000)
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(CorpusError, match=r"is in .wav files; --streaming reads .parquet alone"):
        find_utterances(tmp_path, STREAMING)
    with pytest.raises(CorpusError, match="--streaming takes Parquet files, or a dataset's id"):
        find_utterances(tmp_path / "nowhere", STREAMING)
    with pytest.raises(CorpusError, match="cannot find the dataset 'nobody/nothing'"):
        find_utterances("nobody/nothing", STREAMING)


def test_tokenize_resumes_a_streamed_corpus_and_gives_the_same_bytes(dataset, tmp_path):
    from slmtk.progress import SilentProgress
    from slmtk.shards import open_codes
    from slmtk.stages.tokenize import TokenizeConfig, tokenize

    def run(out, workers=1):
        corpus = CorpusConfig(streaming=True, split="train")
        config = TokenizeConfig(
            "tests.helpers.tone:ToneCodec", device="cpu", workers=workers, shard_hours=0.7 / 3600, corpus=corpus
        )
        return tokenize(dataset, out, config, SilentProgress())

    assert run(tmp_path / "one").parts == 3  # each but the last holds two estimated halves of a second
    whole = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert [row.id for row in open_codes(tmp_path / "one").rows()] == [f"{n:06d}" for n in range(5)]
    for name in ("part-00001.parquet", "slmtk.json"):
        (tmp_path / "one" / name).unlink()
    assert run(tmp_path / "one", workers=2).parts_reused == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == whole


def test_pieces_need_durations_that_streaming_does_not_know():
    from slmtk.errors import ConfigError
    from slmtk.stages.tokenize import TokenizeConfig

    with pytest.raises(ConfigError, match="--max-seconds needs durations"):
        TokenizeConfig("world", max_seconds=30, corpus=STREAMING)
