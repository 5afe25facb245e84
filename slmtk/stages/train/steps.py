"""The steps of a training run: batches, order, trainer, checkpoints, evaluation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Sampler
from transformers import EarlyStoppingCallback

from slmtk.data.collate import collate, collate_packed
from slmtk.data.examples import Example
from slmtk.data.packing import PackedSampler, PackedSet
from slmtk.data.sampling import LengthBucketSampler, parse_task_weights
from slmtk.data.training_set import TrainingSet
from slmtk.models.callbacks import LogCallback, ProgressCallback
from slmtk.models.checkpoints import last_checkpoint, step_of
from slmtk.models.measures import by_head
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.trainer import IDS, SpeechTrainer
from slmtk.progress import Progress
from slmtk.quiet import errors_only
from slmtk.stages.train.arguments import CHECKPOINTS, training_arguments
from slmtk.stages.train.config import TrainConfig
from slmtk.stages.train.ranks import Ranks

LOG_NAME = "train_log.jsonl"
TRACKER_FOLDER = "tensorboard"


@dataclass
class TrainReport:
    """What a training run came to."""

    model: str
    steps: int
    parameters: int
    trained_parameters: int
    train_rows: int
    dev_rows: int
    seconds: float
    resumed_from: int = 0
    best_step: int | None = None
    final: dict[str, Any] = field(default_factory=dict)
    dev: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    adapter: str | None = None
    pushed_to: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A run's end.

    Attributes:
        report: what it came to.
        state: all weights, in the first process, if they were sharded over the processes; else None.
    """

    report: TrainReport
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class Batches:
    """What the trainer draws from.

    Attributes:
        items: the training set, or its packed rows.
        sampler: the order of its items.
        put_together: items -> a batch, with the ids of its utterances.
    """

    items: Dataset[Any]
    sampler: Sampler[Any]
    put_together: Callable[[Sequence[Any]], dict[str, Any]]


def make_batches(train_set: TrainingSet, config: TrainConfig, processes: int, pad_id: int) -> Batches:
    """Padded or packed batches of ``train_set`` in the order of the seed.

    Raises:
        ConfigError: a task weight of a task that there is not, or a row longer than a packed row.
    """
    order = train_set.order(config.seed, parse_task_weights(config.task_weights), packed=config.pack_tokens > 0)
    step_rows = config.batch_size * config.accumulation * processes

    def padded(examples: Sequence[Example]) -> dict[str, Any]:
        return {**collate(examples, pad_id), IDS: [example.id for example in examples]}

    def packed(rows: Sequence[Sequence[Example]]) -> dict[str, Any]:
        batch = collate_packed(rows, pad_id, config.pack_tokens)
        return {**batch, IDS: [example.id for row in rows for example in row]}

    if config.pack_tokens:
        return Batches(PackedSet(train_set), PackedSampler(order, config.pack_tokens, step_rows), packed)
    return Batches(train_set, LengthBucketSampler(order, step_rows), padded)


@contextmanager
def _tracker_folder(folder: Path) -> Iterator[None]:
    """Let the library's TensorBoard writer write to ``folder``: it takes no other way of saying so."""
    name = "TENSORBOARD_LOGGING_DIR"
    before = os.environ.get(name)
    os.environ.setdefault(name, str(folder))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def run(
    model: SpeechLM,
    train_set: TrainingSet,
    dev_set: TrainingSet | None,
    pad_id: int,
    out: Path,
    config: TrainConfig,
    device: str,
    ranks: Ranks,
    progress: Progress,
) -> Outcome:
    """Train ``model`` in place, from the last checkpoint in ``out`` on if there is one.

    Raises:
        TrainingStoppedError: the loss is no longer a number, or has left its course.
    """
    with _tracker_folder(out / TRACKER_FOLDER):
        trainer = _trainer(model, train_set, dev_set, pad_id, out, config, device, ranks)
    checkpoint = ranks.agree(last_checkpoint(out / CHECKPOINTS, ranks.count))
    resumed = step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        progress.message(f"resuming from step {resumed}")
        trainer.restore_measures(checkpoint)
    started = time.perf_counter()
    # Not even remarks on tied weights, which a checkpoint rightly lacks.
    with errors_only(), progress.task("train", config.steps or None, "steps") as task:
        trainer.add_callback(ProgressCallback(task))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.look()
    dev = _evaluated(trainer) if dev_set is not None else {}
    losses = [entry for entry in trainer.state.log_history if "speech_loss" in entry]
    best = trainer.state.best_model_checkpoint if config.early_stopping else None
    report = TrainReport(
        model=str(out),
        steps=trainer.state.global_step,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        train_rows=len(train_set),
        dev_rows=0 if dev_set is None else len(dev_set),
        seconds=round(time.perf_counter() - started, 2),
        resumed_from=resumed,
        best_step=step_of(Path(best)) if best else None,
        final=by_head(losses[-1]) if losses else {},
        dev=dev,
    )
    return Outcome(report, trainer.accelerator.get_state_dict(trainer.model) if config.fsdp else None)


def _trainer(
    model: SpeechLM,
    train_set: TrainingSet,
    dev_set: TrainingSet | None,
    pad_id: int,
    out: Path,
    config: TrainConfig,
    device: str,
    ranks: Ranks,
) -> SpeechTrainer:
    batches = make_batches(train_set, config, ranks.count, pad_id)
    trainer = SpeechTrainer(
        model=model,
        sampler=batches.sampler,
        train_dataset=batches.items,
        eval_dataset=dev_set,
        args=training_arguments(
            out, config, device, 0 if dev_set is None else len(dev_set), several_tasks=len(model.config.tasks or []) > 1
        ),
        data_collator=batches.put_together,
        eval_collator=lambda examples: collate(examples, pad_id),
    )
    trainer.add_callback(LogCallback(out / LOG_NAME))
    if config.early_stopping and dev_set is not None:
        trainer.add_callback(EarlyStoppingCallback(config.early_stopping))
    return trainer


def _evaluated(trainer: SpeechTrainer) -> dict[str, Any]:
    trainer.evaluate()
    last = by_head(trainer.state.log_history[-1])
    return {key.removeprefix("eval_"): value for key, value in last.items() if key.startswith("eval_")}
