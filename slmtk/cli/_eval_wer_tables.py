"""What ``slmtk eval-wer`` shows on a terminal: the worst utterances, then tables of what they and the others make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmtk.config import to_jsonable

if TYPE_CHECKING:
    from rich.console import Console

    from slmtk.stages.eval_wer import EvalReport

_RATES = {"wer": "WER %", "cer": "CER %", "mean_utterance_wer": "mean WER %", "success": "spoken %"}
_IDS = 3


def print_scores(report: EvalReport, console: Console | None = None) -> None:
    """Print the report; numbers that matter most come last, where a terminal stays.

    Args:
        report: of `eval_wer`.
        console: of rich; stdout unless it is given.
    """
    from rich.console import Console

    screen = console or Console()
    values: dict[str, Any] = to_jsonable(report)
    worst = Path(values["out"]) / "worst.txt"
    if any(values["wer"][edit] for edit in ("substitutions", "deletions", "insertions")) and worst.is_file():
        screen.print(worst.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    systems = {_name(values["source"]): values, **values["ceilings"]}
    for table in (
        *(_groups(by, groups) for by, groups in values["groups"].items()),
        _seeds(values),
        _measures(systems),
        _rates(systems, values["headline"]["name"]),
        _against(values),
    ):
        if table is not None:
            screen.print(table, "", sep="\n")
    for line in _notes(values):
        screen.print(line, markup=False, highlight=False)


def _name(source: str) -> str:
    return source if len(source) <= 24 else f"...{source[-21:]}"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for position, column in enumerate(columns):
        # The first column may wrap on a narrow terminal, numbers never.
        table.add_column(column, justify="right" if position else "left", no_wrap=position > 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(numbers: Mapping[str, Any], show: Any = _percent) -> str:
    return f"{show(numbers['low'])} .. {show(numbers['high'])}"


def _plain(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _rates(systems: Mapping[str, Mapping[str, Any]], leading: str) -> Any:
    by_corpus = leading == "wer"
    other = "mean_utterance_wer" if by_corpus else "wer"
    named = ("WER %", "95 %", "mean %") if by_corpus else ("mean WER %", "95 %", "corpus %")
    columns = ("", *named, "CER %", "sub/del/ins", "spoken %")
    rows = [
        (
            name,
            _percent(_value(system[leading])),
            _interval(system[leading]),
            _percent(_value(system[other])),
            _percent(system["cer"]["rate"]),
            "/".join(str(system["wer"][edit]) for edit in ("substitutions", "deletions", "insertions")),
            _percent(system["success_rate"]),
        )
        for name, system in systems.items()
    ]
    first = next(iter(systems.values()))
    runs = f", {first['runs']} runs" if first["runs"] > 1 else ""
    return _table(f"{first['utterances']:,} utterances, {first['words']:,} words{runs}", columns, rows)


def _value(numbers: Mapping[str, Any]) -> float:
    return float(numbers["rate"] if "rate" in numbers else numbers["mean"])


def _measures(systems: Mapping[str, Mapping[str, Any]]) -> Any:
    rows = [
        (f"{measure}: {name}", _plain(mean["mean"]), _interval(mean, _plain), str(mean["utterances"]))
        for measure in dict.fromkeys(measure for system in systems.values() for measure in system["measures"])
        for name, system in systems.items()
        if (mean := system["measures"].get(measure)) is not None
    ]
    return _table("Measures", ("", "mean", "95 %", "utterances"), rows) if rows else None


def _groups(by: str, groups: Mapping[str, Mapping[str, Any]]) -> Any:
    rows = [
        (
            name,
            _percent(group["wer"]),
            _interval(group),
            _percent(group["success_rate"]),
            str(group["utterances"]),
            str(group["words"]),
        )
        for name, group in groups.items()
    ]
    return _table(f"By {by}", ("", "WER %", "95 %", "spoken %", "utterances", "words"), rows)


def _seeds(values: Mapping[str, Any]) -> Any:
    if not values["seeds"]:
        return None
    names = ("wer", "mean_utterance_wer", "cer", "success_rate")
    rows = [(_name(seed["source"]), *(_percent(seed[name]) for name in names)) for seed in values["seeds"]]
    spread = values["spread"]
    for label, key in (("mean", "mean"), ("deviation", "deviation")):
        rows.append((label, *(_percent(spread[name][key]) for name in names)))
    return _table("Runs", ("", "WER %", "mean %", "CER %", "spoken %"), rows)


def _against(values: Mapping[str, Any]) -> Any:
    against = values["against"]
    if against is None:
        return None
    rows = []
    for name, paired in against["differences"].items():
        show = _percent if name in _RATES else _plain
        rows.append(
            (_RATES.get(name, name), show(paired["difference"]), _interval(paired, show), f"{paired['p_value']:.3f}")
        )
    return _table(f"Difference from {against['source']}", ("", "difference", "95 %", "p"), rows)


def _notes(values: Mapping[str, Any]) -> list[str]:
    """Lines below the tables: failures, marks, what was left out, and how it was scored."""
    lines = []
    if values["failures"]:
        lines.append("failed: " + ", ".join(f"{reason} {count}" for reason, count in values["failures"].items()))
    for name, flagged in values["flags"].items():
        if flagged["utterances"]:
            ids = ", ".join(flagged["ids"][:_IDS]) + (", ..." if flagged["utterances"] > _IDS else "")
            lines.append(f"{name.replace('_', ' ')}: {flagged['utterances']} ({ids})")
    if values["not_measured"]:
        lines.append("not measured: " + "; ".join(f"{why} ({n})" for why, n in values["not_measured"].items()))
    for name in ("without_text", "only_one_side", "unreadable"):
        if values[name]:
            lines.append(f"{name.replace('_', ' ')}: {values[name]}")
    protocol = values["protocol"]
    lines.append(f"protocol {protocol['name']} ({protocol['digest']}): {values['recognizer']}; {values['normalizer']}")
    seconds = f"{values['seconds_audio']:.1f} s of speech recognised in {values['seconds_recognition']:.1f} s"
    lines.append(seconds + (f", {values['cached']} transcripts from the cache" if values["cached"] else ""))
    return [*lines, f"everything is in {values['out']}"]
