"""What a training run would be, found out offline and without writing anything."""

from __future__ import annotations

import math
from pathlib import Path

from slmtk.corpus.hub import looks_like_hub_id
from slmtk.data.dataset import DatasetFolder
from slmtk.data.training_set import TrainingSet
from slmtk.stages.dry_run import ABSENT, Plan
from slmtk.stages.train import open_run, open_set
from slmtk.stages.train.base import Base
from slmtk.stages.train.checks import check_base, check_rows, previous_run
from slmtk.stages.train.config import TrainConfig
from slmtk.stages.train.model import count_parameters
from slmtk.stages.train.steps import make_batches


def plan_training(source: Path, out: Path, config: TrainConfig, processes: int = 1) -> Plan:
    """Check all that can be checked here, and say what would be trained.

    Args:
        source: dataset folder; it need not be there yet.
        out: of the model.
        config: settings.
        processes: that would train together.

    Raises:
        SlmtkError: as `slmtk.stages.train.train`, except for what only a base's weights would tell.
    """
    if not source.exists():
        return Plan((f"dataset: {source} ({ABSENT})", _base_line(config, None)), (_settings_line(config),), str(out))
    folder, base, config = open_run(source, config)
    identity = {"config": config.identity(), "dataset": folder.info["fingerprint"], "processes": processes}
    done = previous_run(out, folder, identity)
    if base.kind != "hub":
        check_base(folder, config, base)
    train_set = open_set(folder, "train", config)
    check_rows(train_set, config)
    read = (f"dataset: {source} ({len(train_set):,} rows of {', '.join(folder.tasks)})", _base_line(config, base))
    if done:
        return Plan(read, (f"nothing: {out} holds the finished model of this very run",), str(out))
    return Plan(read, _work(folder, train_set, config, base, processes), str(out))


def _work(
    folder: DatasetFolder, train_set: TrainingSet, config: TrainConfig, base: Base, processes: int
) -> tuple[str, ...]:
    batches = make_batches(train_set, config, processes, pad_id=0)
    items = len(batches.sampler)  # type: ignore[arg-type]
    per_step = config.batch_size * config.accumulation * processes
    in_epoch = math.ceil(math.ceil(items / (config.batch_size * processes)) / config.accumulation)
    steps = config.steps or math.ceil(config.epochs * in_epoch)
    lengths = train_set.lengths()
    tokens = config.pack_tokens * per_step if config.pack_tokens else round(float(lengths.mean()) * per_step)
    parameters = count_parameters(folder, config, base)
    known = "known once the base is fetched" if parameters is None else f"{parameters:,}"
    what = "packed rows" if config.pack_tokens else "utterances"
    work = [
        _settings_line(config),
        f"parameters: {known}"
        + (f", of which LoRA of rank {config.lora_rank} trains a part" if config.lora_rank else ""),
        f"train {steps:,} steps of {per_step:,} {what} ({config.batch_size} a batch, {config.accumulation} batches a "
        f"step, {processes} processes), about {tokens:,} tokens a step; {items:,} {what} an epoch",
    ]
    if config.early_stopping or config.eval_every:
        work.append(f"evaluate every {config.eval_every:,} steps")
    if config.push_to_hub:
        work.append(f"push the model to {config.push_to_hub}")
    return tuple(work)


def _base_line(config: TrainConfig, base: Base | None) -> str:
    if config.base == "tiny":
        return f"base: tiny, size {config.size} (random weights)"
    if Path(config.base).is_dir():
        kind = "a model of slmtk" if base is not None and base.kind == "slmtk" else "a local folder"
        return f"base: {config.base} ({kind})"
    if looks_like_hub_id(config.base):
        revision = f" at {config.base_revision}" if config.base_revision else ""
        return f"base: {config.base}{revision} (of the Hugging Face hub: would be fetched unless it is cached)"
    return f"base: {config.base} ({ABSENT})"


def _settings_line(config: TrainConfig) -> str:
    named = {"layout": config.layout, "frames a step": config.frames_per_step, "head": config.head}
    named |= {"fusion": config.fusion, "streams": config.stream_order}
    return "model: " + (
        ", ".join(f"{key} {value}" for key, value in named.items() if value) or "as the base, or default"
    )
