"""A comparison of scores as Markdown, CSV and JSON: for a page, a spreadsheet and a program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slmtk.config import to_jsonable

if TYPE_CHECKING:
    from slmtk.stages.compare import Comparison, Metric, Row, Value

_VERDICTS = {
    "better": "better in",
    "worse": "worse in",
    "different": "different in",
    "unclear": "no clear difference in",
}
_TESTED = ("difference", "difference low", "difference high", "p_value")


def _grouped(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _count(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


# Field of `Facts` -> heading, and how a value is shown.
FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "codec": ("codec", str),
    "bits_per_second": ("bit/s", _grouped),
    "frame_rate": ("frames/s", _short),
    "steps_per_second": ("steps/s", _short),
    "rtf": ("RTF", _short),
    "parameters": ("parameters", _count),
    "weights_bytes": ("weights MB", lambda value: _short(value / 1e6)),
}


def shown(metric: Metric, value: float) -> str:
    """A number as people read it: per cent with two digits, else what fits its size."""
    if metric.percent:
        return f"{100 * value:.2f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def signed(metric: Metric, difference: float) -> str:
    """A difference as people read it: percentage points are called that."""
    sign = "+" if difference > 0 else ""
    return f"{sign}{shown(metric, difference)}" + (" points" if metric.percent else "")


def interval(metric: Metric, value: Value) -> str:
    """The 95 % interval of a number; of a share, with a digit less than that has."""
    if metric.percent:
        return f"{100 * value.low:.1f}..{100 * value.high:.1f}"
    return f"{shown(metric, value.low)}..{shown(metric, value.high)}"


def known_facts(report: Comparison) -> list[str]:
    """Names of the facts that some row has."""
    return [name for name in FACTS if any(getattr(row.facts, name) is not None for row in report.rows)]


def told_fact(row: Row, name: str) -> str:
    """A fact as people read it."""
    value = getattr(row.facts, name)
    return "-" if value is None else FACTS[name][1](value)


def notes(report: Comparison) -> list[str]:
    """All that has to be read beside the table, a line each: what makes numbers differ comes first."""
    lines = [f"NOT COMPARABLE: {difference}" for difference in report.not_comparable]
    lines += [line for row in report.rows if (line := _in_words(report, row))]
    lines += report.notes
    ways = dict.fromkeys(f"{row.protocol}; {row.recognizer}" for row in report.rows)
    lines += [f"scored by {way}" for way in ways]
    lines.append("intervals: 95 %, bootstrap over utterances")
    if any(row.against for row in report.rows):
        lines.append(
            f"* p < 0.05, ** p < 0.01 against {report.baseline}: two-sided, paired bootstrap with "
            f"{report.bootstrap_samples:,} draws, each test for itself"
        )
    return lines


def _in_words(report: Comparison, row: Row) -> str:
    """Say what the tests of ``row`` come to, one metric after the other."""
    verdicts: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
    for metric in report.metrics:
        test = row.against.get(metric.key)
        if test is None:
            continue
        told = metric.label.removesuffix(" %")
        if test.verdict != "unclear":
            told += f" ({signed(metric, test.difference)}, p = {test.p_value:.3f})"
        verdicts[test.verdict].append(told)
    parts = [f"{_VERDICTS[name]} {', '.join(told)}" for name, told in verdicts.items() if told]
    return f"{row.name} against {report.baseline}: {'; '.join(parts)}" if parts else ""


def markdown(report: Comparison) -> str:
    """A table in GitHub's Markdown, and the notes as a list."""
    facts = known_facts(report)
    header = ["", "utterances", *(metric.label for metric in report.metrics), *(FACTS[name][0] for name in facts)]
    lines = [header, ["---", *("---:" for _ in header[1:])]]
    for row in report.rows:
        scores = [_score(metric, row) for metric in report.metrics]
        lines.append([row.name, f"{row.utterances:,}", *scores, *(told_fact(row, name) for name in facts)])
    table = ["| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines]
    listed = [f"- {_escaped(line)}" for line in notes(report)]
    return "\n".join([*table, "", *listed]) + "\n"


def _score(metric: Metric, row: Row) -> str:
    from slmtk.stages.compare import mark

    value = row.values.get(metric.key)
    star = mark(row.against.get(metric.key))
    return "-" if value is None else f"{shown(metric, value.value)}{star} ({interval(metric, value)})"


def _escaped(line: str) -> str:
    return line.replace("*", "\\*").replace("|", "\\|")


def csv_text(report: Comparison) -> str:
    """A row a system; shares stay shares, and a number that is not known is an empty cell."""
    facts = list(FACTS)
    header = ["name", "folder", "protocol", "recognizer", "utterances", "baseline", "tested_utterances"]
    for metric in report.metrics:
        header += [metric.key, *(f"{metric.key} {part}" for part in ("low", "high", *_TESTED))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*header, *facts, "notes"])
    # What cannot be put beside one row belongs to all.
    told = "; ".join([*(f"not comparable: {line}" for line in report.not_comparable), *report.notes])
    for row in report.rows:
        cells: list[Any] = [row.name, row.folder, row.protocol, row.recognizer, row.utterances, report.baseline]
        cells.append(row.tested)
        for metric in report.metrics:
            value, test = row.values.get(metric.key), row.against.get(metric.key)
            cells += ["", "", ""] if value is None else [value.value, value.low, value.high]
            cells += [""] * len(_TESTED) if test is None else [test.difference, test.low, test.high, test.p_value]
        cells += [getattr(row.facts, name) for name in facts]
        writer.writerow([*cells, told])
    return stream.getvalue()


def json_text(report: Comparison) -> str:
    """Everything, as it is."""
    return json.dumps(to_jsonable(report), indent=2, ensure_ascii=False) + "\n"
