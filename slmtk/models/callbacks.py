"""What goes on beside the trainer's steps: the bar and the log file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from slmtk.config import to_jsonable
from slmtk.models.measures import by_head
from slmtk.progress import Task


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
        values = by_head(logs or {})
        if "speech_loss" in values:
            top1 = values["head_top1"]
            note = f"loss {values['loss']:.3f} text {values['text_loss']:.3f} speech {values['speech_loss']:.3f} "
            self._task.advance(0, note + f"top-1 {sum(top1) / len(top1):.1%}")


class LogCallback(TrainerCallback):  # type: ignore[misc]
    """Writes the log a line at a time while the run goes on; on resuming, lines after the checkpoint are dropped."""

    def __init__(self, path: Path) -> None:
        """``path`` of the jsonl file, written by the first process alone."""
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with what the checkpoint remembers."""
        if state.is_world_process_zero:
            self._write("w", state.log_history)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the latest line."""
        if state.is_world_process_zero:
            self._write("a", state.log_history[-1:])

    def _write(self, mode: str, entries: list[dict[str, Any]]) -> None:
        with self._path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(to_jsonable(by_head(entry))) + "\n" for entry in entries)
