"""What a stretch of training steps or an evaluation came to: sums on the device, read once. Model -> log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from slmtk.data.collate import IGNORE
from slmtk.models.speech_lm import SpeechLM

_PARTS = ("head_loss", "head_top1")


def count_targets(batch: Mapping[str, Any]) -> Tensor:
    """Positions of a batch that carry loss, int64 [2]: labels of text, and steps of speech (each with H labels).

    An example's first position never carries a label, so the model's shift by one drops none of these.
    """
    text, speech = batch["text_labels"] != IGNORE, batch["speech_labels"][..., 0] != IGNORE
    return torch.stack([text.sum(), speech.sum()])


class Measures:
    """Sums over batches. They stay on the model's device until they are read, since reading waits for the device."""

    def __init__(self, model: SpeechLM) -> None:
        """Begin at 0 for ``model``, whose layout says how its losses go together."""
        self._interleaved = model.layout.kind == "interleaved"
        self._weights = (float(model.config.text_weight), float(model.config.speech_weight))
        self._eosp = model.vocabulary.eosp
        self._last_row = model.vocabulary.spec.codebook_sizes[model.layout.stream_of(0)]
        self._heads = model.layout.num_heads
        self.clear()

    def clear(self) -> None:
        """Begin again at 0."""
        # text loss, text labels, steps of speech, steps of <eosp>, then H losses and H right answers
        self._sums: Tensor = torch.zeros(4 + 2 * self._heads, dtype=torch.float64)

    def totals(self, add_up: Callable[[Tensor], Tensor]) -> list[float]:
        """The sums over all processes, for `restore`."""
        return [float(value) for value in add_up(self._sums).tolist()]

    def restore(self, totals: list[float]) -> None:
        """Go on from what `totals` gave; in one of several processes alone, since they are added up again.

        Sums of another model's heads are passed over.
        """
        if len(totals) == len(self._sums):
            self._sums = torch.tensor(totals, dtype=torch.float64)

    @torch.no_grad()
    def add(self, outputs: Any, batch: Mapping[str, Any]) -> None:
        """Remember a batch's losses and right answers."""
        labels, steps = count_targets(batch)
        if self._interleaved:
            steps = outputs.num_speech_targets
            labels = labels - steps
            ends = (batch["text_labels"] == self._eosp).sum()
        else:
            ends = (batch["speech_labels"][..., 0] == self._last_row).sum()
        sums = [outputs.text_loss * labels, labels, steps, ends]
        parts = [torch.stack([value.double() for value in sums])]
        parts += [(outputs.head_losses * steps).double(), outputs.head_correct.double()]
        added = torch.cat(parts)
        self._sums = self._sums.to(added.device) + added

    def read(self, add_up: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, float]:
        """Means since the beginning; {} if there was nothing.

        Args:
            add_up: sums a tensor over all processes.

        Returns:
            loss, text_loss, speech_loss, head_loss_0 ... and head_top1_0 ..., and speech_steps (``<eosp>`` not
            counted), all of them numbers, as trackers want it; `by_head` makes lists of the heads' values.
        """
        values = add_up(self._sums).tolist()
        text, labels, steps, ends = values[:4]
        if not labels and not steps:
            return {}
        heads = values[4 : 4 + self._heads]
        losses = [head / max(steps, 1) for head in heads]
        text_loss, speech_loss = text / max(labels, 1), sum(losses) / len(losses)
        if self._interleaved:
            loss = (text + sum(heads)) / (labels + steps)
        else:
            loss = self._weights[0] * text_loss + self._weights[1] * speech_loss
        read = {"loss": loss, "text_loss": text_loss, "speech_loss": speech_loss, "speech_steps": steps - ends}
        read |= {f"head_loss_{head}": round(value, 5) for head, value in enumerate(losses)}
        return read | {
            f"head_top1_{head}": round(value / max(steps, 1), 5) for head, value in enumerate(values[4 + self._heads :])
        }


def by_head(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the log with head_loss_0, head_loss_1 ... gathered as the list head_loss; top-1 likewise."""
    gathered: dict[str, Any] = {}
    for key, value in entry.items():
        name, _, head = key.rpartition("_")
        if head.isdecimal() and name.removeprefix("eval_") in _PARTS:
            gathered.setdefault(name, []).append(value)
        else:
            gathered[key] = value
    return gathered
