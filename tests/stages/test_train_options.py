"""Options of a run beyond the architecture: packing, weights of tasks, LoRA, trackers, stops, the hub, plans."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from functools import partial

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config

from slmtk.data.filters import FilterConfig
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.errors import ConfigError, MissingDependencyError, SlmtkError
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.watch import TrainingStoppedError
from slmtk.progress import SilentProgress
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from slmtk.stages.train import arguments as train_arguments
from slmtk.stages.train import checks as train_checks
from slmtk.stages.train import train
from slmtk.stages.train.config import TrainConfig
from slmtk.stages.train.plan import plan_training
from slmtk.stages.train.ranks import said_once
from tests.helpers.tiny_run import TINY, make_dataset

SILENT = SilentProgress()
QUICK = replace(TINY, steps=2, num_targets=0, log_every=1)


needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs the extra slmtk[peft]")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def backbone(dataset, tmp_path_factory):
    """A causal language model that reads the dataset's text ids; its embeddings are tied."""
    torch.manual_seed(1)
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = Qwen2Config(vocab_size=259, num_key_value_heads=2, tie_word_embeddings=True, **settings)
    folder = tmp_path_factory.mktemp("base")
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def log_of(model):
    return [json.loads(line) for line in (model / "train_log.jsonl").read_text().splitlines()]


def test_packed_rows_train_and_the_dev_loss_is_that_of_padded_ones(dataset, tmp_path):
    config = replace(QUICK, batch_size=2, pack_tokens=200, steps=4)
    report = train(dataset, tmp_path / "packed", config, SILENT)
    assert report.steps == 4
    assert all(math.isfinite(line["loss"]) for line in log_of(tmp_path / "packed") if "loss" in line)
    with pytest.raises(ConfigError, match="longer than the 20 positions of --pack-tokens"):
        train(dataset, tmp_path / "short", replace(config, pack_tokens=20), SILENT)
    assert not (tmp_path / "short").exists()


def test_a_step_of_packed_rows_is_the_step_of_the_same_utterances_padded(dataset, tmp_path):
    """All 19 or so rows in one step: then both ways have the same loss, and the same weights after it."""
    rows = plan_rows(dataset)
    padded = replace(QUICK, steps=1, batch_size=rows)
    train(dataset, tmp_path / "padded", padded, SILENT)
    packed = replace(QUICK, steps=1, batch_size=1, pack_tokens=2048)
    train(dataset, tmp_path / "packed", packed, SILENT)
    one, other = (next(line for line in log_of(tmp_path / name) if "loss" in line) for name in ("padded", "packed"))
    assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


def plan_rows(dataset):
    return json.loads((dataset / "slmtk.json").read_text())["splits"]["train"]["rows"]


def test_a_weight_of_a_task_that_is_not_there_is_refused_and_a_half_halves_the_epoch(dataset, tmp_path):
    with pytest.raises(ConfigError, match="asr"):
        train(dataset, tmp_path / "model", replace(QUICK, task_weights="asr=2"), SILENT)
    with pytest.raises(ConfigError, match="expected task=weight"):
        TrainConfig(task_weights="tts")
    rows = plan_rows(dataset)
    for weight, expected in ((0.5, math.ceil(round(rows / 2) / 4)), (2, math.ceil(2 * rows / 4))):
        config = replace(QUICK, steps=0, epochs=1.0, task_weights=f"tts={weight}")
        assert train(dataset, tmp_path / f"w{weight}", config, SILENT).steps == expected


def test_two_tasks_train_together_padded_and_packed_and_either_can_be_left_out(dataset, tmp_path):
    config = BuildDatasetConfig(tasks=("tts", "asr"), filters=FilterConfig(min_seconds=0.0))
    build_dataset([dataset.parent / "codes"], tmp_path / "both", config, SILENT)
    for name, values in (("padded", {}), ("packed", {"batch_size": 2, "pack_tokens": 200})):
        train(tmp_path / "both", tmp_path / name, replace(QUICK, **values), SILENT)
        assert json.loads((tmp_path / name / "slmtk.json").read_text())["tasks"] == ["asr", "tts"]
    # Without reading aloud no step of speech is a target.
    report = train(tmp_path / "both", tmp_path / "asr", replace(QUICK, task_weights="tts=0"), SILENT)
    assert report.final["speech_loss"] == 0
    assert report.final["loss"] == pytest.approx(0.2 * report.final["text_loss"])


