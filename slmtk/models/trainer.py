"""transformers' Trainer with our batches, order and measures: dataset -> model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from slmtk.config import to_jsonable
from slmtk.data.training_set import LengthBucketSampler, TrainingSet
from slmtk.errors import SlmtkError
from slmtk.progress import Task


class TrainingStoppedError(SlmtkError):
    """The loss is no longer a number."""


class _Measures:
    """Sums of a stretch of steps, on the model's device until they are read: reading waits for the device."""

    def __init__(self) -> None:
        self.batches = 0
        self._text: Tensor | float = 0.0
        self._heads: Tensor | float = 0.0
        self._correct: Tensor | float = 0.0
        self._targets: Tensor | float = 0.0
        self._loss: Tensor | float = 0.0
        self._utterances = 0

    def add(self, outputs: Any, utterances: int) -> None:
        self.batches += 1
        self._utterances += utterances
        self._loss = self._loss + outputs.loss.detach()
        self._text = self._text + outputs.text_loss
        self._heads = self._heads + outputs.head_losses
        self._correct = self._correct + outputs.head_correct
        self._targets = self._targets + outputs.num_speech_targets

    def speech_steps(self) -> float:
        """Steps of speech seen, ``<eosp>`` not counted."""
        return float(self._targets) - self._utterances

    def read(self) -> dict[str, Any]:
        if not self.batches or isinstance(self._heads, float) or isinstance(self._correct, float):
            return {}
        heads = (self._heads / self.batches).tolist()
        top1 = (self._correct / torch.as_tensor(self._targets).clamp(min=1)).tolist()
        return {
            "loss": float(self._loss) / self.batches,
            "text_loss": float(self._text) / self.batches,
            "speech_loss": sum(heads) / len(heads),
            "head_loss": [round(value, 5) for value in heads],
            "head_top1": [round(value, 5) for value in top1],
        }


class SpeechTrainer(Trainer):  # type: ignore[misc]
    """Trains a `SpeechLM`; logs text loss, loss and top-1 of each head, and frames of speech per second."""

    def __init__(self, *, train_set: TrainingSet, data_seed: int, frames_per_target: float, **arguments: Any) -> None:
        """``arguments`` are transformers' Trainer's; ``frames_per_target`` frames of speech go by at a target."""
        super().__init__(train_dataset=train_set, **arguments)
        self._train_set = train_set
        self._data_seed = data_seed
        self._frames_per_target = frames_per_target
        self._train_measures = _Measures()
        self._eval_measures = _Measures()
        self._since = time.perf_counter()
        self.remove_callback(PrinterCallback)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthBucketSampler(self._train_set.lengths(), batch, self._data_seed)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Run the model on a batch, remember its measures and return the loss."""
        outputs = model(**inputs)
        (self._train_measures if model.training else self._eval_measures).add(outputs, len(inputs["input_ids"]))
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the measures of the steps since the last call to ``logs``."""
        values: dict[str, Any] = dict(logs)
        if "loss" in values:
            values.update(self._train_measures.read())
            seconds = time.perf_counter() - self._since
            values["frames_per_second"] = round(self._train_measures.speech_steps() * self._frames_per_target / seconds)
            self._train_measures = _Measures()
            self._since = time.perf_counter()
            if not math.isfinite(float(values["loss"])):
                raise TrainingStoppedError(
                    f"the loss is {values['loss']} at step {self.state.global_step}; lower --learning-rate, or look at "
                    "the data with `slmtk inspect`. The last checkpoint before it is kept"
                )
        elif any(key.startswith("eval_") for key in values):
            values.update({f"eval_{key}": value for key, value in self._eval_measures.read().items()})
            self._eval_measures = _Measures()
            self._since = time.perf_counter()
        super().log(values, start_time)


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Moves a bar a step at a time and shows the latest losses behind it."""

    def __init__(self, task: Task) -> None:
        """``task`` counts optimiser steps."""
        self._task = task
        self._seen = 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the bar; on resuming it jumps to where the checkpoint was."""
        self._task.advance(state.global_step - self._seen)
        self._seen = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the losses."""
        logs = logs or {}
        if "speech_loss" in logs:
            top1 = logs["head_top1"]
            note = f"loss {logs['loss']:.3f} text {logs['text_loss']:.3f} speech {logs['speech_loss']:.3f} "
            self._task.advance(0, note + f"top-1 {sum(top1) / len(top1):.1%}")


class LogCallback(TrainerCallback):  # type: ignore[misc]
    """Writes the log a line at a time while the run goes on; on resuming, lines after the checkpoint are dropped."""

    def __init__(self, path: Path) -> None:
        """``path`` of the jsonl file."""
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with what the checkpoint remembers."""
        self._write("w", state.log_history)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the latest line."""
        self._write("a", state.log_history[-1:])

    def _write(self, mode: str, entries: list[dict[str, Any]]) -> None:
        with self._path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(to_jsonable(entry)) + "\n" for entry in entries)
