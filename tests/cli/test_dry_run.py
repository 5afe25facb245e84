"""--dry-run says what would be read, done and written, finds mistakes, takes missing inputs, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from slmtk import audio
from slmtk.cli.main import cli
from slmtk.codecs.base import codec_class
from slmtk.config import write_json
from slmtk.data.text_tokenizer import ByteTokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, CorpusError, FormatError, PluginError
from slmtk.models.config import SpeechLMConfig


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """An empty folder to run in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def plan(*args: str) -> dict:
    """What `slmtk ARGS --dry-run` prints; it must leave every file as it was."""
    before = files()
    done = CliRunner().invoke(cli, [*args, "--dry-run"], standalone_mode=False)
    assert files() == before
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path.cwd().parent.rglob("*") if path.is_file()}


def save_model(folder: Path, *, tasks: tuple[str, ...] = ("tts",), codec: str = "facodec") -> Path:
    """A model folder but for its weights."""
    spec = codec_class(codec).card.spec
    vocabulary = Vocabulary(259, spec).to_dict()
    SpeechLMConfig(backbone={"model_type": "qwen2"}, vocabulary=vocabulary, frames_per_step=2).save_pretrained(folder)
    ByteTokenizer().save(folder / "tokenizer")
    write_json(folder / "slmtk.json", {"kind": "model", "codec": spec.to_dict(), "tasks": tasks})
    return folder


def save_corpus(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        audio.write(folder / f"{name}.wav", torch.zeros(1600), 16_000)
        (folder / f"{name}.txt").write_text(f"Text of {name}.")
    return folder


def test_tokenize_looks_at_the_corpus_and_at_the_codecs_card(tmp_path):
    corpus = save_corpus(tmp_path / "corpus")
    found = plan("tokenize", str(corpus), "codes", "--codec", "facodec", "--max-seconds", "20", "--device", "cuda:3")
    assert found["dry_run"] is True
    assert found["would_write"] == "codes"
    assert found["would_read"][0].startswith(f"recordings: {corpus} (")
    assert "2 utterances" in found["would_read"][0]
    assert "content1, content2, prosody; 80 frames a second" in found["would_read"][1]
    assert found["would_do"][0] == "encode with facodec on cuda:3, 4 hours a part"
    assert found["would_do"][1].startswith("split recordings longer than 20 s")


def test_tokenize_takes_a_corpus_that_is_not_there_yet_and_names_its_own_folder():
    found = plan("tokenize", "data/LibriTTS", "--codec", "world", "--push-to-hub", "me/codes")
    assert found["would_read"][0] == "recordings: data/LibriTTS (not there yet)"
    assert found["would_write"] == "world-codes/LibriTTS"
    assert found["would_do"][-1] == "upload the codes to the hub as me/codes"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--codec", "facodecc"], PluginError, "did you mean 'facodec'"),
        (["--codec", "facodec", "--codebooks", "2"], ConfigError, "no choice of codebooks"),
        (
            ["--codec", "speechtokenizer", "--codebooks", "9"],
            ConfigError,
            "--codebooks 9: codec 'speechtokenizer' has 8",
        ),
        (["--codec", "world", "--shard-hours", "0"], ConfigError, "must be positive"),
    ],
)
def test_tokenize_finds_mistakes(options, error, message):
    with pytest.raises(error, match=message):
        plan("tokenize", "data", "codes", *options)


def test_tokenize_finds_a_folder_without_sounds(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="holds no sound files"):
        plan("tokenize", str(tmp_path / "empty"), "codes", "--codec", "world")


def test_synth_says_what_it_would_speak_with(tmp_path):
    model = save_model(tmp_path / "model")
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    found = plan("synth", str(tmp_path / "lines.txt"), "out", "--model", str(model), "--speaker", "voice.wav")
    assert found["would_read"] == [
        f"texts: {tmp_path / 'lines.txt'} (2 texts)",
        f"model: {model} (grouped, 6 heads, codec facodec)",
        "voice: voice.wav (not there yet)",
    ]
    assert found["would_write"] == "out"
    words = plan("synth", "Say this.", "--model", "model-to-be", "--temperature", "0.8", "--max-seconds", "7")
    assert words["would_read"] == ["text: Say this.", "model: model-to-be (not there yet)"]
    assert words["would_do"] == ["speak each text at temperature 0.8, 7 s at most, on auto"]


