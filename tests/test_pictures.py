"""docs/layouts.md tells what the code does: its pictures are drawn from the layouts, its numbers are theirs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from slmtk.layout import Layout

DOCS = Path(__file__).resolve().parents[1] / "docs"


def drawing():
    spec = importlib.util.spec_from_file_location("draw", DOCS / "pictures" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_those_that_the_layouts_give(tmp_path):
    draw = drawing()
    draw.main(tmp_path)
    for name in draw.PICTURES:
        assert (tmp_path / f"{name}.svg").read_text() == (DOCS / "pictures" / f"{name}.svg").read_text()
        assert f"](pictures/{name}.svg)" in (DOCS / "layouts.md").read_text()


@pytest.mark.parametrize("kind", ["interleaved", "grouped", "delayed"])
def test_the_picture_of_a_layout_shows_every_code_once(kind):
    steps = drawing().steps_of(Layout(kind, 3), 4)
    shown = [words for step in steps for words, _ in step if words != "pad"]
    assert sorted(shown) == [f"{stream}{frame}" for stream in "abc" for frame in (1, 2, 3, 4)]


def test_the_table_of_layouts_has_the_numbers_of_the_code():
    table = re.findall(
        r"^\| `(\w+)(?: --frames-per-step (\d))?` \|([\d |]+)\|$", (DOCS / "layouts.md").read_text(), re.M
    )
    assert len(table) == 5
    for kind, group, numbers in table:
        layout = Layout(kind, 3, int(group or 1))
        positions = [layout.num_steps(80 * seconds) + 1 for seconds in (1, 10, 30)]
        found = [int(number) for number in numbers.split("|")]
        assert found == [layout.num_heads, layout.steps_per_second(80), *positions]
