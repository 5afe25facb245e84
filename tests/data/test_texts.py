from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slmtk.data.texts import Text, read_texts
from slmtk.errors import FormatError

LINES = [
    {"instruction": " Who? ", "response": " Ada ", "more": 1},
    {"text": "Once upon"},
    {"id": "mine", "text": "a time", "instruction": None},
    {"instruction": " ", "response": "and more"},
]
EXPECTED = [
    Text("some-00000001", "Ada", "Who?"),
    Text("some-00000002", "Once upon", None),
    Text("mine", "a time", None),
    Text("some-00000004", "and more", None),
]


def test_lines_of_json_are_instructions_or_texts(tmp_path: Path):
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in LINES))
    assert list(read_texts(path)) == EXPECTED


def test_rows_of_parquet_are_instructions_or_texts(tmp_path: Path):
    path = tmp_path / "some.parquet"
    columns = ("id", "instruction", "response", "text", "more")
    pq.write_table(pa.table({name: [line.get(name) for line in LINES] for name in columns}), path)
    assert list(read_texts(path)) == EXPECTED


def test_lines_of_a_text_file_are_texts_and_empty_ones_are_passed_over(tmp_path: Path):
    path = tmp_path / "plain.txt"
    path.write_text("\ufeffone \n\n  two\u2028lines\n", encoding="utf-8")
    assert list(read_texts(path)) == [
        Text("plain-00000001", "one", None),
        Text("plain-00000003", "two\u2028lines", None),
    ]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.jsonl", '{"text": "x"}\n{"words": 1}\n', r'a\.jsonl 2: expected "instruction" and "response", or "text"'),
        ("a.jsonl", '{"instruction": "x", "text": "y"}\n', r"a\.jsonl 1: expected"),
        ("a.jsonl", "[1]\n", r"a\.jsonl 1: expected"),
        ("a.jsonl", '{"text"\n', "line 1 is not JSON"),
        ("a.parquet", "no", "cannot be read as Parquet"),
        ("a.csv", "x", r"texts are read from \.jsonl, \.txt, \.parquet, not from '\.csv'"),
    ],
)
def test_what_is_no_file_of_texts_is_refused_with_its_place(tmp_path: Path, name: str, content: str, match: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=match):
        list(read_texts(tmp_path / name))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="UTF-8"):
        list(read_texts(tmp_path / "a.txt"))
