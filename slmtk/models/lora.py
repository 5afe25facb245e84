"""LoRA in the backbone of a speech language model, by peft: few weights are trained, and merged at the end.

The backbone's layers get low-rank updates. What is new is trained whole: the embedding rows of control tokens and codes
(peft's trainable token rows, which keep a tied output layer tied), the speech heads, the fusion and the speaker's
projection. peft changes the backbone in place, so the model remains a `SpeechLM` in every other respect.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slmtk.errors import ConfigError, FormatError, first_line
from slmtk.models.speech_lm import SpeechLM

SPEECH_PARTS = "speech_parts.safetensors"
"""Beside peft's own files: everything that is not the backbone's."""
_BACKBONE = "backbone."


def add_lora(model: SpeechLM, rank: int, alpha: int | None = None, targets: str = "all-linear") -> Any:
    """Put LoRA into ``model``'s backbone, in place.

    Args:
        model: all of whose backbone's own weights are frozen by this.
        rank: of the updates.
        alpha: their scale times ``rank``; None for twice the rank.
        targets: ends of the names of the layers that get them, with commas, or "all-linear".

    Returns:
        peft's model around the backbone, which `save_adapter` and `merge_lora` take.

    Raises:
        ConfigError: no layer of the backbone has such a name.
    """
    from peft import LoraConfig, get_peft_model

    names: str | list[str] = targets if targets == "all-linear" else [name.strip() for name in targets.split(",")]
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        target_modules=names,
        trainable_token_indices=_new_rows(model),
        task_type="CAUSAL_LM",
    )
    try:
        with _no_future_warnings():
            return get_peft_model(model.backbone, config)
    except ValueError as error:
        raise ConfigError(
            f"--lora-targets {targets!r} cannot be used ({first_line(error)}); name layers such as q_proj,v_proj"
        ) from error


@contextmanager
def _no_future_warnings() -> Iterator[None]:
    """peft asks transformers by a name that newer ones warn of; nothing that a user could mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _new_rows(model: SpeechLM) -> dict[str, list[int]]:
    """By name of the table (and of the output layer, where it is another): rows of control tokens and codes."""
    rows = list(range(model.vocabulary.text_size, model.vocabulary.size))
    tables = [model.backbone.get_input_embeddings()]
    output = model.backbone.get_output_embeddings()
    if output.weight is not tables[0].weight:
        tables.append(output)
    names = {id(module): name for name, module in model.backbone.named_modules()}
    return {names[id(table)]: rows for table in tables}


def _speech_parts(model: SpeechLM) -> dict[str, Tensor]:
    return {
        key: value.detach().cpu().contiguous()
        for key, value in model.state_dict().items()
        if not key.startswith(_BACKBONE)
    }


def save_adapter(peft_model: Any, model: SpeechLM, folder: Path) -> None:
    """Save what was trained: peft's adapter, and `SPEECH_PARTS`."""
    folder.mkdir(parents=True, exist_ok=True)
    # The new rows are in the adapter; peft would otherwise add the whole table.
    peft_model.save_pretrained(str(folder), save_embedding_layers=False)
    save_file(_speech_parts(model), folder / SPEECH_PARTS)


def load_adapter(model: SpeechLM, folder: Path) -> Any:
    """Put a saved adapter into ``model``, freshly built from the same base; returns what `add_lora` does.

    Raises:
        FormatError: ``folder`` holds no adapter of such a model.
    """
    from peft import PeftModel

    path = folder / SPEECH_PARTS
    if not path.is_file():
        raise FormatError(f"{folder} has no {SPEECH_PARTS}; expected the adapter/ of a model trained with --lora-rank")
    parts, mine = load_file(path), _speech_parts(model)
    wrong = [
        key for key in {**parts, **mine} if key not in parts or key not in mine or parts[key].shape != mine[key].shape
    ]
    if wrong:
        raise FormatError(f"{folder} is the adapter of another model: they differ in {sorted(wrong)[0]}")
    model.load_state_dict(parts, strict=False)
    with _no_future_warnings():
        return PeftModel.from_pretrained(model.backbone, str(folder), is_trainable=True)


def merge_lora(peft_model: Any, model: SpeechLM) -> None:
    """Add the updates to ``model``'s weights, in place, and take the adapter out: it is a plain `SpeechLM` again."""
    merged: nn.Module = peft_model.merge_and_unload()
    if merged is not model.backbone:
        raise AssertionError("peft gave back another backbone than it was given")
