"""transformers' Trainer with our batches, order, measures and alarm: dataset -> model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from slmtk.config import write_json
from slmtk.data.collate import IGNORE
from slmtk.models.checkpoints import last_checkpoint
from slmtk.models.measures import Measures, count_targets
from slmtk.models.speech_lm import SpeechLM
from slmtk.models.watch import LossWatch, TrainingStoppedError

IDS = "ids"
"""Key of a training batch beside the model's arguments: the ids of its utterances, a list of strings."""
MEASURES = "measures.json"
"""In a checkpoint: what the steps since the last line of the log came to."""
NAMED_IDS = 16
"""Utterances that an error names."""


class SpeechTrainer(Trainer):  # type: ignore[misc]
    """Trains a `SpeechLM`; logs text loss, loss and top-1 of each head, and frames of speech per second.

    An optimiser step lowers the loss of all its batches on all processes taken together: means are over the labels of
    the step, not means of the batches' means. So batch 4 is batch 1 with accumulation 4 is four processes.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        model: SpeechLM,
        sampler: Sampler[Any],
        eval_collator: Callable[[Sequence[Any]], dict[str, Any]],
        **arguments: Any,
    ) -> None:
        """Take the model and the order of its rows.

        Args:
            model: to be trained.
            sampler: items of the training set.
            eval_collator: items of the dev set -> the model's arguments.
            arguments: transformers' Trainer's. Batches of the training set hold `IDS`.
        """
        super().__init__(model=model, **arguments)
        self._config = model.config
        self._interleaved = model.layout.kind == "interleaved"
        self._sampler = sampler
        self._train_collator, self._eval_collator = self.data_collator, eval_collator
        self._frames_per_step = model.layout.num_heads / model.layout.num_codebooks
        self._measures, self._eval_measures = Measures(model), Measures(model)
        self._totals: list[float] = []
        self._watch: LossWatch | None = None
        self._since = time.perf_counter()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any]:
        return self._sampler

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Open the dev set; its batches have a way of their own to be put together."""
        self.data_collator: Any = self._eval_collator
        try:
            loader: DataLoader[Any] = super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = self._train_collator
        return loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor | None]:
        """Draw the batches of an optimiser step, and count the targets of that step on all processes, int64 [2]."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        if self._watch is None:
            self._watch = LossWatch(self.args.get_warmup_steps(self.state.max_steps))
        self._watch.begin(self.state.global_step + 1, [batch.pop(IDS) for batch in batches])
        counts = torch.stack([count_targets(batch) for batch in batches]).sum(0).to(device)
        return batches, self._add_up(counts)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Run the model on a batch, remember its measures and return its part of the step's loss."""
        if num_items_in_batch is None:
            inputs = self._without_repeats(inputs)
            outputs = model(**inputs)
            self._eval_measures.add(outputs, inputs)
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        share = count_targets(inputs) / torch.as_tensor(num_items_in_batch).clamp(min=1)
        # Each loss is a mean over the batch. Weighed by what the batch has of the step's text labels and steps of
        # speech, they add up to the means over the whole step, gradients too.
        weights = share * share.new_tensor((self._config.text_weight, self._config.speech_weight))
        outputs = model(**inputs, loss_weights=weights)
        self._measures.add(outputs, inputs)
        loss = outputs.loss * share[0] if self._interleaved else outputs.loss
        if self._watch is not None:
            self._watch.add_loss(loss)
        # Gradients are averaged over the processes, and each has only its part of the sum.
        loss = loss * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self._watch is not None:
            self._watch.set_norm(norm)
        return norm

    def restore_measures(self, checkpoint: Path) -> None:
        """Go on with the measures of a stretch of steps that ``checkpoint`` cut in two."""
        path = checkpoint / MEASURES
        if self.args.process_index == 0 and path.is_file():
            self._measures.restore(json.loads(path.read_text(encoding="utf-8")))

    def look(self) -> None:
        """Judge the steps since the last look; on all processes at once.

        Raises:
            TrainingStoppedError: a loss or gradient is no number, or the loss has left its course.
        """
        if self._watch is None:
            return
        pending = self._watch.pending(self.args.device)
        pending[0] = self._add_up(pending[0].clone())
        trouble = self._watch.look(*pending.tolist())
        if trouble is None:
            return
        ids = trouble.ids
        if self.args.world_size > 1:
            parts: list[Any] = [None] * self.args.world_size
            torch.distributed.all_gather_object(parts, ids)
            ids = [name for part in parts for name in part]
        named = ", ".join(ids[:NAMED_IDS]) + (f" and {len(ids) - NAMED_IDS} more" if len(ids) > NAMED_IDS else "")
        good = last_checkpoint(Path(self.args.output_dir), self.args.world_size, before=trouble.step)
        kept = f"the last good checkpoint is {good}" if good else "there is no checkpoint before it"
        raise TrainingStoppedError(
            f"{trouble.what}; its batch: {named}; {kept}. Lower --learning-rate, or look at these utterances with "
            "`slmtk inspect`"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the measures of the steps since the last call to ``logs``."""
        values: dict[str, Any] = dict(logs)
        if "loss" in values:
            self.look()
            values.update(self._measures.read(self._add_up))
            frames = values.pop("speech_steps", 0.0) * self._frames_per_step
            values["frames_per_second"] = round(frames / (time.perf_counter() - self._since))
            self._measures.clear()
            self._since = time.perf_counter()
        super().log(values, start_time)

    def evaluation_loop(self, *arguments: Any, **named: Any) -> Any:
        """Evaluate as the library does; the losses are means over all labels of the split, each row counted once."""
        self._eval_measures.clear()
        output = super().evaluation_loop(*arguments, **named)
        prefix = named.get("metric_key_prefix", "eval")
        values = self._eval_measures.read(self._add_up)
        values.pop("speech_steps", None)
        output.metrics.update({f"{prefix}_{key}": value for key, value in values.items()})
        self._since = time.perf_counter()
        return output

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        self.look()  # so that every checkpoint on disk is a good one
        self._totals = self._measures.totals(self._add_up)
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if state_dict is None and any(not parameter.requires_grad for parameter in self.model.parameters()):
            state_dict = self._trained_state()
        super()._save(output_dir, state_dict)
        if self.args.should_save and output_dir is not None:
            write_json(Path(output_dir) / MEASURES, self._totals)

    def _trained_state(self) -> dict[str, Tensor]:
        """What training changes, and the buffers: a checkpoint of LoRA does not hold the frozen backbone, and peft's
        tied rows are two names of one tensor, of which `save_pretrained` takes one."""
        state = {name: value.detach() for name, value in self.model.named_parameters() if value.requires_grad}
        saved = self.model.state_dict()
        return state | {name: saved[name] for name, _ in self.model.named_buffers() if name in saved}

    def _without_repeats(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Take the labels off the rows that the library repeats to give each process as many in the last batch."""
        state = self.accelerator.gradient_state
        if self.args.world_size == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return dict(batch)
        real = max(0, state.remainder - self.args.process_index * self.args.eval_batch_size)
        labels = {key: batch[key].clone() for key in ("text_labels", "speech_labels")}
        for values in labels.values():
            values[real:] = IGNORE
        return {**batch, **labels}

    def _add_up(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        total: Tensor = self.accelerator.reduce(values, "sum") if self.args.world_size > 1 else values
        return total
