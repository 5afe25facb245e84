"""One line of text in several pieces and in several tries: what is joined, what is kept, what is told of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk.asr.base import Recognizer
from slmtk.data.prompts import normalize_text
from slmtk.errors import ConfigError
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Speech
from slmtk.stages.lines import Line
from slmtk.stages.synth.config import SynthConfig
from slmtk.stages.synth.job import LineSpeaker
from slmtk.stages.synth.lines import SpokenLine, key_of, line_name, read_line, write_line
from slmtk.stages.synth.planned import Job, piece_seconds
from tests.helpers.tone import ToneCodec

RANDOM = Sampling(temperature=1.0, max_seconds=2.0, seed=5)


class FakeSynthesizer:
    """Says a text as a tenth of a second of ones a letter, the last text first; "fail" in it fails."""

    spec = ToneCodec.spec

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []

    def each(self, task, said, sampling, *, batch_size):
        for place, one in reversed(list(enumerate(said))):
            self.said.append((one.text, one.seed))
            reason = "loop" if "fail" in one.text else "empty" if one.text == "(Nothing)." else ""
            count = 0 if reason == "empty" else len(one.text)
            codes = np.full((2, 5 * count), one.seed, np.int32)
            speech = Speech(normalize_text(one.text), codes, torch.ones(1600 * count), 16_000, reason, count, 0.5, 0.1)
            yield place, speech


class Parrot(Recognizer):
    """Hears what it was told to hear, in turn."""

    name = "parrot"

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    @classmethod
    def create(cls, *, model=None, grammar=None, device="cpu") -> Parrot:
        return cls()

    def transcribe(self, wavs):
        return [self.texts.pop(0) for _ in wavs]


def speak(
    text: str, recognizer: Recognizer | None = None, *, seconds: float = 2.0, **settings: object
) -> tuple[SpokenLine, FakeSynthesizer]:
    synthesizer = FakeSynthesizer()
    config = SynthConfig(Path("model"), sampling=RANDOM, **settings)  # type: ignore[arg-type]
    speaker = LineSpeaker(synthesizer, recognizer, config, seconds)  # type: ignore[arg-type]
    (line,) = speaker.each([Job(0, Line("x", text), None, "k")])
    return line, synthesizer


def test_sentences_are_joined_with_pauses_and_kept_one_by_one():
    line, _ = speak("We ate the bread. We drank, and then we slept again.")
    assert [row.id for row in line.rows] == ["x@1", "x@2", "x@3"]
    assert [row.text for row in line.rows] == ["We ate the bread.", "We drank,", "And then we slept again."]
    assert [row.codes.shape[1] for row in line.rows] == [5 * 17, 5 * 9, 5 * 24]
    assert [row.duration for row in line.rows] == [1.7, 0.9, 2.4]
    expected = [np.ones(27_200), np.zeros(4_000), np.ones(14_400), np.zeros(2_400), np.ones(38_400)]
    assert np.array_equal(line.wav, np.concatenate(expected))
    assert [(s["text"], s["start"]) for s in line.record["sentences"]] == [
        ("We ate the bread.", 0.0),
        ("We drank,", 1.95),
        ("and then we slept again.", 3.0),
    ]
    assert line.record["text"] == "We ate the bread. we drank, and then we slept again."
    assert line.record["steps"] == 50
    assert line.timing["seconds_wall"] == 1.5
    assert line.timing["steps_per_second"] == pytest.approx(50 / 1.5, abs=0.1)
    assert line.timing["rtf"] == pytest.approx(1.5 / 5.4, abs=1e-4)


def test_a_sentence_that_fails_fails_the_line_and_the_others_are_kept():
    line, _ = speak("We ate the bread. (Nothing). This will fail early.")
    assert line.record["reason"] == "empty"
    assert [sentence["reason"] for sentence in line.record["sentences"]] == ["", "empty", "loop"]
    # No pause for a sentence of which nothing is heard.
    assert len(line.wav) == 27_200 + 4_000 + 1_600 * len("This will fail early.")
    assert [row.codes.shape[1] for row in line.rows] == [85, 0, 105]
    assert line.record["sentences"][2]["start"] == 1.95


def test_a_text_stays_whole_if_it_is_not_to_be_split():
    line, synthesizer = speak("We ate the bread. We drank, and then we slept again.", seconds=math.inf)
    assert len(synthesizer.said) == 1
    assert "sentences" not in line.record
    assert [row.id for row in line.rows] == ["x"]


def test_the_candidate_with_the_lowest_wer_is_kept_and_the_earlier_of_equals():
    heard = Parrot("red green", "red grin blue", "red green blue", "Red, green blue!")
    line, synthesizer = speak("Red green blue.", heard, n_best=4)
    assert sorted(synthesizer.said) == [("Red green blue.", seed) for seed in (5, 6, 7, 8)]
    assert (line.record["seed"], line.record["wer"], line.record["transcript"]) == (7, 0.0, "red green blue")
    assert [(c["seed"], c["wer"]) for c in line.record["candidates"]] == [(5, 0.3333), (6, 0.3333), (7, 0.0), (8, 0.0)]
    assert set(line.rows[0].codes.flatten()) == {7}
    assert line.timing["steps_of_all_candidates"] == 4 * len("Red green blue.")


def test_of_failed_candidates_every_word_counts_as_deleted_and_the_first_is_kept():
    line, _ = speak("We fail.", Parrot(), n_best=2)
    assert [(c["wer"], c["reason"], c["transcript"]) for c in line.record["candidates"]] == [(1.0, "loop", "")] * 2
    assert (line.record["seed"], line.record["reason"]) == (5, "loop")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"n_best": 2, "sampling": Sampling()},
            "needs a --temperature above 0, without --choose mean",
        ),
        ({"n_best": 0}, "--n-best 0 must be 1 or more"),
        ({"batch_size": 0}, "--batch-size 0 must be 1 or more"),
        ({"engine": "slurm"}, "no engine 'slurm'; expected one of local, ray"),
        ({"rerank": "mos"}, "no rerank 'mos'; expected one of wer"),
        ({"shard_id": 1}, "belong together"),
        ({"shard_id": 2, "num_shards": 2}, r"must be one of 0 \.\. 1"),
        ({"shard_id": 0, "num_shards": 2, "overwrite": True}, "would delete what other shards have made"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        SynthConfig(Path("model"), **{"sampling": RANDOM, **settings})


def test_a_text_is_split_at_the_runs_limit_or_the_models_and_never_to_shreds(tmp_path):
    (tmp_path / "slmtk.json").write_text("{}")
    config = SynthConfig(tmp_path, sampling=Sampling(max_seconds=7.0))
    assert piece_seconds(config) == 7.0
    assert piece_seconds(replace(config, sampling=Sampling(max_seconds=0.1))) == 2.0
    (tmp_path / "slmtk.json").write_text('{"piece_seconds": 5.5}')
    assert piece_seconds(config) == 5.5
    assert piece_seconds(replace(config, sampling=Sampling(max_seconds=3.0))) == 3.0
    assert piece_seconds(replace(config, split_long=False)) == math.inf


def test_a_lines_file_gives_back_all_but_the_audio(tmp_path):
    line, _ = speak("We ate the bread. We drank.")
    write_line(tmp_path, line)
    (path,) = tmp_path.iterdir()
    assert path.name == line_name("x", "k")
    assert key_of(path) == ("x", "k")
    assert key_of(tmp_path / f".{path.name}.1.tmp") is None
    again = read_line(path)
    assert (again.key, again.record, again.timing, again.spec) == (line.key, line.record, line.timing, line.spec)
    for before, after in zip(line.rows, again.rows, strict=True):
        assert np.array_equal(before.codes, after.codes)
        assert replace(before, codes=None) == replace(after, codes=None)
