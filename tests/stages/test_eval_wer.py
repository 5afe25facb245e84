"""Scores of recordings, synthesised speech and codes, with a recogniser whose answers are known beforehand."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from helpers.known_speech import (
    LevelRecognizer,
    LoudMeasures,
    edits,
    score,
    utterance_lines,
    write_corpus,
    write_synth,
    write_wav,
)

from slmtk import audio
from slmtk.errors import ConfigError, CorpusError, FormatError
from slmtk.stages import eval_wer as stage
from slmtk.stages.eval_wer import EvalConfig


@pytest.fixture(autouse=True)
def known_engines(monkeypatch):
    monkeypatch.setattr(stage, "load_recognizer", lambda *_, **__: LevelRecognizer())
    monkeypatch.setattr(stage, "SpeechMeasures", LoudMeasures)


def test_recordings_are_scored_against_their_own_texts(tmp_path):
    # a: nothing wrong of 3 words; b: "go" for "up", "on" inserted, of 1 word.
    ref = write_corpus(tmp_path / "ref", {"a": ("Go, on; HOME!", 0), "b": ("up", 1)})
    report = score(ref, None, tmp_path)
    assert edits(report) == (1, 0, 1, 4)
    assert report.wer.rate == pytest.approx(2 / 4)
    assert report.mean_utterance_wer.mean == pytest.approx((0 + 2 / 1) / 2)
    # "up" -> "go on": two letters for two others, and three more.
    assert (report.cer.substitutions, report.cer.insertions, report.cer.length) == (2, 3, len("go on home") + 2)
    assert report.success_rate == 1.0
    assert (report.headline["name"], report.headline["mean"]) == ("wer", report.wer.rate)


def test_failures_delete_every_word_and_are_counted_by_reason(tmp_path):
    write_wav(tmp_path / "syn/wav/a.wav", 0)
    write_wav(tmp_path / "syn/wav/c.wav", 1)
    syn = write_synth(
        tmp_path / "syn",
        [
            {"id": "a", "text": "go on home", "wav": "wav/a.wav"},
            {"id": "b", "text": "go on home now", "wav": None, "reason": "no_end"},
            {
                "id": "c",
                "text": "go on",
                "wav": "wav/c.wav",
                "reason": "loop",
            },  # a failure, though something was said
        ],
    )
    report = score(syn, None, tmp_path)
    assert edits(report) == (0, 6, 0, 9)
    assert report.failures == {"loop": 1, "no_end": 1}
    assert report.success_rate == pytest.approx(1 / 3)
    assert report.mean_utterance_wer.mean == pytest.approx(2 / 3)


def test_missing_speech_is_an_error_that_names_it_unless_allowed(tmp_path):
    ref = write_corpus(tmp_path / "ref", dict.fromkeys("abc", ("go on", 1)))
    hyp = write_corpus(tmp_path / "hyp", {"a": (None, 1), "stranger": (None, 0)})
    with pytest.raises(CorpusError, match=r"2 of 3 utterances .* b, c; --allow-missing"):
        score(ref, hyp, tmp_path)
    allowed = score(ref, hyp, tmp_path, allow_missing=True)
    assert (edits(allowed), allowed.failures) == ((0, 4, 0, 6), {"missing": 2})
    common = score(ref, hyp, tmp_path, only_common=True)
    assert (edits(common), common.failures, common.only_one_side) == ((0, 0, 0, 2), {}, 3)


def test_a_synthesised_file_that_is_gone_is_missing(tmp_path):
    syn = write_synth(tmp_path / "syn", [{"id": "a", "text": "go", "wav": "wav/a.wav"}])
    with pytest.raises(CorpusError, match="have no speech"):
        score(syn, None, tmp_path)


def test_nothing_in_common_and_no_texts_are_errors_of_one_line(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("go", 0)})
    with pytest.raises(CorpusError, match="no id in common"):
        score(ref, write_corpus(tmp_path / "other", {"x": (None, 0)}), tmp_path)
    with pytest.raises(CorpusError, match="no text"):
        score(write_corpus(tmp_path / "untold", {"a": (None, 0)}), ref, tmp_path)


def test_a_file_that_cannot_be_read_fails_and_is_told_apart(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("go on", 1), "b": ("go", 0)})
    (ref / "b.wav").write_bytes(b"RIFF no sound")
    report = score(ref, None, tmp_path)
    assert (report.unreadable, report.failures) == (1, {"audio_unreadable": 1})
    assert edits(report) == (0, 1, 0, 3)


def test_measures_are_means_over_the_utterances_that_could_be_judged(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("go on", 1), "b": ("stay", 2), "c": ("go on home", 0)})
    report = score(ref, None, tmp_path)
    assert (report.measures["level"].mean, report.measures["level"].utterances) == (pytest.approx(0.15), 2)
    assert report.not_measured == {"level: silence": 1}
    assert [line["measures"].get("level") for line in utterance_lines(tmp_path)] == [0.1, 0.2, None]
    assert score(ref, None, tmp_path, similarity=False).measures == {}
    both = score(ref, None, tmp_path, similarity=False, measures=("sim-o", "mcd"))
    assert set(both.measures) == {"level", "has original"}


def test_only_other_speech_than_the_texts_own_has_an_original_to_compare_with(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"a": ("go on", 1)})
    hyp = write_corpus(tmp_path / "hyp", {"a": (None, 1)})
    report = score(ref, hyp, tmp_path, ceilings=(("recordings", str(ref)),))
    assert report.measures["has original"].mean == 1.0
    assert report.ceilings["recordings"].measures["has original"].mean == 0.0


def test_files_hold_the_report_and_a_line_an_utterance(tmp_path):
    ref = write_corpus(tmp_path / "ref", {"b": ("up", 1), "a": ("Colour, fifty!", 1)})
    report = score(ref, None, tmp_path)
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert scores["wer"]["rate"] == report.wer.rate
    assert (scores["recognizer"], scores["normalizer"]) == ("levels", "whisper-english")
    first, second = map(json.loads, (tmp_path / "scores/utterances.jsonl").read_text().splitlines())
    assert (first["id"], first["reference"], first["hypothesis"]) == ("a", "Colour, fifty!", "go on")
    assert (first["reference_normalized"], first["hypothesis_normalized"]) == ("color 50", "go on")
    assert second["words"] == {"substitutions": 1, "deletions": 0, "insertions": 1, "hits": 0}


def test_a_limit_takes_utterances_from_everywhere_and_groups_are_scored_apart(tmp_path):
    table = tmp_path / "corpus" / "manifest.csv"
    rows = [(f"u{place}", place % 2, "left" if place < 4 else "right") for place in range(8)]
    for name, heard, _ in rows:
        write_wav(tmp_path / f"corpus/{name}.wav", heard)
    table.write_text("path,text,side\n" + "".join(f"{name}.wav,go on,{side}\n" for name, _, side in rows))
    report = score(table, None, tmp_path, group_by=("side",))
    # Of each side's now, on are heard with an insertion: 2 errors of 8 words.
    assert {name: (group.utterances, group.wer) for name, group in report.groups["side"].items()} == {
        "left": (4, 0.25),
        "right": (4, 0.25),
    }
    assert score(table, None, tmp_path, limit=2).utterances == 2
    assert [line["id"] for line in utterance_lines(tmp_path)] == ["u0", "u4"]


def test_codes_are_decoded_by_their_codec(tmp_path, monkeypatch):
    import numpy as np

    from slmtk.codecs.base import Codec, Encoded
    from slmtk.shards import CodesRow, part_name, write_index, write_shard
    from slmtk.spec import CodecSpec, Stream
    from slmtk.stages import speech_sources

    class TenthsCodec(Codec):
        """Code n: 1000 samples of n tenths."""

        spec = CodecSpec("tenths", sample_rate=16_000, frame_size=1000, streams=(Stream("level", 10),))

        @classmethod
        def create(cls, *, device="cpu", checkpoint=None):
            return cls()

        def encode(self, wav):
            return Encoded((wav[:, None, ::1000] * 10).round().long(), None)

        def decode(self, codes, speaker=None):
            return (codes[:, 0].float() / 10).repeat_interleave(1000, dim=1)

    rows = [
        CodesRow(id=name, codes=np.full((1, frames), heard, np.int32), duration=frames / 16, text=text, source="")
        for name, frames, heard, text in (("a", 4, 0, "go on home"), ("b", 4, 1, "go on"), ("c", 0, 1, "go"))
    ]
    folder = tmp_path / "codes"
    info = write_shard(folder / part_name(0), TenthsCodec.spec, rows)
    write_index(folder, TenthsCodec.spec, {"codec": "tenths"}, "f", [info], 0)
    monkeypatch.setattr(speech_sources, "load_codec_of", lambda *_, **__: TenthsCodec())
    report = score(folder, None, tmp_path)
    assert (edits(report), report.failures) == ((0, 1, 0, 6), {"audio_empty": 1})


def test_a_damaged_line_of_a_synthesis_is_named(tmp_path):
    (tmp_path / "syn").mkdir()
    (tmp_path / "syn/synth.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(FormatError, match=r"synth\.jsonl, line 1"):
        score(tmp_path / "syn", None, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 0},
        {"bootstrap_samples": 0},
        {"workers": 0},
        {"worst": -1},
        {"normalizer": "x"},
        {"measures": ("mos",)},
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings):
    with pytest.raises(ConfigError):
        EvalConfig(**settings)


def test_the_command_prints_json_and_says_by_its_status_whether_all_was_read(tmp_path, monkeypatch):
    from slmtk.cli.eval_wer import command

    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "ref", {"a": ("go on", 1), "b": ("go on", 1)})
    done = CliRunner().invoke(command, ["ref", "--no-similarity", "--no-cache", "--device", "cpu", "--workers", "1"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["wer"]["rate"] == 0.0
    assert (tmp_path / "scores/ref/scores.json").is_file()
    (tmp_path / "ref/b.wav").write_bytes(b"")
    again = CliRunner().invoke(command, ["ref", "--out", "there", "--device", "cpu", "--no-cache"])
    assert again.exit_code == 3
    assert (tmp_path / "there/utterances.jsonl").is_file()


def test_real_digits_are_scored_under_a_grammar(tmp_path, shared_data, monkeypatch):
    from slmtk.asr.base import load_recognizer

    monkeypatch.setattr(stage, "load_recognizer", load_recognizer)
    grammar = tmp_path / "digits.jsgf"
    grammar.write_text("#JSGF V1.0;\ngrammar d;\npublic <d> = one | two | three | four | eight | nine;\n")
    words = {"3_jackson_5": "three", "8_jackson_5": "eight", "9_jackson_5": "four"}
    for name, word in words.items():
        samples, rate = audio.read(shared_data / f"fsdd/recordings/{name}.flac")
        (tmp_path / "ref").mkdir(exist_ok=True)
        audio.write(tmp_path / f"ref/{name}.wav", samples, rate)
        (tmp_path / f"ref/{name}.txt").write_text(word)
    report = score(tmp_path / "ref", None, tmp_path, grammar=grammar)
    assert edits(report) == (1, 0, 0, 3)  # the nine is a nine, whatever its text says
    assert "digits.jsgf" in report.recognizer
