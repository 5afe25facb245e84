"""The last step of quickstart.sh: scores and reports of its runs -> one table, on the terminal and in report.txt."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ROWS = {
    "recordings": "recordings",
    "codec": "recordings, through the codec",
    "model": "the model",
}
WIDTH = 100


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def similarity(scores: dict[str, Any]) -> str:
    """Mean cosine to the clip of the voice that was asked for; "-" where nothing was compared."""
    means = [mean for name, mean in scores["measures"].items() if name.endswith("to reference")]
    return f"{means[0]['mean']:.2f}" if means else "-"


def speech_table(out: Path) -> Table:
    """WER with its interval, CER, similarity and success of recordings, codec and model."""
    table = Table(
        title="Sentences that were not trained on",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("")
    for name in ("WER %", "95 % interval", "CER %", "similarity", "spoken %", "sentences"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, label in ROWS.items():
        scores = read(out / "scores" / name / "scores.json")
        wer = scores["wer"]
        table.add_row(
            label,
            percent(wer["rate"]),
            f"{percent(wer['low'])} .. {percent(wer['high'])}",
            percent(scores["cer"]["rate"]),
            similarity(scores),
            percent(scores["success_rate"]),
            str(scores["utterances"]),
        )
    return table


def trivia_table(out: Path) -> Table:
    """Exact match, F1, similarity and WER of spoken answers, by split."""
    table = Table(
        title="Spoken answers to questions",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("")
    columns = {"em_speech": "EM %", "f1_speech": "F1 %", "wer": "WER %", "similarity": "similarity"}
    for name in (*columns.values(), "spoken %", "questions"):
        table.add_column(name, justify="right")
    scores = read(out / "roletrivia" / "scores.json")["scores"]
    for split, values in {**scores["splits"], "all": scores["all"]}.items():
        cells = []
        for key in columns:
            value = None if values[key] is None else values[key]["value"]
            cells.append("-" if value is None else f"{value:.2f}" if key == "similarity" else percent(value))
        table.add_row(split, *cells, percent(values["success_rate"]), str(values["questions"]))
    return table


def speed_line(out: Path) -> str:
    """How fast the model spoke, here and now."""
    report = read(out / "speech" / "report.json")
    return (
        f"Speed: {report['seconds_audio']:.0f} s of speech in {report['seconds_wall']:.1f} s "
        f"(real-time factor {report['rtf']:.2f}), {report['steps_per_second']:.0f} steps a second"
    )


def show(console: Console, out: Path) -> None:
    console.print()
    console.print(speech_table(out))
    console.print()
    console.print(trivia_table(out))
    console.print()
    console.print(speed_line(out), highlight=False)
    console.print(
        "WER: under a closed grammar of a few dozen words, so only comparable with each other. Similarity: cosine of "
        "speaker vectors with a clip of the voice. Intervals: bootstrap over sentences.",
        highlight=False,
    )


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart")
    show(Console() if sys.stdout.isatty() else Console(width=WIDTH), out)
    with (out / "report.txt").open("w", encoding="utf-8") as file:
        show(Console(file=file, width=WIDTH, color_system=None), out)


if __name__ == "__main__":
    main()