def test_synth_finds_what_is_wrong_with_a_model_that_is_there(tmp_path):
    asr = save_model(tmp_path / "asr", tasks=("asr",))
    with pytest.raises(ConfigError, match="trained for asr and not for 'tts'"):
        plan("synth", "Hi.", "--model", str(asr))
    (asr / "config.json").unlink()
    with pytest.raises(FormatError, match="no finished model"):
        plan("synth", "Hi.", "--model", str(asr))
    (asr / "slmtk.json").unlink()
    with pytest.raises(FormatError, match=r"no slmtk\.json"):
        plan("synth", "Hi.", "--model", str(asr))
    (tmp_path / "lines.jsonl").write_text("{}\n")
    with pytest.raises(FormatError, match="has no 'text'"):
        plan("synth", str(tmp_path / "lines.jsonl"), "--model", "model-to-be")


def test_a_missing_input_is_wrong_usage_without_the_flag():
    for args in (["synth", "Hi.", "--model", "model"], ["roletrivia-bench", "q.jsonl", "out", "--model", "model"]):
        done = CliRunner().invoke(cli, args, standalone_mode=False)
        assert isinstance(done.exception, click.BadParameter)
        assert "does not exist" in str(done.exception)


def test_eval_wer_says_what_it_would_hear_with(tmp_path):
    corpus = save_corpus(tmp_path / "corpus")
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "synth.jsonl").write_text("")
    found = plan("eval-wer", str(corpus), str(tmp_path / "speech"), "--recognizer-model", "someone/recogniser")
    assert "2 utterances" in found["would_read"][0]
    assert found["would_read"][1] == f"speech: {tmp_path / 'speech'} (synthesised speech)"
    assert found["would_read"][2].startswith("recogniser: pocketsphinx with someone/recogniser (of the hub")
    assert found["would_read"][3] == "speaker encoder: resemblyzer"
    assert found["would_write"] == "scores/speech"
    bare = plan("eval-wer", "corpus-to-be", "--no-similarity", "--grammar", "g.jsgf")
    assert bare["would_read"] == [
        "texts: corpus-to-be (not there yet)",
        "recogniser: pocketsphinx",
        "grammar: g.jsgf (not there yet)",
    ]


def test_eval_wer_finds_mistakes():
    with pytest.raises(PluginError, match="no asr plug-in 'pocketsfinx'"):
        plan("eval-wer", "corpus", "--recognizer", "pocketsfinx")
    with pytest.raises(PluginError, match="no speakers plug-in 'resemblizer'"):
        plan("eval-wer", "corpus", "--speaker-encoder", "resemblizer")


def test_roletrivia_bench_counts_questions_and_knows_what_the_model_was_trained_for(tmp_path):
    audio.write(tmp_path / "ada.wav", torch.zeros(1600), 16_000)
    line = {"question": "How many?", "answers": ["two"], "reference": "ada.wav"}
    (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
    model = save_model(tmp_path / "model", tasks=("tts", "qa"))
    found = plan("roletrivia-bench", str(tmp_path / "q.jsonl"), "out", "--model", str(model))
    assert found["would_read"][0] == f"questions: {tmp_path / 'q.jsonl'} (1 questions, 1 roles)"
    reader = save_model(tmp_path / "reader")
    with pytest.raises(ConfigError, match="trained for tts and not for 'qa'"):
        plan("roletrivia-bench", "questions-to-be.jsonl", "out", "--model", str(reader))


def test_a_config_file_may_ask_for_it(tmp_path):
    (tmp_path / "c.toml").write_text('dry-run = true\nmodel = "model-to-be"\n')
    done = CliRunner().invoke(cli, ["synth", "Hi.", "--config", str(tmp_path / "c.toml")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["dry_run"] is True
