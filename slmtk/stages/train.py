"""Train a speech language model: a dataset folder -> a model folder that ``synth`` needs nothing else beside."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments, set_seed
from transformers.trainer_callback import ProgressCallback as TqdmCallback

from slmtk.config import to_jsonable, write_json
from slmtk.data.collate import collate
from slmtk.data.dataset import DatasetFolder, open_dataset
from slmtk.data.text_tokenizer import load_text_tokenizer, tokenizer_differences
from slmtk.data.training_set import TrainingSet
from slmtk.device import resolve_device
from slmtk.errors import ConfigError, FormatError
from slmtk.models.build import build_model
from slmtk.models.quiet import no_bars
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.trainer import LogCallback, ProgressCallback, SpeechTrainer
from slmtk.progress import Progress
from slmtk.stages.targets import write_targets

MODEL_INFO = "slmtk.json"
LOG_NAME = "train_log.jsonl"


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    base: str = "tiny"
    """"tiny", a local folder or a hub id of a causal language model."""
    base_revision: str | None = None
    """Revision of a hub id."""
    size: str = "s"
    """Preset of "tiny": xs, s, m or l."""
    layout: str = "grouped"
    """"grouped" (multi-token prediction) or "interleaved" (next-token prediction)."""
    frames_per_step: int = 4
    """Frames that one step predicts, in the grouped layout."""
    head: str = "linear"
    """"linear" or "mlp"."""
    fusion: str = "mean"
    """"mean" or "concat"."""
    speaker_aware: bool = True
    """Whether a reference's speaker vector conditions the model."""
    reference: str = "other"
    """Whose vector: "other" recordings of the same speaker, drawn anew in each epoch, or the utterance's "own"."""
    text_weight: float = 0.2
    """Of the text's cross-entropy in the loss."""
    speech_weight: float = 0.8
    """Of the mean over heads of the speech's cross-entropy in the loss."""
    steps: int = 0
    """Optimiser steps; 0 takes ``epochs``."""
    epochs: float = 3.0
    """Passes over the data, unless ``steps`` is given."""
    batch_size: int = 16
    """Utterances a batch, on each device."""
    accumulation: int = 1
    """Batches an optimiser step."""
    learning_rate: float = 5e-4
    """Highest learning rate of the schedule (AdamW)."""
    schedule: str = "cosine"
    """transformers' name of the schedule."""
    warmup: float = 0.03
    """Part of the steps over which the learning rate rises."""
    weight_decay: float = 0.0
    """Of AdamW."""
    beta2: float = 0.999
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    precision: str = "auto"
    """"fp32", "bf16", or "auto": bf16 on a GPU that has it."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    max_tokens: int = 32_768
    """Longer rows are refused, with their number."""
    eval_every: int = 0
    """Steps between two evaluations on the dev split; 0 for one at the end."""
    save_every: int = 500
    """Steps between two checkpoints."""
    log_every: int = 25
    """Steps between two lines of the log."""
    keep_checkpoints: int = 2
    """How many of the latest checkpoints stay on disk."""
    num_targets: int = 2
    """Training targets that are written as audio before the first step."""
    seed: int = 0
    """Of weights, order and dropout."""
    device: str = "auto"
    """cpu, cuda, cuda:N or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the dataset's codec, for the targets' audio."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a number out of range or an unknown name.
        """
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ConfigError(f"precision {self.precision!r} is unknown; expected fp32, bf16 or auto")
        if self.reference not in ("other", "own"):
            raise ConfigError(f"reference {self.reference!r} is unknown; expected other or own")
        for name in ("batch_size", "accumulation", "learning_rate", "save_every", "log_every", "keep_checkpoints"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be greater than 0")
        if self.steps <= 0 and self.epochs <= 0:
            raise ConfigError("train for steps or epochs greater than 0")

    def identity(self) -> dict[str, Any]:
        """Everything that a resumed run must have in common with the run it continues."""
        free = (
            "device",
            "log_every",
            "save_every",
            "keep_checkpoints",
            "eval_every",
            "num_targets",
            "codec_checkpoint",
        )
        return {key: value for key, value in to_jsonable(self).items() if key not in free}


@dataclass
class TrainReport:
    """What a training run came to."""

    model: str
    steps: int
    parameters: int
    train_rows: int
    dev_rows: int
    seconds: float
    resumed_from: int = 0
    final: dict[str, Any] = field(default_factory=dict)
    dev: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)


def train(source: Path, out: Path, config: TrainConfig, progress: Progress) -> TrainReport:
    """Train on the dataset folder ``source`` and save the model in ``out``; run again to resume.

    Raises:
        FormatError: ``source`` is no dataset, or ``out`` holds something else.
        ConfigError: the settings do not fit the dataset, or differ from those of the run in ``out``.
        TrainingStoppedError: the loss is no longer a number.
    """
    folder = open_dataset(source)
    device = resolve_device(config.device)
    identity = {"config": config.identity(), "dataset": folder.info["fingerprint"]}
    done = _previous_run(out, identity)
    if done is not None:
        progress.message(f"{out} holds the finished model of this very run; nothing to do")
        return TrainReport(**done["report"])
    _check_tokenizer(folder, config)
    set_seed(config.seed)
    model = _new_model(folder, config)
    train_set = _open_set(folder, "train", model, config)
    dev_set = _open_set(folder, "dev", model, config) if _has_dev(folder) else None
    _check_rows(train_set, config)
    if model.speaker is not None:
        _set_speaker_statistics(model, train_set)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MODEL_INFO, _info(folder, identity, None))
    targets = write_targets(
        train_set, folder, model.layout, out / "targets", config.num_targets, config.codec_checkpoint
    )
    for path in targets:
        progress.message(f"training target to listen to: {path}")
    report = _run(model, train_set, dev_set, folder, out, config, device, progress)
    report.targets = [str(path) for path in targets]
    _save(model, folder, out, identity, report)
    return report


def _open_set(folder: DatasetFolder, split: str, model: SpeechLM, config: TrainConfig) -> TrainingSet:
    return TrainingSet(
        folder,
        split,
        model.layout,
        speaker_aware=config.speaker_aware,
        reference=config.reference,
        seed=config.seed,
    )


def _new_model(folder: DatasetFolder, config: TrainConfig) -> SpeechLM:
    settings = {
        "layout": config.layout,
        "frames_per_step": config.frames_per_step if config.layout == "grouped" else 1,
        "head": config.head,
        "fusion": config.fusion,
        "speaker_dim": folder.spec.speaker_dim if config.speaker_aware else 0,
        "text_weight": config.text_weight,
        "speech_weight": config.speech_weight,
        "tasks": list(folder.tasks),
    }
    if config.speaker_aware and not folder.spec.speaker_dim:
        raise ConfigError(
            f"--speaker-aware needs speaker vectors and codec {folder.spec.name!r} has none; use --no-speaker-aware"
        )
    vocabulary = folder.vocabulary.to_dict()
    return build_model(settings, vocabulary, base=config.base, size=config.size, revision=config.base_revision)


def _check_tokenizer(folder: DatasetFolder, config: TrainConfig) -> None:
    """A pretrained backbone must read the dataset's text ids as it learnt them."""
    local = Path(config.base)
    # Of a folder without a tokenizer's files transformers would make an empty one; the base's size is checked later.
    if config.base == "tiny" or (local.is_dir() and not any(local.glob("*token*")) and not any(local.glob("vocab*"))):
        return
    differences = tokenizer_differences(folder.tokenizer, load_text_tokenizer(config.base))
    if differences:
        raise ConfigError(
            f"the dataset's text tokenizer {folder.tokenizer.name!r} is not that of --base {config.base!r} "
            f"({differences[0]}); build the dataset with `--tokenizer {config.base}`"
        )


