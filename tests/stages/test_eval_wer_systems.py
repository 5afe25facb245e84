"""Protocols, caches, seeds, ceilings and comparisons of scores, with speech whose transcripts are known."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
import torch
from helpers.known_speech import (
    LevelRecognizer,
    LoudMeasures,
    score,
    utterance_lines,
    write_corpus,
    write_synth,
    write_wav,
)

from slmtk.errors import ConfigError, CorpusError, FormatError
from slmtk.metrics.protocols import PROTOCOLS
from slmtk.metrics.wer import Counts
from slmtk.progress import SilentProgress
from slmtk.stages import eval_wer as stage
from slmtk.stages.eval_wer import EvalConfig, compare_runs, read_scores
from slmtk.stages.eval_wer import run as loop
from slmtk.stages.eval_wer.sources import System
from slmtk.stages.scoring import Pair, score_utterance
from slmtk.stages.speech_sources import Spoken

asked: dict = {}


@pytest.fixture(autouse=True)
def known_engines(monkeypatch):
    def load(name, **settings):
        asked.clear()
        asked.update(settings, name=name)
        return LevelRecognizer()

    monkeypatch.setattr(stage, "load_recognizer", load)
    monkeypatch.setattr(stage, "SpeechMeasures", LoudMeasures)
    LevelRecognizer.calls = 0


def two_words(root, heard: str):
    """Utterances a, b, ... of the text "go on", in which TEXTS[n] is heard for each digit n."""
    return write_corpus(root, {name: ("go on", int(n)) for name, n in zip("abcdefgh", heard, strict=False)})


# Protocols


def test_a_protocol_sets_recogniser_normaliser_and_aggregation_and_is_written_with_its_digest(tmp_path):
    # "go on home now" for "stay": 4 errors of 1 word; nothing wrong in the other's 3.
    ref = write_corpus(tmp_path / "ref", {"a": ("stay", 3), "b": ("Go, on home", 0)})
    report = score(ref, None, tmp_path, protocol="seed-tts")
    seed_tts = PROTOCOLS["seed-tts"]
    assert {key: asked[key] for key in ("name", "model", "revision", "language")} == {
        "name": seed_tts.recognizer,
        "model": "openai/whisper-large-v3",
        "revision": seed_tts.recognizer_revision,
        "language": "en",
    }
    assert report.headline["name"] == "mean_utterance_wer"
    assert report.headline["mean"] == pytest.approx((4 / 1 + 0) / 2)
    assert report.wer.rate == pytest.approx(4 / 4)
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert scores["protocol"] == {"digest": seed_tts.digest, **dataclasses.asdict(seed_tts)}
    assert (scores["normalizer"], scores["recognizer"]) == ("seed-tts", "levels")


def test_an_option_that_contradicts_the_protocol_is_refused_with_the_difference():
    with pytest.raises(ConfigError) as refused:
        EvalConfig(protocol="seed-tts", normalizer="whisper-english", aggregation="mean")
    assert str(refused.value) == (
        "not protocol seed-tts: --normalizer is whisper-english, the protocol has seed-tts; "
        "leave those options out, or --protocol"
    )
    with pytest.raises(ConfigError, match=r"--grammar is g\.jsgf, the protocol has none"):
        EvalConfig(protocol="seed-tts", grammar="g.jsgf")
    with pytest.raises(ConfigError, match="no protocol 'sead'"):
        EvalConfig(protocol="sead")


def test_what_agrees_with_the_protocol_may_be_said(tmp_path):
    assert EvalConfig(protocol="seed-tts", normalizer="seed-tts").chosen_protocol() == PROTOCOLS["seed-tts"]


def test_without_a_protocol_the_digest_is_that_of_the_settings_that_matter(tmp_path):
    ref = two_words(tmp_path / "ref", "11")
    plain = score(ref, None, tmp_path).protocol
    assert (plain["name"], plain["recognizer_model"], plain["normalizer"]) == ("custom", "levels", "whisper-english")
    assert score(ref, None, tmp_path, workers=2, limit=1).protocol == plain
    assert score(ref, None, tmp_path, normalizer="basic").protocol["digest"] != plain["digest"]
    assert score(ref, None, tmp_path, aggregation="mean").protocol["digest"] != plain["digest"]


def test_a_protocol_of_characters_counts_them_however_its_normaliser_sets_blanks():
    pair = Pair(Spoken("a", "你好 吗", None, None), None, "")
    line = score_utterance(pair, "你 好啊", lambda text: text, unit="character")
    assert line.words == line.characters == Counts(substitutions=1, hits=2)


# Transcripts that are kept


def test_what_was_recognised_once_is_not_recognised_again(tmp_path):
    ref = two_words(tmp_path / "ref", "102")
    first = score(ref, None, tmp_path, cache=tmp_path / "cache")
    assert (LevelRecognizer.calls, first.cached) == (3, 0)
    again = score(ref, None, tmp_path, cache=tmp_path / "cache", normalizer="basic")
    assert (LevelRecognizer.calls, again.cached) == (3, 3)
    assert again.wer == first.wer
    score(ref, None, tmp_path)
    assert LevelRecognizer.calls == 6


# Several runs of one system


def test_runs_with_several_seeds_make_one_score_and_a_spread(tmp_path):
    ref = two_words(tmp_path / "ref", "1111")
    runs = [two_words(tmp_path / "first", "1111"), two_words(tmp_path / "second", "1110")]
    report = score(ref, runs, tmp_path)
    # "go on home" for "go on": one error of 8 words in the second run alone.
    assert [seed.wer for seed in report.seeds] == [0.0, 1 / 8]
    assert (report.utterances, report.runs, report.words) == (4, 2, 16)
    assert report.wer.rate == pytest.approx(1 / 16)
    assert report.spread["wer"].mean == pytest.approx(1 / 16)
    assert report.spread["wer"].deviation == pytest.approx((1 / 8) / 2**0.5)
    assert report.wer.low == 0.0
    assert report.wer.high > 1 / 8  # the second run twice, and its wrong utterance more than once
    assert [(line["run"], line["id"]) for line in utterance_lines(tmp_path)][3:5] == [(0, "d"), (1, "a")]


def test_one_run_twice_is_refused(tmp_path):
    ref = two_words(tmp_path / "ref", "11")
    with pytest.raises(ConfigError, match="each has to be another one"):
        score(ref, [ref, ref], tmp_path)


def test_all_speech_is_scored_on_the_same_utterances(tmp_path):
    ref = two_words(tmp_path / "ref", "1111")
    runs = [two_words(tmp_path / "first", "111"), two_words(tmp_path / "second", "1011")]
    (tmp_path / "second/a.wav").unlink()
    with pytest.raises(CorpusError, match="have no speech"):
        score(ref, runs, tmp_path)
    report = score(ref, runs, tmp_path, only_common=True)  # b and c
    assert (report.utterances, report.words, report.only_one_side) == (2, 8, 2)
    assert [seed.wer for seed in report.seeds] == [0.0, 1 / 4]


# Ceilings


def test_ceilings_are_scored_beside_on_the_same_utterances(tmp_path):
    ref = two_words(tmp_path / "ref", "1111")
    hyp = two_words(tmp_path / "hyp", "0011")
    codec = two_words(tmp_path / "codec", "0111")
    ceilings = (("recordings", str(ref)), ("codec", str(codec)))
    report = score(ref, hyp, tmp_path, ceilings=ceilings, limit=2)  # a and c
    assert report.wer.rate == pytest.approx(1 / 4)
    assert {name: row.wer.rate for name, row in report.ceilings.items()} == {"recordings": 0.0, "codec": 1 / 4}
    lines = (tmp_path / "scores/ceiling-codec.jsonl").read_text().splitlines()
    assert [json.loads(line)["hypothesis"] for line in lines] == ["go on home", "go on"]


def test_a_ceiling_is_compared_with_the_voices_that_the_system_was_asked_for(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(LoudMeasures, "compare", lambda self, pair, wav, rate: seen.append(pair.speech.reference) or {})
    ref = two_words(tmp_path / "ref", "1")
    write_wav(tmp_path / "syn/wav/a.wav", 0)
    syn = write_synth(tmp_path / "syn", [{"id": "a", "text": "go on", "wav": "wav/a.wav", "reference": "clip.wav"}])
    score(ref, syn, tmp_path, ceilings=(("recordings", str(ref)),))
    assert seen == [syn / "clip.wav"] * 2


@pytest.mark.parametrize("names", [("a", "a"), ("",), ("a/b",)])
def test_ceilings_need_names_of_their_own(names):
    with pytest.raises(ConfigError, match="a name of its own"):
        EvalConfig(ceilings=tuple((name, "x") for name in names))


# Comparisons


def scored(ref, hyp, out, **settings):
    score(ref, hyp, out, **settings)
    return out / "scores"


def test_a_better_system_is_better_with_a_p_value(tmp_path):
    ref = two_words(tmp_path / "ref", "1" * 8)
    worse = scored(ref, two_words(tmp_path / "worse", "0" * 8), tmp_path / "w")
    report = score(ref, two_words(tmp_path / "better", "1" * 8), tmp_path / "b", against=worse)
    wer = report.against.differences["wer"]
    # Every utterance has one error of two words less: no draw says anything else.
    assert (wer.difference, wer.low, wer.high) == (-0.5, -0.5, -0.5)
    assert wer.p_value == pytest.approx(2 / 1001)
    assert report.against.utterances == 8
    assert set(report.against.differences) >= {"cer", "mean_utterance_wer", "success", "has original"}
    kept = json.loads((tmp_path / "b/scores/scores.json").read_text())
    assert kept["against"]["differences"]["wer"]["difference"] == -0.5


def test_a_system_does_not_differ_from_itself(tmp_path):
    ref = two_words(tmp_path / "ref", "10210123")
    folder = scored(ref, None, tmp_path)
    same = compare_runs(read_scores(folder), read_scores(folder))
    assert {(paired.difference, paired.p_value) for paired in same.differences.values()} == {(0.0, 1.0)}


def test_scores_by_another_protocol_are_not_compared(tmp_path):
    ref = two_words(tmp_path / "ref", "11")
    other = scored(ref, None, tmp_path / "other", normalizer="basic")
    LevelRecognizer.calls = 0
    with pytest.raises(ConfigError, match="normalizer 'basic' there, 'whisper-english' here"):
        score(ref, None, tmp_path, against=other)
    assert LevelRecognizer.calls == 0  # told before the long part
    ours = scored(ref, None, tmp_path)
    assert compare_runs(read_scores(ours), read_scores(other), same_protocol=False).utterances == 2


def test_scores_by_another_recogniser_are_not_compared(tmp_path, monkeypatch):
    ref = two_words(tmp_path / "ref", "11")
    other = scored(ref, None, tmp_path / "other", protocol="paper")
    monkeypatch.setattr(LevelRecognizer, "name", "levels 2")
    with pytest.raises(ConfigError, match="recognizer 'levels' there, 'levels 2' here"):
        score(ref, None, tmp_path, protocol="paper", against=other)


def test_scores_of_other_utterances_are_not_compared(tmp_path):
    other = scored(two_words(tmp_path / "other", "111"), None, tmp_path / "o")
    with pytest.raises(ConfigError, match=r"1 differ \(c\)"):
        score(two_words(tmp_path / "ref", "11"), None, tmp_path, against=other)
    assert LevelRecognizer.calls == 3


def test_the_scores_to_compare_with_are_not_overwritten(tmp_path):
    ref = two_words(tmp_path / "ref", "11")
    folder = scored(ref, None, tmp_path)
    with pytest.raises(ConfigError, match="name another --out"):
        score(ref, None, tmp_path, against=folder)


@pytest.mark.parametrize(
    ("text", "says"), [(None, "has no scores.json"), ("{}", "of this version"), ("[", "score the")]
)
def test_a_folder_without_whole_scores_is_named(tmp_path, text, says):
    if text is not None:
        (tmp_path / "scores.json").write_text(text)
        (tmp_path / "utterances.jsonl").write_text("")
    with pytest.raises(FormatError, match=says):
        read_scores(tmp_path)


# Tables and lists


def test_groups_by_speaker_and_by_length_are_sorted_as_people_count(tmp_path):
    table = tmp_path / "corpus" / "manifest.csv"
    table.parent.mkdir()
    rows = [("a", "go on", "x", 1), ("b", "go on " * 6, "y", 1), ("c", "stay", "x", 1)]
    for name, *_, heard in rows:
        write_wav(table.parent / f"{name}.wav", heard)
    table.write_text("path,text,speaker\n" + "".join(f"{n}.wav,{text},{who}\n" for n, text, who, _ in rows))
    report = score(table, None, tmp_path, group_by=("speaker", "length"))
    assert {name: (group.utterances, group.words) for name, group in report.groups["speaker"].items()} == {
        "x": (2, 3),
        "y": (1, 12),
    }
    assert [(name, group.wer) for name, group in report.groups["length"].items()] == [
        ("0-5", 2 / 3),
        ("11-15", 10 / 12),
    ]


def test_transcripts_that_nobody_would_write_are_marked(tmp_path, monkeypatch):
    heard = {1: "go on go on go on", 2: "no", 0: "go on home"}
    monkeypatch.setattr(
        LevelRecognizer, "transcribe", lambda _, wavs: [heard[round(float(wav[100]) * 10)] for wav in wavs]
    )
    texts = {"a": ("go on", 1), "b": ("do not go on", 2), "c": ("go on home", 0)}
    report = score(write_corpus(tmp_path / "ref", texts), None, tmp_path)
    assert {name: mark.ids for name, mark in report.flags.items()} == {
        "repeated": ("a",),
        "too_fast": (),
        "too_long": ("a",),
        "too_short": ("b",),
    }
    assert [line["flags"] for line in utterance_lines(tmp_path)] == [["repeated", "too_long"], ["too_short"], []]
    assert utterance_lines(tmp_path)[0]["seconds"] == 0.5


def test_the_worst_are_listed_with_their_alignment(tmp_path):
    texts = {"a": ("go on home", 3), "b": ("go up", 1), "c": ("go on", 1), "d": ("stay", 1)}
    score(write_corpus(tmp_path / "ref", texts), None, tmp_path, worst=2)
    assert (tmp_path / "scores/worst.txt").read_text().splitlines() == [
        "2 of 3 utterances with errors, the highest error rate first",
        "",
        "d: 200 % (1 sub, 0 del, 1 ins of 1)",
        "  REF: ** stay",
        "  HYP: go   on",
        "        I    S",
        "",
        "b: 50 % (1 sub, 0 del, 0 ins of 2)",
        "  REF: go up",
        "  HYP: go on",
        "           S",
    ]


def test_a_loud_failure_is_not_among_the_worst(tmp_path):
    lines = [{"id": "a", "text": "go", "wav": None, "reason": "no_end"}]
    score(write_synth(tmp_path / "syn", lines), None, tmp_path)
    assert "0 of 0 utterances with errors" in (tmp_path / "scores/worst.txt").read_text()
    assert "1 without speech are not shown" in (tmp_path / "scores/worst.txt").read_text()


def test_the_next_audio_is_read_before_the_recogniser_is_done(monkeypatch):
    monkeypatch.setattr(loop, "_CHUNK", 1)
    is_read = [threading.Event() for _ in range(4)]

    class Patient(LevelRecognizer):
        """Does not finish an utterance before the next one is read."""

        heard = 0

        def transcribe(self, wavs):
            self.heard += 1
            assert self.heard == len(is_read) or is_read[self.heard].wait(5)
            return super().transcribe(wavs)

    def pair(number):
        def read(rate):
            is_read[number].set()
            return torch.full((200,), 0.1)

        meant = Spoken(str(number), "go on", None, None)
        return Pair(meant, dataclasses.replace(meant, read=read), "")

    system = System("", ["x"], "recordings", None, [[pair(number) for number in range(4)]])
    heard = loop.score_all([system], Patient(), None, loop.Rules("none", "word", ()), SilentProgress())
    assert [line.id for line in heard.lines[0][0]] == ["0", "1", "2", "3"]


def test_scores_do_not_depend_on_the_order_of_recognition(tmp_path, monkeypatch):
    texts = {f"u{n}": (" ".join(["go on"] * (n % 5 + 1)), n % 4) for n in range(20)}
    ref = write_corpus(tmp_path / "ref", texts)
    score(ref, None, tmp_path)
    before = utterance_lines(tmp_path)
    monkeypatch.setattr(loop, "_CHUNK", 3)
    score(ref, None, tmp_path)
    assert utterance_lines(tmp_path) == before
    assert [line["id"] for line in before] == sorted(texts)
