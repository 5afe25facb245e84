"""What a person sees: JSON in a pipe, tables on a terminal 100 columns wide."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from slmtk.cli import _output


def shown(values: dict[str, object], title: str = "") -> str:
    console = Console(width=100, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(_output.report_table(values, title))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def words(values: dict[str, object]) -> list[list[str]]:
    """The words of each line that has letters or digits."""
    return [line.split() for line in shown(values).splitlines() if any(c.isalnum() for c in line)]


def test_in_a_pipe_the_report_is_json(capsys):
    _output.print_report({"wer": 0.25, "text": "größer", "missing": float("nan")}, as_json=False)
    assert json.loads(capsys.readouterr().out) == {"wer": 0.25, "text": "größer", "missing": None}


def test_scalars_are_written_as_people_read_them():
    values = {"hours_done": 1.23456, "frames": 1234567, "ok": True, "text": None, "files": ["a", "b"], "none": []}
    assert words(values) == [
        ["hours", "done", "1.235"],
        ["frames", "1,234,567"],
        ["ok", "yes"],
        ["text", "-"],
        ["files", "a,", "b"],
        ["none", "-"],
    ]


def test_rows_with_the_same_columns_become_a_table_with_a_header():
    values = {"clean": {"wer": 0.5, "words": 10}, "other": {"wer": 0.75, "words": 20}}
    assert words(values) == [["wer", "words"], ["clean", "0.5", "10"], ["other", "0.75", "20"]]


def test_a_list_of_rows_becomes_a_table_inside_the_report():
    values = {"codec": "world", "streams": [{"name": "a", "size": 2}, {"name": "b", "size": 3}]}
    assert words(values) == [["codec", "world"], ["streams", "name", "size"], ["a", "2"], ["b", "3"]]


def test_an_interval_stands_in_one_cell():
    assert words({"wer": 0.2, "interval": {"low": 0.1, "high": 0.31}}) == [
        ["wer", "0.2"],
        ["interval", "0.1", "..", "0.31"],
    ]


def test_brackets_in_a_text_stay_text():
    assert words({"prompt": "[Human]: read [bold]this[/bold] [/x]"}) == [
        ["prompt", "[Human]:", "read", "[bold]this[/bold]", "[/x]"]
    ]


@pytest.mark.parametrize("width", [1, 30, 300])
def test_no_value_is_cut_off_however_long(width):
    text = "x" * width
    assert shown({"path": text, "deep": {"inner": text}}).replace("\n", "").replace(" ", "").count("x") == 2 * width