@needs_peft
def test_lora_trains_few_weights_saves_its_adapter_and_leaves_a_merged_tied_model(dataset, backbone, tmp_path):
    config = replace(QUICK, base=str(backbone), steps=4, lora_rank=2, learning_rate=1e-2)
    report = train(dataset, tmp_path / "model", config, SILENT)
    names = {path.name for path in (tmp_path / "model" / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "speech_parts.safetensors"} <= names
    model = SpeechLM.from_pretrained(tmp_path / "model")
    assert model.backbone.lm_head.weight is model.backbone.model.embed_tokens.weight
    assert report.parameters == sum(p.numel() for p in model.parameters())
    assert report.trained_parameters < report.parameters
    old = load_file(backbone / "model.safetensors")
    table = model.backbone.model.embed_tokens.weight
    assert torch.equal(table[:259], old["model.embed_tokens.weight"])
    query = "layers.0.self_attn.q_proj.weight"
    assert not torch.equal(model.state_dict()[f"backbone.model.{query}"], old[f"model.{query}"])


@needs_peft
def test_an_interrupted_lora_run_goes_on_to_the_same_weights(dataset, backbone, tmp_path, monkeypatch):
    from transformers import TrainerCallback

    from slmtk.models.trainer import SpeechTrainer

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 3:
                raise KeyboardInterrupt

    config = replace(QUICK, base=str(backbone), steps=4, lora_rank=2)
    train(dataset, tmp_path / "whole", config, SILENT)
    make = SpeechTrainer.__init__
    with monkeypatch.context() as patch:
        patch.setattr(
            SpeechTrainer, "__init__", lambda self, **given: (make(self, **given), self.add_callback(Stop()))[0]
        )
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "cut", config, SILENT)
    checkpoint = load_file(tmp_path / "cut" / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert not any("q_proj.base_layer" in key for key in checkpoint)  # the frozen backbone is not copied
    assert train(dataset, tmp_path / "cut", config, SILENT).resumed_from == 2
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_a_loss_that_is_no_number_is_told_with_step_utterances_and_last_good_checkpoint(dataset, tmp_path, monkeypatch):
    from slmtk.models import trainer

    count, batches = trainer.SpeechTrainer.compute_loss, []

    def broken(self, model, inputs, *rest, **named):
        loss = count(self, model, inputs, *rest, **named)
        batches.append(1)
        if len(batches) == 7:
            self._watch.add_loss(torch.tensor(math.nan))
        return loss

    monkeypatch.setattr(trainer.SpeechTrainer, "compute_loss", broken)
    config = replace(QUICK, steps=8, log_every=9, save_every=4)
    with pytest.raises(
        TrainingStoppedError, match=r"the loss is nan at step 7; its batch: u\d+, u\d+, u\d+, u\d+; "
    ) as stop:
        train(dataset, tmp_path / "model", config, SILENT)
    assert str(tmp_path / "model" / "checkpoints" / "checkpoint-4") in str(stop.value)
    assert not (tmp_path / "model" / "checkpoints" / "checkpoint-8").exists()  # was due, after the bad step
    assert load_text_tokenizer(str(tmp_path / "model" / "tokenizer"))  # `--base` can go on from that checkpoint
    going_on = TrainConfig(base=str(tmp_path / "model/checkpoints/checkpoint-4"), steps=1, num_targets=0, device="cpu")
    monkeypatch.undo()
    assert train(dataset, tmp_path / "second", going_on, SILENT).steps == 1


def test_early_stopping_ends_the_run_and_the_folder_gets_the_best_model(dataset, tmp_path):
    # With such a rate the dev loss rises soon after it has fallen.
    config = replace(
        TINY,
        steps=60,
        num_targets=0,
        learning_rate=0.03,
        eval_every=3,
        early_stopping=2,
        keep_checkpoints=1,
        log_every=3,
    )
    report = train(dataset, tmp_path / "model", config, SILENT)
    losses = {line["step"]: line["eval_loss"] for line in log_of(tmp_path / "model") if "eval_loss" in line}
    assert report.steps < 60
    assert report.best_step == min(losses, key=losses.get) == report.steps - 6
    assert report.dev["loss"] == pytest.approx(losses[report.best_step], abs=1e-6)
    with pytest.raises(ConfigError, match="eval_every"):
        replace(config, eval_every=0)


def test_tensorboard_gets_every_heads_loss(dataset, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(dataset, tmp_path / "model", replace(QUICK, report_to="tensorboard"), SILENT)
    events = EventAccumulator(str(tmp_path / "model" / "tensorboard")).Reload()
    logged = [line["head_loss"][1] for line in log_of(tmp_path / "model") if "head_loss" in line]
    assert [event.value for event in events.Scalars("train/head_loss_1")] == pytest.approx(logged)


def test_a_tracker_that_is_not_installed_is_refused_with_the_command(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(train_checks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"wandb is not installed; run: pip install 'slmtk\[track\]'"):
        train(dataset, tmp_path / "model", replace(QUICK, report_to="wandb"), SILENT)


@pytest.mark.parametrize("values", [{"gradient_checkpointing": True}, {"precision": "bf16"}, {"attention": "eager"}])
def test_ways_of_computing_change_the_loss_only_by_rounding(dataset, tmp_path, values):
    losses = []
    for name, config in (("plain", QUICK), ("other", replace(QUICK, **values))):
        train(dataset, tmp_path / name, config, SILENT)
        losses.append([line["loss"] for line in log_of(tmp_path / name) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=2e-2 if "precision" in values else 1e-5)


@pytest.mark.slow
def test_a_compiled_model_trains_to_the_same_loss_and_is_saved_under_plain_names(dataset, tmp_path, monkeypatch):
    # Traced, but run without generated code: to compile that takes minutes.
    make = partial(train_arguments.TrainingArguments, torch_compile_backend="eager")
    train(dataset, tmp_path / "plain", replace(QUICK, steps=1), SILENT)
    monkeypatch.setattr(train_arguments, "TrainingArguments", make)
    train(dataset, tmp_path / "compiled", replace(QUICK, steps=1, compile=True), SILENT)
    one, other = (log_of(tmp_path / name)[0]["loss"] for name in ("plain", "compiled"))
    assert one == pytest.approx(other, rel=1e-5)
    plain, compiled = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()


def test_sharding_is_refused_where_the_library_would_quietly_not_shard(dataset, tmp_path):
    with pytest.raises(ConfigError, match="does not shard on a CPU"):
        train(dataset, tmp_path / "model", replace(QUICK, fsdp="full_shard"), SILENT)
    with pytest.raises(ConfigError, match="expected one of full_shard, shard_grad_op"):
        replace(QUICK, fsdp="half")


def test_what_all_processes_refuse_is_said_by_the_first(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="greater than 0"), said_once():
        TrainConfig(batch_size=0)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as end, said_once():
        TrainConfig(batch_size=0)
    assert end.value.code == 0
    with pytest.raises(ConfigError), said_once(TrainingStoppedError):  # another kind is this process's own trouble
        TrainConfig(batch_size=0)


class StandIn:
    """Takes the place of the hub's client."""

    calls: list = []  # noqa: RUF012
    broken = False

    def create_repo(self, **given):
        if self.broken:
            raise ConnectionError("no route\nto host")
        self.calls.append(("create_repo", given))
        return f"https://hub/{given['repo_id']}"

    def upload_folder(self, **given):
        self.calls.append(("upload_folder", given))

    def upload_file(self, **given):
        self.calls.append(("upload_file", given))


def test_the_finished_model_is_pushed_and_a_failed_push_is_done_again_without_training(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", StandIn)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    config = replace(QUICK, push_to_hub="ann/tones", private=True)
    with pytest.raises(ConfigError, match="needs a token"):
        train(dataset, tmp_path / "model", config, SILENT)
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "t")
    monkeypatch.setattr(StandIn, "broken", True)
    with pytest.raises(SlmtkError, match="no route to host; the model is whole in"):
        train(dataset, tmp_path / "model", config, SILENT)
    monkeypatch.setattr(StandIn, "broken", False)
    written = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    report = train(dataset, tmp_path / "model", config, SILENT)
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == written
    assert report.pushed_to == "https://hub/ann/tones"
    (_, made), (_, folder), (name, index) = StandIn.calls
    assert made == {"repo_id": "ann/tones", "repo_type": "model", "private": True, "exist_ok": True}
    assert {"config.json", "*.safetensors", "tokenizer/*", "README.md"} <= set(folder["allow_patterns"])
    assert (name, index["path_in_repo"]) == ("upload_file", "slmtk.json")
    assert str(tmp_path) not in index["path_or_fileobj"].decode()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "hf download ann/tones" in card
    assert str(tmp_path) not in card


def test_a_plan_counts_what_training_then_does_and_writes_nothing(dataset, tmp_path):
    config = replace(QUICK, steps=0, epochs=2.0, batch_size=2, accumulation=2)
    plan = plan_training(dataset, tmp_path / "model", config)
    assert not (tmp_path / "model").exists()
    report = train(dataset, tmp_path / "model", config, SILENT)
    text = " | ".join(plan.would_do)
    assert f"train {report.steps:,} steps of 4 utterances" in text
    assert f"parameters: {report.parameters:,}" in text
    assert f"{report.train_rows:,} rows of tts" in plan.would_read[0]
    assert plan_training(dataset, tmp_path / "model", config).would_do[0].startswith("nothing: ")


def test_a_plan_fetches_nothing_and_checks_what_is_here(dataset, backbone, tmp_path):
    hub = plan_training(dataset, tmp_path / "model", replace(QUICK, base="Qwen/Qwen2.5-0.5B"))
    assert "of the Hugging Face hub: would be fetched" in hub.would_read[1]
    assert "known once the base is fetched" in " ".join(hub.would_do)
    local = plan_training(dataset, tmp_path / "model", replace(QUICK, base=str(backbone)))
    # 1 layer of width 32, 345 rows (259 of text, 4 + 64 + 16 + 2), heads of 65, 17, 66 and 18 rows, the projection
    layer = 4 * 32 * 32 + 3 * 32 + 3 * 32 * 48 + 2 * 32
    projection = 1024 * 2 + 32 * 1024 + 32
    assert f"parameters: {layer + 32 + 345 * 32 + 166 * 33 + projection:,}" in local.would_do
    absent = plan_training(tmp_path / "nowhere", tmp_path / "model", QUICK)
    assert "not there yet" in absent.would_read[0]
    with pytest.raises(ConfigError, match="longer than 20 positions"):
        plan_training(dataset, tmp_path / "model", replace(QUICK, max_tokens=20))


def test_noise_on_speaker_vectors_needs_speaker_vectors(dataset, tmp_path):
    config = replace(QUICK, speaker_aware=False, speaker_noise=1.0)
    with pytest.raises(ConfigError, match="speaker_noise is for the vectors of a speaker-aware model"):
        train(dataset, tmp_path / "model", config, SILENT)


def test_noise_on_speaker_vectors_changes_what_is_learned(dataset, tmp_path):
    for noise in (0.0, 1.0):
        train(dataset, tmp_path / str(noise), replace(QUICK, speaker_aware=True, speaker_noise=noise), SILENT)
    clean, noisy = (load_file(tmp_path / name / "model.safetensors") for name in ("0.0", "1.0"))
    assert not torch.equal(clean["speaker.fc1.weight"], noisy["speaker.fc1.weight"])
