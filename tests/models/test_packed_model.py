"""A trained model in a quarter of its bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from slmtk import audio
from slmtk.errors import ConfigError, FormatError
from slmtk.models.loading import PACKED_WEIGHTS, load_model
from slmtk.models.own_voices import OwnVoices, own_place, read_voices
from slmtk.models.packed import main, make_voices, pack
from slmtk.models.sampling import Sampling
from slmtk.models.speaker import Synthesizer
from slmtk.models.voices import Voice
from slmtk.progress import SilentProgress
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, WORDS, make_dataset, use_voiced_tone

VOICES = OwnVoices(
    {"low": Voice("low", None, torch.tensor([0.2])), "loud": Voice("loud", None, torch.tensor([0.4]))}, "low"
)


@pytest.fixture(autouse=True)
def voiced_tone(monkeypatch):
    use_voiced_tone(monkeypatch)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that has learnt to say the word it is given, in the reference's voice."""
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        use_voiced_tone(patch)
        steps = {"steps": 100, "save_every": 1000, "log_every": 50}
        config = replace(TINY, batch_size=8, learning_rate=4e-3, num_targets=0, **steps)
        train(make_dataset(folder, 48), folder / "model", config, SilentProgress())
    return folder / "model"


@pytest.fixture
def packed(model, tmp_path) -> Path:
    pack(model, tmp_path / "packed", voices=VOICES, piece_seconds=10)
    return tmp_path / "packed"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_packed_model_is_a_quarter_as_large_and_computes_nearly_the_same(model, tmp_path):
    report = pack(model, tmp_path / "packed")
    before, after = load_model(model).state_dict(), load_model(tmp_path / "packed").state_dict()
    assert before.keys() == after.keys()
    assert report.parameters == sum(value.numel() for value in load_file(model / "model.safetensors").values())
    size = sum(len(content) for content in files(tmp_path / "packed").values())
    assert report.bytes == size < 0.28 * (model / "model.safetensors").stat().st_size
    for name, value in before.items():
        off = (after[name] - value).flatten(max(0, min(1, value.ndim - 1))).abs()
        largest = value.flatten(max(0, min(1, value.ndim - 1))).abs()
        if value.ndim > 1:
            assert (off.amax(1) <= largest.amax(1) / 253).all(), name
        else:
            assert off.max() <= largest.max() / 1000, name
    assert 0.001 < report.relative_error < report.worst_relative_error < 0.02
    assert report.worst_matrix in before


@torch.inference_mode()
def test_scores_stay_within_two_hundredths_of_their_spread(model, packed):
    ids = torch.arange(40)[None, :, None].expand(1, 40, 4) * 7
    states = []
    for folder in (model, packed):
        loaded = load_model(folder)
        hidden = loaded.hidden(loaded.embed(ids)).last_hidden_state[0]
        states.append((loaded.text_scores(hidden), loaded.head_scores(0, hidden)))
    for before, after in zip(*states, strict=True):
        assert (after - before).abs().max() < 0.1 * before.std()
        assert (after - before).square().mean().sqrt() < 0.02 * before.std()


def test_it_says_the_same(model, packed):
    texts = [*WORDS, "low", "high"]
    spoken = []
    for folder in (model, packed):
        synthesizer = Synthesizer.load(folder)
        voice = Voice("x", None, torch.tensor([0.3]))
        spoken.append(synthesizer.speak(texts, [voice] * len(texts), Sampling(max_seconds=1.0), batch_size=6))
    same = [np.array_equal(before.codes[0], after.codes[0]) for before, after in zip(*spoken, strict=True)]
    assert sum(same) >= 5
    assert np.median(spoken[1][0].codes[0]) == 5  # what "low" and "high" were taught to be
    assert np.median(spoken[1][1].codes[0]) == 40


def test_packing_again_gives_the_same_bytes(model, packed, tmp_path):
    before = files(packed)
    assert set(before) == {
        "config.json",
        "slmtk.json",
        "packed.safetensors",
        "voices.safetensors",
        "tokenizer/slmtk_tokenizer.json",
    }
    pack(model, packed, voices=VOICES, piece_seconds=10)  # over itself
    pack(model, tmp_path / "other", voices=VOICES, piece_seconds=10)
    assert files(packed) == files(tmp_path / "other") == before


def test_nothing_of_the_machine_that_trained_it_is_in_it(packed, tmp_path):
    info = json.loads((packed / "slmtk.json").read_text())
    assert set(info) == {"kind", "format", "codec", "vocabulary", "speaker", "tasks", "piece_seconds", "packed"}
    assert not any(str(tmp_path.parent).encode() in content for content in files(packed).values())


