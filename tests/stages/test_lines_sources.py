"""Texts come from stdin too, and a file's "speaker" may be a voice or just a name."""

from __future__ import annotations

import io
import sys

import pytest

from slmtk.errors import FormatError
from slmtk.stages.lines import Line, read_lines


@pytest.fixture
def stdin(monkeypatch):
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return give


def test_stdin_is_a_text_a_line_or_json_lines(stdin):
    stdin("One.\n\n Zwölf. \n".encode())
    assert read_lines("-") == [Line("stdin-0000", "One."), Line("stdin-0001", "Zwölf.")]
    stdin(b'{"id": "a", "text": "One."}\n{"text": "Two."}\n')
    assert read_lines("-") == [Line("a", "One."), Line("stdin-0001", "Two.")]


def test_stdin_without_text_or_without_letters_is_told(stdin):
    stdin(b"\n \n")
    with pytest.raises(FormatError, match="stdin holds no text; expected one a line"):
        read_lines("-")
    stdin(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="stdin is not UTF-8 text"):
        read_lines("-")


def test_a_speaker_that_is_a_voice_is_one_and_another_is_a_name(tmp_path):
    (tmp_path / "anna.wav").touch()
    (tmp_path / "codes").mkdir()
    rows = ["id\ttext\tspeaker\treference"]
    rows += ["a\tHi.\tanna.wav\t", "b\tHi.\tcodes:7\t", "c\tHi.\tAnna\t", "d\tHi.\tAnna\tben.wav"]
    (tmp_path / "t.tsv").write_text("\n".join(rows))
    found = [(line.reference, line.speaker) for line in read_lines(tmp_path / "t.tsv")]
    assert found == [
        (tmp_path / "anna.wav", None),
        (tmp_path / "codes:7", None),
        (None, "Anna"),
        (tmp_path / "ben.wav", None),
    ]


def test_a_files_name_with_blanks_makes_usable_ids(tmp_path):
    (tmp_path / "my words (1).txt").write_text("\ufeffOne.\n", encoding="utf-8")
    assert read_lines(tmp_path / "my words (1).txt") == [Line("my-words-1-0000", "One.")]


def test_a_separator_of_unicode_inside_a_json_text_ends_no_line(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"id": "a", "text": "One\u2028two."}\n', encoding="utf-8")
    assert read_lines(tmp_path / "t.jsonl") == [Line("a", "One\u2028two.")]
