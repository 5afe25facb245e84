"""One dataset of several tasks: an utterance is one row for all of its, and texts without speech stand beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slmtk.data.dataset import open_dataset
from slmtk.data.splits import SplitConfig
from slmtk.errors import ConfigError, FormatError
from tests.stages.test_build_dataset import build, make_row, write_codes


def tasks_of(folder: Path, split: str = "train") -> list[tuple[str, str]]:
    return [(row.id, row.task) for row in open_dataset(folder).rows(split)]


def write_texts(path: Path, count: int = 3) -> Path:
    lines = [{"instruction": f"Say {number}", "response": f"Number {number}"} for number in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_utterance_serves_several_tasks_from_one_row(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a"), make_row("b", "PARIS")])
    (tmp_path / "q.jsonl").write_text('{"id": "b", "question": "Capital of France?"}\n')
    report = build([codes], tmp_path / "set", tasks=("asr", "tts"), questions=tmp_path / "q.jsonl")
    assert tasks_of(tmp_path / "set") == [("a", "tts"), ("a", "asr"), ("b", "qa"), ("b", "asr")]
    assert pq.read_table(tmp_path / "set" / "train-00000.parquet")["task"].to_pylist() == ["tts+asr", "qa+asr"]
    assert (report.rows_kept, report.tasks) == (2, ["asr", "qa", "tts"])
    assert report.examples == {"asr": 2, "qa": 1, "tts": 1}
    index = open_dataset(tmp_path / "set").info
    assert index["splits"]["train"]["tasks"] == {"asr": 2, "qa": 1, "tts": 1}
    assert "- Tasks: asr (2 rows), qa (1 rows), tts (1 rows)" in (tmp_path / "set" / "README.md").read_text()


def test_recognition_alone_makes_no_row_to_be_read(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    build([codes], tmp_path / "set", tasks=("asr",))
    assert tasks_of(tmp_path / "set") == [("a", "asr")]


def test_texts_stand_behind_the_utterances_as_they_were_written(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    (tmp_path / "plain.txt").write_text("Once UPON\n")
    report = build([codes], tmp_path / "set", texts=(write_texts(tmp_path / "chat.jsonl", 1), tmp_path / "plain.txt"))
    _, chat, plain = open_dataset(tmp_path / "set").rows("train")
    assert (chat.id, chat.task, chat.text, chat.question) == ("chat-00000001", "text", "Number 0", "Say 0")
    assert (chat.num_text_tokens, chat.num_frames, chat.duration) == (8 + 5, 0, 0.0)
    assert (chat.codes.shape, chat.speaker_vector, chat.speaker) == ((2, 0), None, None)
    assert (plain.text, plain.question) == ("Once UPON", None)
    assert (report.rows_read, report.examples) == (3, {"text": 2, "tts": 1})


def test_texts_that_are_empty_or_too_long_are_left_out_by_name(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    texts = tmp_path / "t.jsonl"
    texts.write_text('{"text": " "}\n{"text": "four"}\n{"text": "fives"}\n')
    report = build([codes], tmp_path / "set", texts=(texts,), max_text_tokens=4)
    assert tasks_of(tmp_path / "set") == [("a", "tts"), ("t-00000002", "text")]
    assert report.dropped == {
        "more than 4 text tokens": {"rows": 1, "seconds": 0.0},
        "no text": {"rows": 1, "seconds": 0.0},
    }
    named = [json.loads(line)["id"] for line in (tmp_path / "set" / "dropped.jsonl").read_text().splitlines()]
    assert named == ["t-00000001", "t-00000003"]


def test_more_tasks_leave_every_utterance_in_its_split(tmp_path: Path):
    rows = [make_row(f"u{number}", seconds=0.5) for number in range(40)]
    codes, split = write_codes(tmp_path / "codes", rows), SplitConfig(dev_fraction=0.3)
    build([codes], tmp_path / "one", split=split)
    texts = (write_texts(tmp_path / "t.jsonl", 40),)
    build([codes], tmp_path / "all", split=split, tasks=("tts", "asr"), texts=texts)
    for name in ("train", "dev"):
        one, both = tasks_of(tmp_path / "one", name), tasks_of(tmp_path / "all", name)
        assert [found for found in both if found[1] == "tts"] == one
        assert [row for row, task in both if task == "asr"] == [row for row, _ in one]
        assert any(task == "text" for _, task in both)


def test_texts_are_split_by_themselves_where_utterances_are_by_speaker(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row(f"u{n}", speaker=f"s{n}") for n in range(9)])
    texts = (write_texts(tmp_path / "t.jsonl", 30),)
    build([codes], tmp_path / "set", texts=texts, split=SplitConfig(by="speaker", dev_fraction=0.4))
    counts = [tasks_of(tmp_path / "set", name) for name in ("train", "dev")]
    assert all(any(task == "text" for _, task in found) for found in counts)


def test_an_id_that_a_text_shares_with_an_utterance_is_refused(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    (tmp_path / "t.jsonl").write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises(FormatError, match=r"'a' is in .*codes and again in .*t\.jsonl"):
        build([codes], tmp_path / "set", texts=(tmp_path / "t.jsonl",))
    assert not (tmp_path / "set").exists()


def test_other_texts_or_tasks_make_another_dataset_and_the_same_ones_none(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    texts = (write_texts(tmp_path / "t.jsonl"),)
    build([codes], tmp_path / "set", texts=texts, tasks=("tts", "asr"))
    assert build([codes], tmp_path / "set", texts=texts, tasks=("asr", "tts")).up_to_date
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "set", texts=texts)
    write_texts(tmp_path / "t.jsonl", 4)
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "set", texts=texts, tasks=("tts", "asr"))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tasks": ()}, "expected one or more of tts, asr"),
        ({"tasks": ("tts", "tts")}, "each once"),
        ({"tasks": ("qa",)}, "--task qa"),
        ({"max_text_tokens": 0}, "--max-text-tokens 0"),
        ({"speaker_encoder": "resemblyzer"}, "--audio"),
        ({"audio": ("x",)}, "--speaker-encoder other than codec"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, object], match: str):
    with pytest.raises(ConfigError, match=match):
        build([tmp_path], tmp_path / "set", **settings)


def test_a_file_of_texts_twice_or_not_there_is_refused(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    path = write_texts(tmp_path / "t.jsonl")
    with pytest.raises(ConfigError, match="twice"):
        build([codes], tmp_path / "set", texts=(path, tmp_path / "codes" / ".." / "t.jsonl"))
    with pytest.raises(ConfigError, match=r"no\.jsonl is not there"):
        build([codes], tmp_path / "set", texts=(tmp_path / "no.jsonl",))


def test_a_tokenizer_of_phonemes_is_made_and_saved_and_only_speaks(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a", "THE SEA"), make_row("b", "the see")])
    build([codes], tmp_path / "set", tokenizer="phonemes")
    dataset = open_dataset(tmp_path / "set")
    assert dataset.tokenizer.name == "phonemes:en-us"
    assert {row.num_text_tokens for row in dataset.rows("train")} == {5}  # ð ə | s iː
    build([codes], tmp_path / "again", tokenizer=str(tmp_path / "set" / "tokenizer"))
    assert open_dataset(tmp_path / "again").tokenizer.encode("the sea") == dataset.tokenizer.encode("the sea")
    for settings in ({"tasks": ("tts", "asr")}, {"texts": (write_texts(tmp_path / "chat.jsonl"),)}):
        for tokenizer in ("phonemes", str(tmp_path / "set" / "tokenizer")):
            with pytest.raises(ConfigError, match="a model of phonemes reads aloud but cannot write"):
                build([codes], tmp_path / "other", tokenizer=tokenizer, **settings)
            assert not (tmp_path / "other").exists()
