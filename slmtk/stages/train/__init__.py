"""Train a speech language model: a dataset folder -> a model folder that ``synth`` needs nothing else beside."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from slmtk.config import to_jsonable, write_json
from slmtk.data.dataset import DatasetFolder, open_dataset
from slmtk.data.training_set import TrainingSet
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.watch import TrainingStoppedError
from slmtk.progress import Progress
from slmtk.quiet import no_bars
from slmtk.stages.push import check_push
from slmtk.stages.push_model import push_model
from slmtk.stages.targets import write_targets
from slmtk.stages.train.arguments import CHECKPOINTS, training_device
from slmtk.stages.train.base import Base, find_base, resolve
from slmtk.stages.train.checks import MODEL_INFO, check_base, check_packages, check_rows, check_speakers, previous_run
from slmtk.stages.train.config import TrainConfig
from slmtk.stages.train.model import make_model, set_speaker_statistics
from slmtk.stages.train.ranks import Ranks, said_once
from slmtk.stages.train.steps import Outcome, TrainReport, make_batches, run

ADAPTER = "adapter"
TOKENIZER = "tokenizer"


@dataclass
class _Job:
    """A run that nothing speaks against.

    Attributes:
        done: the slmtk.json of the finished model, if there is nothing left to train; then there is no model here.
    """

    folder: DatasetFolder
    config: TrainConfig
    base: Base
    identity: dict[str, Any]
    done: dict[str, Any] | None = None
    model: SpeechLM | None = None
    train_set: TrainingSet | None = None
    dev_set: TrainingSet | None = None


def train(source: Path, out: Path, config: TrainConfig, progress: Progress) -> TrainReport | None:
    """Train on the dataset folder ``source`` and save the model in ``out``; run again to resume.

    Of several processes that a launcher started, the first alone writes, speaks and returns a report.

    Raises:
        FormatError: ``source`` is no dataset, or ``out`` or the base something else than expected.
        CodecMismatchError: dataset and base, or dataset and the model in ``out``, are of different codecs.
        ConfigError: the settings do not fit the dataset, or differ from those of the run in ``out``.
        MissingDependencyError: a package is needed that is not installed.
        TrainingStoppedError: the loss is no longer a number, or has left its course.
        SlmtkError: the finished model cannot be pushed.
    """
    with said_once():
        device = training_device(config)
    ranks = Ranks(device, config.fsdp)
    progress = ranks.progress(progress)
    job = ranks.first_then_others(lambda: _prepare(source, out, config, device, ranks.count))
    if job.done is not None:
        progress.message(f"{out} holds the finished model of this very run; nothing to train")
        report = TrainReport(**job.done["report"])
    else:
        with said_once(TrainingStoppedError):
            report = _train(job, out, device, ranks, progress)
    if not ranks.is_first:
        return None
    if config.push_to_hub:
        report.pushed_to = push_model(out, config.push_to_hub, private=config.private)
        progress.message(f"pushed to {report.pushed_to}")
    return report


def open_run(source: Path, config: TrainConfig) -> tuple[DatasetFolder, Base, TrainConfig]:
    """Open the dataset, look at the base, and fill in what the settings leave open; nothing is fetched or made.

    Raises:
        FormatError: ``source`` is no dataset, or the base is damaged.
        ConfigError: settings, dataset and base do not go together.
        MissingDependencyError: a package is needed that is not installed.
    """
    check_packages(config)
    if config.push_to_hub:
        check_push(config.push_to_hub)
    folder, base = open_dataset(source), find_base(config)
    config = resolve(config, base, folder)
    check_speakers(folder, config)
    return folder, base, config


def open_set(folder: DatasetFolder, split: str, config: TrainConfig) -> TrainingSet:
    """Open a split for settings that `open_run` has filled in."""
    from slmtk.models.config import SpeechLMConfig
    from slmtk.stages.train.model import model_settings

    settings = SpeechLMConfig(vocabulary=folder.vocabulary.to_dict(), **model_settings(folder, config))
    return TrainingSet(
        folder,
        split,
        settings.make_layout(),
        speaker_aware=bool(config.speaker_aware),
        reference=config.reference,
        reference_prompt=bool(config.reference_prompt),
        seed=config.seed,
    )


def _prepare(source: Path, out: Path, config: TrainConfig, device: str, processes: int) -> _Job:
    folder, base, config = open_run(source, config)
    identity = {"config": config.identity(), "dataset": folder.info["fingerprint"], "processes": processes}
    job = _Job(folder, config, base, identity, done=previous_run(out, folder, identity))
    if job.done is not None:
        return job
    check_base(folder, config, base)
    job.train_set = open_set(folder, "train", config)
    check_rows(job.train_set, config)
    make_batches(job.train_set, config, processes, pad_id=0)  # is refused before weights are read
    if folder.info["splits"].get("dev", {}).get("rows"):
        job.dev_set = open_set(folder, "dev", config)
    set_seed(config.seed)
    job.model = make_model(folder, config, base)
    if config.pack_tokens:
        job.model.prepare_packing(by_example=device == "cpu" and not config.compile)
    if base.speech is None:
        set_speaker_statistics(job.model, job.train_set)
    return job


def _train(job: _Job, out: Path, device: str, ranks: Ranks, progress: Progress) -> TrainReport:
    model, train_set, config = job.model, job.train_set, job.config
    assert model is not None  # _prepare made them
    assert train_set is not None
    targets: list[Path] = []
    if ranks.is_first:
        targets = _begin(job, model, train_set, out)
        for path in targets:
            progress.message(f"training target to listen to: {path}")
    ranks.wait()
    adapter = None
    if config.lora_rank:
        from slmtk.models.lora import add_lora

        adapter = add_lora(model, config.lora_rank, config.lora_alpha, config.lora_targets)
    pad_id = job.folder.tokenizer.eos_id
    outcome = run(model, train_set, job.dev_set, pad_id, out, config, device, ranks, progress)
    outcome.report.targets = [str(path) for path in targets]
    if ranks.is_first:
        _save(job, model, adapter, out, outcome)
    return outcome.report


def _begin(job: _Job, model: SpeechLM, train_set: TrainingSet, out: Path) -> list[Path]:
    """Lay claim to the folder, and write some targets to listen to before hours are spent on them."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MODEL_INFO, _info(job, model, None))
    job.folder.tokenizer.save(out / TOKENIZER)
    config = job.config
    return write_targets(
        train_set, job.folder, model.layout, out / "targets", config.num_targets, config.codec_checkpoint
    )


def _save(job: _Job, model: SpeechLM, adapter: Any, out: Path, outcome: Outcome) -> None:
    if adapter is not None:
        from slmtk.models.lora import merge_lora, save_adapter

        save_adapter(adapter, model, out / ADAPTER)
        merge_lora(adapter, model)
        outcome.report.adapter = str(out / ADAPTER)
        outcome.report.parameters = sum(parameter.numel() for parameter in model.parameters())
    with no_bars():
        model.save_pretrained(out, state_dict=outcome.state)
    write_json(out / MODEL_INFO, _info(job, model, outcome.report))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def _info(job: _Job, model: SpeechLM, report: TrainReport | None) -> dict[str, Any]:
    return {
        "format": 1,
        "kind": "model",
        "codec": job.folder.spec.to_dict(),
        "vocabulary": job.folder.vocabulary.to_dict(),
        "speaker": to_jsonable(job.folder.speakers),
        "tasks": list(model.config.tasks),
        "identity": job.identity,
        "report": to_jsonable(report) if report else None,
    }
