"""What compare prints: marks, words, formats that other programs read, and widths of terminals."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from helpers.known_speech import LevelRecognizer, LoudMeasures, write_corpus
from rich.console import Console

from slmtk.cli._compare_formats import csv_text, markdown
from slmtk.cli._compare_tables import print_comparison
from slmtk.cli.compare import command
from slmtk.errors import ConfigError
from slmtk.progress import SilentProgress
from slmtk.stages import eval_wer as stage
from slmtk.stages.compare import Comparison, Facts, Metric, Row, Test, Value

WER = Metric("wer", "WER %", True, "lower")
LIKE = Metric("sim-o ears to reference", "sim-o ears to reference", False, "higher")
NOTE = "no p-values for *c*: no utterance (same id, same text) is in both"


def row(name: str, wer: float, p_value: float | None, facts: Facts | None = None) -> Row:
    values = {"wer": Value(wer, wer / 2, wer * 2, 40), LIKE.key: Value(0.875, 0.75, 0.9375, 40)}
    against = {}
    if p_value is not None:
        word = "better" if p_value < 0.05 else "unclear"
        against = {
            "wer": Test(wer - 0.08, -0.06, -0.01, p_value, word),
            LIKE.key: Test(0.0, -0.1, 0.1, 1.0, "unclear"),
        }
    return Row(name, f"scores/{name}", "f5 123456789abc", "ears 1.0", 1234, values, 40, against, facts or Facts())


def comparison(**changes) -> Comparison:
    facts = Facts("small", 2400.0, 12.5, 1234.5, 0.0432, 494_032_768, 988_100_000)
    rows = [row("a", 0.08, None), row("b", 0.04, 0.004, facts), row("c", 0.05, 0.03), row("d|e", 0.07, 0.4)]
    return Comparison(**{"baseline": "a", "metrics": [WER, LIKE], "rows": rows, "bootstrap_samples": 1000, **changes})


def screen(report: Comparison, width: int) -> str:
    stream = io.StringIO()
    print_comparison(report, Console(file=stream, width=width))
    return stream.getvalue()


def test_a_number_has_its_interval_below_and_its_mark_beside():
    lines = [line.split() for line in screen(comparison(), 80).splitlines()]
    assert ["b", "1,234", "4.00**", "0.875"] in lines
    assert ["2.0..8.0", "0.750..0.938"] in lines
    assert ["c", "1,234", "5.00*", "0.875"] in lines
    assert ["d|e", "1,234", "7.00", "0.875"] in lines
    assert ["b", "small", "2,400", "12.5", "1,234", "0.0432", "494", "M", "988"] in lines
    assert ["a", *"-------"] in lines


def test_what_the_marks_mean_stands_in_words_below():
    text = " ".join(screen(comparison(), 80).split())
    assert (
        "b against a: better in WER (-4.00 points, p = 0.004); no clear difference in sim-o ears to reference" in text
    )
    assert "d|e against a: no clear difference in WER, sim-o ears to reference" in text
    assert "* p < 0.05, ** p < 0.01 against a: two-sided, paired bootstrap with 1,000 draws" in text
    assert "scored by f5 123456789abc; ears 1.0" in text


def test_what_was_forced_together_says_so():
    text = screen(comparison(not_comparable=["c was scored in another way than a: normalizer 'x', not 'y'"]), 120)
    assert "NOT COMPARABLE: c was scored in another way than a: normalizer 'x', not 'y'" in text


@pytest.mark.parametrize("width", [60, 80, 81, 82, 83, 84, 120])
def test_columns_that_do_not_fit_go_below_and_none_is_lost_or_broken(width):
    metrics = [Metric(f"m{number}", f"measure {number}", False, "higher") for number in range(12)]
    values = {metric.key: Value(5 + number / 100, 0.0, 12.0, 40) for number, metric in enumerate(metrics)}
    rows = [
        Row(name, name, "p", "r", 40, values, 0, {}, Facts()) for name in ("a-name-of-more-than-24-characters", "b")
    ]
    text = screen(comparison(metrics=metrics, rows=rows, baseline="b"), width)
    assert max(map(len, text.splitlines())) <= width
    for number in range(12):
        assert text.count(f" 5.{number:02}0") == 2
    assert text.count(" 0.000..12.0") == 24


def test_markdown_is_one_table_whose_cells_cannot_break_it():
    head, rule, *rest = markdown(comparison(notes=[NOTE])).splitlines()
    assert head.startswith("|  | utterances | WER % | sim-o ears to reference | codec | bit/s |")
    assert rule.count("---") == head.count("|") - 1
    assert rest[1].startswith("| b | 1,234 | 4.00\\*\\* (2.0..8.0) | 0.875 (0.750..0.938) | small | 2,400 |")
    assert rest[3].startswith("| d\\|e | 1,234 | 7.00 (3.5..14.0) |")
    assert f"- {NOTE.replace('*', chr(92) + '*')}" in rest


def test_csv_has_plain_numbers_and_empty_cells_for_what_is_not_known():
    report = comparison(notes=["of other sentences, too"], not_comparable=["c differs"])
    del report.rows[2].values["wer"]
    read = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert [line["name"] for line in read] == ["a", "b", "c", "d|e"]
    assert (read[1]["wer"], read[1]["wer low"], read[1]["wer p_value"]) == ("0.04", "0.02", "0.004")
    assert (read[0]["wer p_value"], read[0]["rtf"], read[1]["parameters"]) == ("", "", "494032768")
    assert {line["notes"] for line in read} == {"not comparable: c differs; of other sentences, too"}
    assert (read[2]["wer"], read[2][LIKE.key]) == ("", "0.875")
    assert None not in read[0]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: LevelRecognizer())
    monkeypatch.setattr(stage, "SpeechMeasures", LoudMeasures)
    monkeypatch.chdir(tmp_path)
    for name, heard in (("a", 0), ("b", 1)):
        source = write_corpus(tmp_path / name, dict.fromkeys("uvwxyz", ("go on", heard)))
        config = stage.EvalConfig(device="cpu", similarity=False)
        stage.eval_wer(source, None, Path("scores") / name, config, SilentProgress())
    return ["scores/a", "scores/b"]


def run(*args: str) -> str:
    done = CliRunner().invoke(command, list(args), standalone_mode=False, catch_exceptions=False)
    assert done.return_value in (None, 0)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_command_prints_json_in_a_pipe_and_options_reach_the_comparison(runs):
    report = json.loads(run(*runs, "--name", "one", "--name", "two", "--baseline", "two", "--bootstrap-samples", "99"))
    assert (report["baseline"], report["bootstrap_samples"]) == ("two", 99)
    assert report["rows"][0]["against"]["wer"]["difference"] == 0.5
    assert report["rows"][0]["against"]["wer"]["verdict"] == "worse"


def test_the_command_prints_in_the_format_that_is_asked_for(runs):
    assert run(*runs, "--format", "csv").startswith("name,folder,")
    assert run(*runs, "--format", "markdown").startswith("|  | utterances |")
    assert "b against a: better in WER (-50.00 points" in run(*runs, "--format", "text")
    assert json.loads(run(*runs, "--json"))["baseline"] == "a"


@pytest.mark.parametrize(("name", "start"), [("t.md", "|  |"), ("t.csv", "name,"), ("t.json", "{"), ("t.txt", " ")])
def test_the_command_writes_a_file_in_the_format_of_its_suffix(runs, name, start):
    assert run(*runs, "--save", name) == ""
    assert Path(name).read_text().startswith(start)
    run(*runs, "--save", name, "--json")
    assert Path(name).read_text().startswith("{")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--save", "t.html"), "no format has this suffix"),
        (("--json", "--format", "csv"), "exclude each other"),
        (("--name", "one"), "1 names for 2 runs"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(runs, args, told):
    with pytest.raises((click.UsageError, ConfigError), match=told):
        run(*runs, *args)