def test_it_carries_its_voices(packed):
    synthesizer = Synthesizer.load(packed)
    assert list(synthesizer.own_voices.voices) == ["low", "loud"]
    voice = synthesizer.voice(own_place("loud"))
    assert (voice.id, voice.path) == ("loud", None)
    assert voice.speaker.item() == pytest.approx(0.4)
    with pytest.raises(ConfigError, match="no voice 'amy' of its own"):
        synthesizer.voice(own_place("amy"))


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "config", "info"])
def test_a_damaged_folder_is_refused_in_one_line(packed, damage):
    weights = packed / PACKED_WEIGHTS
    content = bytearray(weights.read_bytes())
    if damage == "cut":
        weights.write_bytes(content[:-100])
    elif damage == "flip":
        content[-1000] ^= 1
        weights.write_bytes(content)
    elif damage == "gone":
        weights.unlink()
    elif damage == "config":
        config = json.loads((packed / "config.json").read_text())
        config["backbone"]["hidden_size"] = 64
        (packed / "config.json").write_text(json.dumps(config))
    else:
        (packed / "slmtk.json").write_text("{}"[:1])
    with pytest.raises(FormatError, match=str(packed)) as caught:
        Synthesizer.load(packed)
    assert "\n" not in str(caught.value)


def test_a_later_format_is_named(packed):
    info = json.loads((packed / "slmtk.json").read_text())
    info["packed"]["format"] = 2
    (packed / "slmtk.json").write_text(json.dumps(info))
    with pytest.raises(FormatError, match="reads packed models of format 1"):
        load_model(packed)


def test_a_trained_folder_that_is_damaged_is_refused_in_one_line(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match="cannot be loaded") as caught:
        load_model(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_what_is_no_trained_model_is_not_packed(model, packed, tmp_path):
    with pytest.raises(FormatError, match="packed already"):
        pack(packed, tmp_path / "again")
    with pytest.raises(FormatError, match="holds no finished model"):
        pack(tmp_path, tmp_path / "again")
    with pytest.raises(FormatError, match="something else than a packed model"):
        pack(model, model)
    with pytest.raises(ConfigError, match="--piece-seconds 0"):
        pack(model, tmp_path / "again", piece_seconds=0)
    assert not (tmp_path / "again").exists()


def test_the_command_makes_voices_of_recordings(model, tmp_path):
    tone = torch.sin(torch.arange(16_000) * (2 * torch.pi * 600 / 16_000))
    for name, level in (("ann", 0.5), ("bob", 0.25)):
        audio.write(tmp_path / f"{name}.wav", level * tone, 16_000)
    voices = [f"--voice={name}={tmp_path / name}.wav" for name in ("bob", "ann")]
    done = CliRunner().invoke(main, [str(model), str(tmp_path / "out"), *voices])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["voices"] == ["bob", "ann"]
    found = read_voices(tmp_path / "out")
    assert found.default == "bob"
    assert found.get("ann").speaker.item() == pytest.approx(0.5, abs=1e-3)
    assert make_voices(model, {"ann": tmp_path / "ann.wav", "bob": tmp_path / "bob.wav"}, "bob").default == "bob"


def test_the_commands_mistakes_are_one_line(model, tmp_path):
    for voice, message in (("ann", "expected NAME=REFERENCE"), (f"ann={tmp_path}/gone.wav", "is not there")):
        done = CliRunner().invoke(main, [str(model), str(tmp_path / "out"), "--voice", voice])
        assert done.exit_code > 0
        assert message in done.stderr
        assert "Traceback" not in done.output


def test_its_own_way_to_choose_codes_holds_unless_another_is_asked_for(model, tmp_path):
    options = ["--choose", "mean", "--temperature", "0.5"]
    done = CliRunner().invoke(main, [str(model), str(tmp_path / "own"), *options])
    assert done.exit_code == 0, done.output
    assert (
        json.loads((tmp_path / "own" / "slmtk.json").read_text())["sampling"]
        == Sampling(choose="mean", temperature=0.5).own()
    )
    synthesizer = Synthesizer.load(tmp_path / "own")
    voice = Voice("v", None, torch.tensor([0.3]))
    with pytest.raises(ConfigError, match="needs a codec that knows which of its codes sound alike"):
        synthesizer.speak(["low"], [voice], Sampling(max_seconds=1.0), batch_size=1)
    asked = synthesizer.request("tts", "low", voice, Sampling(max_seconds=1.0, choose="draw"))
    assert asked.sampling.choose == "draw"
    assert len(synthesizer.speak(["low"], [voice], asked.sampling, batch_size=1)) == 1
    done = CliRunner().invoke(main, [str(model), str(tmp_path / "bad"), "--choose", "mean"])
    assert done.exit_code == 1
    assert "--choose mean needs a --temperature above 0" in done.output