def _previous_run(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What ``out`` says of a finished run of the same identity; None to (re)start."""
    if not out.exists() or not any(out.iterdir()):
        return None
    path = out / MODEL_INFO
    if not path.is_file():
        raise FormatError(f"{out} is not empty and holds no {MODEL_INFO}; name a new folder for the model")
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    before = info.get("identity", {})
    if before != identity:
        old = {"dataset": before.get("dataset"), **before.get("config", {})}
        new = {"dataset": identity["dataset"], **identity["config"]}
        changed = [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in new if old.get(key) != new.get(key)]
        raise ConfigError(
            f"{out} belongs to a run with other settings ({'; '.join(changed)}); use those or a new folder"
        )
    return info if info.get("report") else None


def _has_dev(folder: DatasetFolder) -> bool:
    return bool(folder.info["splits"].get("dev", {}).get("rows"))


def _check_rows(train_set: TrainingSet, config: TrainConfig) -> None:
    lengths = train_set.lengths()
    if not len(lengths):
        raise FormatError("the train split has no rows; look at the dataset's report of what its filters dropped")
    too_long = int((lengths > config.max_tokens).sum())
    if too_long:
        raise ConfigError(
            f"{too_long} of {len(lengths)} rows are longer than {config.max_tokens} positions (the longest has about "
            f"{int(lengths.max())}); build the dataset with a smaller --max-seconds or raise --max-tokens"
        )


def _set_speaker_statistics(model: SpeechLM, train_set: TrainingSet) -> None:
    picks = np.linspace(0, len(train_set) - 1, min(len(train_set), 2000)).astype(int)
    vectors = [train_set.rows[int(i)].speaker_vector for i in picks]
    known = (
        np.stack([vector for vector in vectors if vector is not None]) if any(v is not None for v in vectors) else None
    )
    if known is None or model.speaker is None:
        raise ConfigError("no row of the dataset has a speaker vector; train without --speaker-aware")
    model.speaker.mean.copy_(torch.from_numpy(known.mean(0)))
    model.speaker.scale.copy_(torch.from_numpy(np.maximum(known.std(0), 1e-3)))


def _arguments(out: Path, config: TrainConfig, device: str, dev_rows: int) -> TrainingArguments:
    bf16 = config.precision == "bf16" or (
        config.precision == "auto" and device.startswith("cuda") and torch.cuda.is_bf16_supported()
    )
    evaluate = bool(config.eval_every and dev_rows)
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        adam_beta2=config.beta2,
        max_grad_norm=config.max_grad_norm,
        num_train_epochs=config.epochs,
        max_steps=config.steps if config.steps > 0 else -1,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=config.eval_every if evaluate else None,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=config.keep_checkpoints,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        bf16=bf16,
        **({"gradient_checkpointing": True} if config.gradient_checkpointing else {}),
        seed=config.seed,
        data_seed=config.seed,
        use_cpu=device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=device != "cpu",
        disable_tqdm=True,
        report_to="none",
    )


def _run(
    model: SpeechLM,
    train_set: TrainingSet,
    dev_set: TrainingSet | None,
    folder: DatasetFolder,
    out: Path,
    config: TrainConfig,
    device: str,
    progress: Progress,
) -> TrainReport:
    pad = folder.tokenizer.eos_id
    layout = model.layout
    trainer = SpeechTrainer(
        model=model,
        train_set=train_set,
        eval_dataset=dev_set,
        data_seed=config.seed,
        frames_per_target=layout.num_heads / layout.num_codebooks,
        args=_arguments(out, config, device, len(dev_set) if dev_set is not None else 0),
        data_collator=lambda examples: collate(examples, pad),
    )
    trainer.remove_callback(TqdmCallback)
    checkpoint = last_checkpoint(out / "checkpoints")
    resumed = int(checkpoint.name.split("-")[1]) if checkpoint else 0
    if resumed:
        progress.message(f"resuming from step {resumed}")
    started = time.perf_counter()
    with no_bars(), progress.task("train", config.steps or None, "steps") as task:
        trainer.add_callback(ProgressCallback(task))
        trainer.add_callback(LogCallback(out / LOG_NAME))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    dev: dict[str, Any] = {}
    if dev_set is not None:
        trainer.evaluate()
        dev = {k.removeprefix("eval_"): v for k, v in trainer.state.log_history[-1].items() if k.startswith("eval_")}
    losses = [entry for entry in trainer.state.log_history if "speech_loss" in entry]
    return TrainReport(
        model=str(out),
        steps=trainer.state.global_step,
        parameters=sum(p.numel() for p in model.parameters()),
        train_rows=len(train_set),
        dev_rows=0 if dev_set is None else len(dev_set),
        seconds=round(time.perf_counter() - started, 2),
        resumed_from=resumed,
        final=losses[-1] if losses else {},
        dev=dev,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that was written to its end; one that a kill cut short is passed over."""
    needed = ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
    whole = [path for path in folder.glob("checkpoint-*") if all((path / name).is_file() for name in needed)]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _info(folder: DatasetFolder, identity: dict[str, Any], report: TrainReport | None) -> dict[str, Any]:
    return {
        "format": 1,
        "kind": "model",
        "codec": folder.spec.to_dict(),
        "vocabulary": folder.vocabulary.to_dict(),
        "tasks": list(folder.tasks),
        "identity": identity,
        "report": to_jsonable(report) if report else None,
    }


def _save(model: SpeechLM, folder: DatasetFolder, out: Path, identity: dict[str, Any], report: TrainReport) -> None:
    with no_bars():
        model.save_pretrained(out)
    folder.tokenizer.save(out / "tokenizer")
    write_json(out / MODEL_INFO, _info(folder, identity, report))
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
