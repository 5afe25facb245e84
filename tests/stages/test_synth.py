import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.synth import command
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer
from slmtk.progress import SilentProgress
from slmtk.shards import open_codes, verify
from slmtk.stages.lines import read_lines
from slmtk.stages.synth import SynthConfig, synth
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, make_dataset, use_voiced_tone
from tests.helpers.tone import VoicedToneCodec

SILENT = SilentProgress()
SHORT = Sampling(max_seconds=1.0)


@pytest.fixture(autouse=True)
def voiced_tone(monkeypatch):
    use_voiced_tone(monkeypatch)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that has learnt to say the word it is given: 0.5 seconds of training a word."""
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        use_voiced_tone(patch)
        config = replace(
            TINY, steps=150, batch_size=8, learning_rate=4e-3, save_every=1000, log_every=50, num_targets=0
        )
        train(make_dataset(folder, 48), folder / "model", config, SILENT)
    return folder / "model"


@pytest.fixture
def reference(tmp_path):
    wav = 0.4 * torch.sin(torch.arange(16_000) * (2 * torch.pi * 600 / 16_000))
    audio.write(tmp_path / "ref.wav", wav, 16_000)
    return tmp_path / "ref.wav"


def records(out):
    return [json.loads(line) for line in (out / "synth.jsonl").read_text().splitlines()]


def test_a_trained_model_says_the_words_it_is_given_in_the_references_voice(model, reference, tmp_path):
    lines = tmp_path / "words.txt"
    lines.write_text("low\nhigh\n")
    report = synth(lines, tmp_path / "out", SynthConfig(model, (reference,), SHORT, device="cpu"), SILENT)
    assert report.utterances == 2
    low, high = open_codes(tmp_path / "out").rows()
    assert np.median(low.codes[0]) == 5  # "low" is always code 5, "high" always 40
    assert np.median(high.codes[0]) == 40
    assert low.speaker_vector[0] == pytest.approx(0.4, abs=1e-3)
    wav, rate = audio.read(tmp_path / "out" / "wav" / "words-0000.wav")
    assert rate == 16_000
    decoded = VoicedToneCodec().decode(
        torch.from_numpy(low.codes)[None].long(), torch.tensor([[low.speaker_vector[0]]])
    )
    torch.testing.assert_close(wav, decoded[0], atol=1e-4, rtol=0)


def test_the_folder_tells_everything_about_each_line(model, reference, tmp_path):
    out = tmp_path / "out"
    report = synth("Low", out, SynthConfig(model, (reference,), SHORT, device="cpu"), SILENT)
    (record,) = records(out)
    assert record["id"] == "low"
    assert record["text"] == "Low"
    assert record["speaker"] == "ref"
    assert record["reference"] == str(reference)
    assert record["wav"] == "wav/low.wav"
    assert record["seconds_audio"] == pytest.approx(report.seconds_audio, abs=1e-3)
    assert record["steps"] > 0
    assert verify(out) == []
    assert report.rtf == pytest.approx(report.seconds_wall / report.seconds_audio, rel=0.05)
    assert report.first_codes_seconds <= report.first_audio_seconds


def test_a_failure_has_a_reason_and_lowers_the_success_rate(model, reference, tmp_path):
    sampling = Sampling(max_seconds=0.05, loop_seconds=0)
    report = synth("low", tmp_path / "out", SynthConfig(model, (reference,), sampling, device="cpu"), SILENT)
    assert report.failures == {"no_end": 1}
    assert report.success_rate == 0.0
    assert records(tmp_path / "out")[0]["reason"] == "no_end"


def test_random_choices_depend_on_seed_text_and_voice_not_on_the_other_lines(model, reference, tmp_path):
    voice_of = Synthesizer.load(model)
    sampling = Sampling(temperature=1.5, max_seconds=0.4, loop_seconds=0, seed=3)
    voice = voice_of.voice(reference)
    alone = voice_of.speak(["high"], [voice], sampling)[0]
    among = voice_of.speak(["low", "high", "rising"], [voice] * 3, sampling)[1]
    other_seed = voice_of.speak(["high"], [voice], replace(sampling, seed=4))[0]
    assert np.array_equal(alone.codes, among.codes)
    assert not np.array_equal(alone.codes, other_seed.codes)


def test_lines_come_from_text_jsonl_and_tsv_with_ids_and_references(tmp_path):
    assert [(line.id, line.text) for line in read_lines("Say this!")] == [("say-this", "Say this!")]
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    assert [(line.id, line.text) for line in read_lines(tmp_path / "a.txt")] == [("a-0000", "one"), ("a-0001", "two")]
    (tmp_path / "b.jsonl").write_text('{"id": "x", "text": "one", "reference": "v.wav"}\n{"text": "two"}\n')
    lines = read_lines(str(tmp_path / "b.jsonl"))
    assert [(line.id, line.reference) for line in lines] == [("x", tmp_path / "v.wav"), ("b-0001", None)]
    (tmp_path / "c.tsv").write_text("id\ttext\nq\tone, two\n")
    assert [(line.id, line.text) for line in read_lines(tmp_path / "c.tsv")] == [("q", "one, two")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n", "holds no text"),
        ("a.jsonl", '{"id": "x"}\n', "found the fields id"),
        ("a.jsonl", "text\n", "is not JSON"),
        ("a.jsonl", '{"id": "x", "text": "a"}\n{"id": "x", "text": "b"}\n', "occurs twice"),
        ("a.jsonl", '{"id": "../x", "text": "a"}\n', "cannot be a file's name"),
    ],
)
def test_unusable_lines_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=message):
        read_lines(tmp_path / name)


def test_a_missing_file_of_texts_is_not_spoken_as_text():
    with pytest.raises(FormatError, match="is no file"):
        read_lines("missing.jsonl")
    with pytest.raises(FormatError, match="the text is empty"):
        read_lines("  ")


def test_a_missing_voice_and_a_foreign_folder_are_refused(model, reference, tmp_path):
    with pytest.raises(ConfigError, match="give --speaker"):
        synth("low", tmp_path / "out", SynthConfig(model, (), SHORT, device="cpu"), SILENT)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(FormatError, match="not empty"):
        synth("low", tmp_path / "photos", SynthConfig(model, (reference,), SHORT, device="cpu"), SILENT)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_model_of_another_codec_version_is_refused(model, tmp_path):
    import shutil

    shutil.copytree(model, tmp_path / "model")
    info = json.loads((tmp_path / "model" / "slmtk.json").read_text())
    info["codec"]["weights_sha256"] = "other"
    (tmp_path / "model" / "slmtk.json").write_text(json.dumps(info))
    with pytest.raises(CodecMismatchError, match="weights_sha256"):
        Synthesizer.load(tmp_path / "model")
    with pytest.raises(FormatError, match=r"no slmtk\.json"):
        Synthesizer.load(tmp_path)


def test_a_model_that_only_reads_aloud_does_not_answer(model, reference):
    synthesizer = Synthesizer.load(model)
    with pytest.raises(ConfigError, match="--questions"):
        synthesizer.answer(["How many?"], [synthesizer.voice(reference)], SHORT)


def test_the_command_prints_where_the_speech_is(model, reference, tmp_path):
    arguments = ["low", str(tmp_path / "out"), "--model", str(model), "--speaker", str(reference), "--device", "cpu"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["wavs"] == [str(tmp_path / "out" / "wav" / "low.wav")]
