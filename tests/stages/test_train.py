import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config, TrainerCallback

from slmtk import audio
from slmtk.data.bpe import train_bpe
from slmtk.data.filters import FilterConfig
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError
from slmtk.models import trainer as trainer_module
from slmtk.models.build import build_model
from slmtk.models.speaker import Synthesizer
from slmtk.progress import SilentProgress
from slmtk.stages import train as stage
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, make_dataset, use_voiced_tone
from tests.helpers.tone import VoicedToneCodec

SILENT = SilentProgress()
ANY = FilterConfig(min_seconds=0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("tones"))


@pytest.fixture(autouse=True)
def voiced_tone(monkeypatch):
    use_voiced_tone(monkeypatch)


def log_of(model):
    return [json.loads(line) for line in (model / "train_log.jsonl").read_text().splitlines()]


def test_a_run_logs_every_heads_loss_and_leaves_a_model_that_loads(dataset, tmp_path):
    report = train(dataset, tmp_path / "model", TINY, SILENT)
    assert report.steps == 6
    lines = [line for line in log_of(tmp_path / "model") if "head_loss" in line]
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        assert len(line["head_loss"]) == len(line["head_top1"]) == 4
        expected = 0.2 * line["text_loss"] + 0.8 * sum(line["head_loss"]) / 4
        assert line["loss"] == pytest.approx(expected, abs=1e-4)
        assert line["frames_per_second"] > 0
    assert lines[0]["head_loss"][0] == pytest.approx(math.log(65), abs=0.8)  # a random start knows nothing
    assert report.dev["speech_loss"] > 0
    assert not (tmp_path / "model" / "checkpoints").exists()
    loaded = Synthesizer.load(tmp_path / "model")
    assert loaded.speaker_aware
    assert loaded.tasks == ("tts",)
    vectors = [row.speaker_vector for row in stage.open_dataset(dataset).rows("train")]
    assert loaded.model.speaker.mean.item() == pytest.approx(sum(float(v[0]) for v in vectors) / len(vectors), abs=1e-5)


def test_targets_are_written_before_the_first_step_and_sound_like_their_codes(dataset, tmp_path, monkeypatch):
    def no_training(*_, **__):
        raise RuntimeError("stopped")

    monkeypatch.setattr(stage, "run", no_training)
    with pytest.raises(RuntimeError, match="stopped"):
        train(dataset, tmp_path / "model", TINY, SILENT)
    files = sorted((tmp_path / "model" / "targets").glob("*.wav"))
    assert len(files) == 2
    rows = {row.id: row for row in stage.open_dataset(dataset).rows("train")}
    for file in files:
        wav, _ = audio.read(file)
        row = rows[file.stem]
        codes = VoicedToneCodec.create().encode(wav[None]).codes[0]
        assert torch.equal(codes[0], torch.from_numpy(row.codes[0].copy()))  # the level moves with the speaker's


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [3, 4])
def test_a_run_that_was_cut_and_resumed_ends_with_the_same_weights_bit_by_bit(dataset, tmp_path, monkeypatch, step):
    train(dataset, tmp_path / "whole", TINY, SILENT)
    make = trainer_module.SpeechTrainer.__init__

    def with_stop(self, **arguments):
        make(self, **arguments)
        self.add_callback(StopAt(step))

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.SpeechTrainer, "__init__", with_stop)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "cut", TINY, SILENT)
    report = train(dataset, tmp_path / "cut", TINY, SILENT)
    assert report.resumed_from == 2
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for key in whole:
        assert torch.equal(whole[key], cut[key]), key
    assert [line["step"] for line in log_of(tmp_path / "cut") if "head_loss" in line] == [2, 4, 6]
    for one, other in zip(log_of(tmp_path / "whole"), log_of(tmp_path / "cut"), strict=True):
        assert one.get("head_loss") == other.get("head_loss")


def test_a_finished_run_is_not_done_again_and_other_settings_are_refused(dataset, tmp_path):
    config = replace(TINY, steps=2)
    first = train(dataset, tmp_path / "model", config, SILENT)
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert train(dataset, tmp_path / "model", config, SILENT).seconds == first.seconds
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.0005 -> 0\.01"):
        train(dataset, tmp_path / "model", replace(config, learning_rate=0.01), SILENT)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(FormatError, match="not empty"):
        train(dataset, tmp_path / "photos", config, SILENT)


