from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from slmtk.cli._roletrivia_tables import _table


def score(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def row(**changed: Any) -> dict[str, Any]:
    shares = {name: score(0.125, 0.1, 1.0) for name in ("em_text", "f1_text", "em_speech", "f1_speech")}
    alike = {name: score(-0.12, -0.42, 0.53) for name in ("similarity", "similarity_other_roles")}
    return {**shares, "wer": score(1.333, 0.52, 12.05), **alike, "success_rate": 0.98, "questions": 12345, **changed}


def shown(width: int, *names: str, **changed: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(_table("the model", {name: row(**changed) for name in names}, 8, header=True))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_scores_and_intervals_are_whole_on_a_narrow_terminal():
    lines = shown(80, "id")
    assert lines[0].strip() == "the model"
    expected = ["id", "12.5", "12.5", "12.5", "12.5", "133.3", "-0.12", "-0.12", "98", "12345"]
    assert lines[-2].split() == expected
    assert lines[-1].split() == ["10–100"] * 4 + ["52–1205", *["-.42–.53"] * 2]
    assert max(map(len, lines)) <= 80


def test_what_a_system_does_not_do_is_a_dash():
    missing = dict.fromkeys(("em_speech", "f1_speech", "wer", "similarity", "similarity_other_roles"))
    assert shown(80, "id", **missing)[-2].split() == ["id", "12.5", "12.5", *["-"] * 5, "98", "12345"]
