"""Scored speech under each other: what compares, what differs from the baseline, and what has to be said beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.known_speech import LevelRecognizer, LoudMeasures, write_corpus

from slmtk.errors import ConfigError, FormatError
from slmtk.progress import SilentProgress
from slmtk.stages import eval_wer as stage
from slmtk.stages.compare import CompareConfig, Comparison, compare
from slmtk.stages.compare.report import Metric, verdict
from slmtk.stages.compare.run import names_of
from slmtk.stages.compare.speech import measure
from slmtk.stages.eval_wer import EvalConfig, compare_runs, eval_wer, read_scores
from slmtk.stages.speech_measures import MEASURES

LETTERS = "abcdefghijkl"


@pytest.fixture(autouse=True)
def known_engines(monkeypatch):
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: LevelRecognizer())
    monkeypatch.setattr(stage, "SpeechMeasures", LoudMeasures)


def scored(root: Path, name: str, heard: str, letters: str = LETTERS, **settings) -> Path:
    """Scores of utterances "go on", in which TEXTS[n] is heard for each digit n."""
    pairs = {letter: ("go on", int(n)) for letter, n in zip(letters, heard, strict=True)}
    source = write_corpus(root / name, pairs)
    eval_wer(source, None, root / "scores" / name, EvalConfig(device="cpu", **settings), SilentProgress())
    return root / "scores" / name


def table(*runs: Path, **settings) -> Comparison:
    return compare(runs, CompareConfig(**settings), SilentProgress())


def test_rows_keep_their_order_and_numbers_are_those_of_the_scores(tmp_path):
    # "home" is one word too many of two, in 3 of 12 utterances.
    runs = [scored(tmp_path, "b", "1" * 12), scored(tmp_path, "a", "000" + "1" * 9)]
    report = table(*runs)
    assert [row.name for row in report.rows] == ["b", "a"]
    assert [row.values["wer"].value for row in report.rows] == [0.0, 3 / 24]
    told, read = report.rows[1].values["wer"], read_scores(runs[1]).report["wer"]
    assert (told.low, told.high, told.utterances) == (read["low"], read["high"], 12)
    assert [metric.key for metric in report.metrics] == [
        *("wer", "mean_utterance_wer", "cer", "success", "level", "has original")
    ]


def test_the_test_is_the_paired_bootstrap_against_the_first_row(tmp_path):
    runs = [scored(tmp_path, "a", "000000001111"), scored(tmp_path, "b", "1" * 12)]
    first, second = table(*runs, bootstrap_samples=300, seed=5).rows
    assert (first.against, first.tested, second.tested) == ({}, 0, 12)
    expected = compare_runs(read_scores(runs[1]), read_scores(runs[0]), samples=300, seed=5).differences["wer"]
    found = second.against["wer"]
    assert (found.difference, found.low, found.high, found.p_value) == (
        *(expected.difference, expected.low, expected.high, expected.p_value),
    )
    assert found.difference == pytest.approx(-8 / 24)
    assert found.verdict == "better"
    assert second.against["success"].verdict == "unclear"


def test_another_row_may_be_the_baseline_by_its_name_or_its_folder(tmp_path):
    runs = [scored(tmp_path, "a", "000000001111"), scored(tmp_path, "b", "1" * 12)]
    for baseline in ("b", str(runs[1])):
        report = table(*runs, baseline=baseline)
        assert report.baseline == "b"
        assert report.rows[0].against["wer"].verdict == "worse"
        assert report.rows[1].against == {}
    with pytest.raises(ConfigError, match=r"--baseline c is none of the rows; choose one of a, b"):
        table(*runs, baseline="c")


@pytest.mark.parametrize(
    ("better", "difference", "p_value", "word"),
    [
        ("lower", -0.1, 0.049, "better"),
        ("lower", 0.1, 0.049, "worse"),
        ("higher", 0.1, 0.049, "better"),
        ("higher", -0.1, 0.049, "worse"),
        ("", 0.1, 0.049, "different"),
        ("lower", -0.1, 0.05, "unclear"),
    ],
)
def test_a_verdict_knows_which_side_is_the_better_one(better, difference, p_value, word):
    assert verdict(Metric("m", "m", False, better), difference, p_value) == word


def test_measures_whose_errors_are_counted_are_better_when_lower():
    names = {
        "sim-o resemblyzer to reference": "higher",
        "timbre world to reference": "higher",
        "dnsmos ovrl": "higher",
        "utmos22-strong 123": "higher",
        "f0 rmse cents": "lower",
        "f0 correlation": "higher",
        "voicing error": "lower",
        "mcd-24 dB": "lower",
        "pesq-wb": "higher",
        "estoi": "higher",
        "somebody's own": "",
    }
    assert {name: measure(name).better for name in names} == names
    assert all(measure(name).better or name == "f0" for name in MEASURES)


def test_the_rate_that_the_protocol_means_comes_first(tmp_path):
    report = table(scored(tmp_path, "a", "1" * 12, aggregation="mean"))
    assert [metric.key for metric in report.metrics][:2] == ["mean_utterance_wer", "wer"]


def test_scores_of_another_protocol_are_refused_and_the_difference_is_named(tmp_path):
    runs = [scored(tmp_path, "a", "1" * 12), scored(tmp_path, "b", "1" * 12, normalizer="basic")]
    with pytest.raises(ConfigError) as caught:
        table(*runs)
    assert str(caught.value) == (
        "b was scored in another way than a: normalizer 'basic', not 'whisper-english'; score both alike, or compare "
        "them nevertheless with --force"
    )
    report = table(*runs, force=True)
    assert report.not_comparable == [
        "b was scored in another way than a: normalizer 'basic', not 'whisper-english'",
    ]
    assert report.rows[1].tested == 12


def test_scores_by_another_recogniser_are_refused(tmp_path, monkeypatch):
    first = scored(tmp_path, "a", "1" * 12)
    monkeypatch.setattr(LevelRecognizer, "name", "other ears")
    with pytest.raises(ConfigError, match="recognizer model 'other ears', not 'levels'"):
        table(first, scored(tmp_path, "b", "1" * 12))


def test_of_other_normalisers_utterances_are_the_same_by_their_text_as_given(tmp_path):
    source = write_corpus(tmp_path / "c", {"a": ("Go on!", 1), "b": ("go on", 0)})
    runs = []
    for normalizer in ("basic", "none"):
        runs.append(tmp_path / normalizer)
        eval_wer(source, None, runs[-1], EvalConfig(device="cpu", normalizer=normalizer), SilentProgress())
    assert table(*runs, force=True).rows[1].tested == 2


def test_without_common_utterances_there_is_no_p_value_and_a_note_says_why(tmp_path):
    runs = [scored(tmp_path, "a", "1111", "abcd"), scored(tmp_path, "b", "1111", "efgh")]
    report = table(*runs)
    assert (report.rows[1].against, report.rows[1].tested) == ({}, 0)
    assert report.notes == [
        "no p-values for b: no utterance (same id, same text) is in both it and a; the numbers are of different "
        "sentences"
    ]


def test_p_values_are_over_the_utterances_that_both_have_and_a_note_says_so(tmp_path):
    # b lacks e to h, in which a has all of its errors, and has one of its own in i.
    runs = [scored(tmp_path, "a", "11110000", "abcdefgh"), scored(tmp_path, "b", "11110", "abcdi")]
    report = table(*runs)
    assert report.rows[1].tested == 4
    assert report.rows[1].against["wer"].difference == 0.0
    assert report.rows[1].values["wer"].value == 1 / 10
    assert report.notes == [
        "b has 5 utterances and a 8: each number is over its own, p-values are over the 4 that both have"
    ]


def test_a_part_of_the_utterances_is_noted_too(tmp_path):
    report = table(scored(tmp_path, "a", "1111", "abcd"), scored(tmp_path, "b", "111", "abc"))
    assert report.notes == [
        "b has 3 utterances and a 4: each number is over its own, p-values are over the 3 that both have"
    ]


def test_an_id_with_another_text_is_another_utterance(tmp_path):
    first = scored(tmp_path, "a", "11", "ab")
    source = write_corpus(tmp_path / "b", {"a": ("go on", 1), "b": ("stay", 2)})
    eval_wer(source, None, tmp_path / "s", EvalConfig(device="cpu"), SilentProgress())
    assert table(first, tmp_path / "s").rows[1].tested == 1


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a", "x/b"], ["a", "b"]),
        (["x/scores", "y/scores", "y/c"], ["x/scores", "y/scores", "c"]),
        (["x/y/s", "z/y/s", "z/w/s"], ["x/y/s", "z/y/s", "w/s"]),
    ],
)
def test_names_are_the_shortest_ends_of_paths_that_tell_runs_apart(paths, names):
    assert names_of([Path(path) for path in paths]) == names


def test_names_may_be_given_one_for_each_run(tmp_path):
    runs = [scored(tmp_path, "a", "11", "ab"), scored(tmp_path, "b", "11", "ab")]
    assert [row.name for row in table(*runs, names=("one", "two")).rows] == ["one", "two"]
    with pytest.raises(ConfigError, match="1 names for 2 runs"):
        table(*runs, names=("one",))
    with pytest.raises(ConfigError, match="each run needs one of its own"):
        CompareConfig(names=("one", "one"))


def test_a_run_that_is_named_twice_is_refused(tmp_path):
    run = scored(tmp_path, "a", "11", "ab")
    with pytest.raises(ConfigError, match="is named twice"):
        table(run, tmp_path / "elsewhere" / ".." / "scores" / "a")


def test_a_folder_without_scores_or_with_damaged_ones_is_one_line(tmp_path):
    with pytest.raises(FormatError, match=r"has no scores.json; name folders that slmtk eval-wer or slmtk role"):
        table(tmp_path)
    run = scored(tmp_path, "a", "11", "ab")
    values = json.loads((run / "scores.json").read_text())
    del values["headline"]
    (run / "scores.json").write_text(json.dumps(values))
    with pytest.raises(FormatError, match=r"holds damaged scores \(KeyError\('headline'\)\)"):
        table(run)
    (run / "scores.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        table(run)


def test_splits_are_a_matter_of_answers(tmp_path):
    with pytest.raises(ConfigError, match="have no splits; leave out --split id"):
        table(scored(tmp_path, "a", "11", "ab"), split="id")
