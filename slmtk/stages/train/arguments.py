"""A run's settings as transformers' TrainingArguments."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from slmtk.device import resolve_device
from slmtk.errors import ConfigError
from slmtk.stages.train.config import SHARDINGS, TrainConfig

CHECKPOINTS = "checkpoints"


def training_device(config: TrainConfig) -> str:
    """Where this process trains: "cpu" or "cuda:0".

    Raises:
        ConfigError: there is no such device, or it is one that the library does not train on.
    """
    device = resolve_device(config.device)
    if device.startswith("cuda") and device not in ("cuda", "cuda:0"):
        raise ConfigError(
            f"--device {config.device}: training takes the first GPU that it sees; set "
            f"CUDA_VISIBLE_DEVICES={device.rpartition(':')[2]} and use --device cuda"
        )
    if config.fsdp and device == "cpu":
        raise ConfigError("--fsdp shards a model over GPUs, and accelerate does not shard on a CPU; leave it out")
    return device


def sharding(fsdp: str | None) -> dict[str, Any]:
    """TrainingArguments that shard the model: weights, gradients and optimiser, saved as one whole."""
    if fsdp is None:
        return {}
    config = {"version": 2, "reshard_after_forward": SHARDINGS[fsdp], "state_dict_type": "FULL_STATE_DICT"}
    return {"fsdp": True, "fsdp_config": config}


def training_arguments(
    out: Path, config: TrainConfig, device: str, dev_rows: int, *, several_tasks: bool
) -> TrainingArguments:
    """The library's settings; a GPU of this process is the only one it uses.

    Raises:
        ConfigError: a name in the settings that the library does not know.
    """
    bf16 = config.precision == "bf16" or (
        config.precision == "auto" and device.startswith("cuda") and torch.cuda.is_bf16_supported()
    )
    values = {**_optimizing(config), **_saving(config, dev_rows), **sharding(config.fsdp)}
    values |= {
        "output_dir": str(out / CHECKPOINTS),
        "bf16": bf16,
        "torch_compile": config.compile,
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "remove_unused_columns": False,
        "prediction_loss_only": True,
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": config.report_to,
        # Of one task, every batch uses every weight; of several, it may hold no speech or no speaker.
        "ddp_find_unused_parameters": several_tasks,
    }
    if config.gradient_checkpointing:
        # transformers 5 gave the setting this name on the way, and warns of the older one.
        known = {field.name for field in dataclasses.fields(TrainingArguments)}
        values["activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"] = True
    try:
        arguments = TrainingArguments(**values)
    except ValueError as error:
        raise ConfigError(f"these settings cannot be used: {' '.join(str(error).split())}") from error
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs of one process would be DataParallel, slow and inexact
    return arguments


def _optimizing(config: TrainConfig) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "adam_beta2": config.beta2,
        "max_grad_norm": config.max_grad_norm,
        "num_train_epochs": config.epochs,
        "max_steps": config.steps if config.steps > 0 else -1,
        "seed": config.seed,
        "data_seed": config.seed,
    }


def _saving(config: TrainConfig, dev_rows: int) -> dict[str, Any]:
    """When to evaluate and save; to keep the best model, each evaluated one has to be on disk."""
    evaluate = bool(config.eval_every and dev_rows)
    best = bool(config.early_stopping and evaluate)
    return {
        "eval_strategy": "steps" if evaluate else "no",
        "eval_steps": config.eval_every if evaluate else None,
        "save_strategy": "steps",
        "save_steps": config.eval_every if best else config.save_every,
        "save_total_limit": config.keep_checkpoints,
        "load_best_model_at_end": best,
        "metric_for_best_model": "loss" if best else None,
        "greater_is_better": False if best else None,
        # An interrupted run counts on towards early stopping where it was.
        "restore_callback_states_from_checkpoint": True,
    }