@pytest.mark.parametrize(("layout", "g", "heads"), [("interleaved", 4, 1), ("grouped", 1, 2), ("grouped", 3, 6)])
def test_one_dataset_trains_every_layout(dataset, tmp_path, layout, g, heads):
    config = replace(TINY, steps=2, layout=layout, frames_per_step=g, num_targets=1)
    report = train(dataset, tmp_path / "model", config, SILENT)
    assert len(report.final["head_loss"]) == heads


def test_training_lowers_the_loss(dataset, tmp_path):
    config = replace(TINY, steps=60, learning_rate=3e-3, batch_size=8, log_every=20, num_targets=0)
    train(dataset, tmp_path / "model", config, SILENT)
    pitch = [line["head_loss"][0] for line in log_of(tmp_path / "model") if "head_loss" in line]
    assert pitch[-1] < 0.7 * pitch[0]  # the text says the pitch; the level is random


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(dataset, tmp_path):
    config = replace(TINY, steps=4, learning_rate=1e12, max_grad_norm=1e12, num_targets=0, log_every=1)
    with pytest.raises(trainer_module.TrainingStoppedError, match="at step"):
        train(dataset, tmp_path / "model", config, SILENT)


def test_rows_longer_than_the_limit_are_counted_and_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"of \d+ rows are longer than 20 positions"):
        train(dataset, tmp_path / "model", replace(TINY, max_tokens=20), SILENT)


def test_a_pretrained_backbone_keeps_its_weights_and_grows_by_the_codes(tmp_path):
    torch.manual_seed(1)
    settings = Qwen2Config(
        vocab_size=270,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    for tied in (True, False):
        settings.tie_word_embeddings = tied
        base = AutoModelForCausalLM.from_config(settings)
        base.save_pretrained(tmp_path / str(tied))
        vocabulary = Vocabulary(259, VoicedToneCodec.spec)
        model = build_model({"frames_per_step": 2}, vocabulary.to_dict(), base=str(tmp_path / str(tied)), size="s")
        old, new = base.state_dict(), model.backbone.state_dict()
        for key, value in old.items():
            if "embed_tokens" in key or "lm_head" in key:
                assert new[key].shape[0] == vocabulary.size
                assert torch.equal(new[key][:259], value[:259]), key
            else:
                assert torch.equal(new[key], value), key
        shared = model.backbone.lm_head.weight is model.backbone.model.embed_tokens.weight
        assert shared == tied
        model.save_pretrained(tmp_path / f"out-{tied}")
        again = type(model).from_pretrained(tmp_path / f"out-{tied}")
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value), key


def test_a_pretrained_base_is_trained_with_its_own_tokenizer_and_with_no_other(dataset, tmp_path):
    texts = ["Low high", "Rising falling"] * 10
    own, other = train_bpe(texts, 300), train_bpe(["Quite different words"] * 10, 300)
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=320, num_key_value_heads=2, **settings)).save_pretrained(
        base
    )
    own.save(base)
    config = replace(TINY, base=str(base), steps=2)
    with pytest.raises(ConfigError, match=r"'bytes' is not that of --base .* \(ids: 259, 300"):
        train(dataset, tmp_path / "refused", config, SILENT)
    other.save(tmp_path / "other")
    sources = [dataset.parent / "codes"]
    for name, tokenizer in (("own", base), ("wrong", tmp_path / "other")):
        build_dataset(sources, tmp_path / name, BuildDatasetConfig(tokenizer=str(tokenizer), filters=ANY), SILENT)
    with pytest.raises(ConfigError, match="build the dataset with `--tokenizer"):
        train(tmp_path / "wrong", tmp_path / "refused", config, SILENT)
    train(tmp_path / "own", tmp_path / "model", config, SILENT)
    loaded = Synthesizer.load(tmp_path / "model")
    assert loaded.model.get_input_embeddings().num_embeddings == own.vocab_size + 4 + 64 + 16 + 2


def test_a_base_that_knows_fewer_tokens_than_the_dataset_is_refused(dataset, tmp_path):
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    base = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=100, num_key_value_heads=2, **settings))
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(ConfigError, match="knows 100 tokens, the dataset's text tokenizer has 259"):
        train(dataset, tmp_path / "model", replace(TINY, base=str(tmp_path / "base")), SILENT)


def test_a_base_that_is_no_model_is_one_clear_line(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="no causal language model could be loaded"):
        train(dataset, tmp_path / "model", replace(TINY, base=str(tmp_path / "empty")), SILENT)
