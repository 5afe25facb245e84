"""The settings of a training run, and what a resumed one must have in common with the run it continues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.config import to_jsonable
from slmtk.data.sampling import parse_task_weights
from slmtk.errors import ConfigError
from slmtk.models.attention import ATTENTION

TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Names of --report-to and the packages they need."""
SHARDINGS = {"full_shard": True, "shard_grad_op": False}
"""Ways of --fsdp, and whether a layer's weights are given up between its uses."""
ARCHITECTURE: dict[str, Any] = {
    "layout": "grouped",
    "frames_per_step": 4,
    "head": "linear",
    "fusion": "mean",
    "speaker_aware": True,
    "reference_prompt": False,
}
"""What a model is made of if neither the settings nor a slmtk model as base say so."""
_CHOICES = {
    "precision": ("auto", "fp32", "bf16"),
    "reference": ("other", "own"),
    "attention": ("auto", *ATTENTION),
    "report_to": ("none", *TRACKERS),
    "fsdp": (None, *SHARDINGS),
}
_POSITIVE = ("batch_size", "accumulation", "learning_rate", "save_every", "log_every", "keep_checkpoints")
_NOT_NEGATIVE = ("speaker_noise", "pack_tokens", "lora_rank", "early_stopping", "eval_every", "num_targets", "steps")
_FREE = ("device", "log_every", "save_every", "keep_checkpoints", "num_targets", "codec_checkpoint")
_NOT_OF_THE_MODEL = ("report_to", "push_to_hub", "private")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    base: str = "tiny"
    """"tiny", a local folder or a hub id of a causal language model, or a model that slmtk trained."""
    base_revision: str | None = None
    """Revision of a hub id."""
    size: str = "s"
    """Size of "tiny": xs, s, m or l, or features x layers as in "256x4"."""
    layout: str | None = None
    """"grouped" (multi-token), "interleaved" (next-token) or "delayed"; None: the base's, or `ARCHITECTURE`'s."""
    frames_per_step: int | None = None
    """Frames that one step predicts, in the grouped layout; None as above."""
    stream_order: str | None = None
    """Names of the streams in the order within a frame, with commas; None: the base's, or the codec's own."""
    head: str | None = None
    """"linear", "mlp", "transformer" or "depth"; None as above."""
    fusion: str | None = None
    """"mean" or "concat"; None as above."""
    speaker_aware: bool | None = None
    """Whether a reference conditions the model; None as above."""
    reference: str = "other"
    """Whose: "other" recordings of the same speaker, drawn anew in each epoch, or the utterance's "own"."""
    speaker_noise: float = 0.0
    """Standard deviations of normal noise on speaker vectors, which are also faded: so that unlike voices work, too."""
    reference_prompt: bool | None = None
    """Whether the reference's codes stand in the prompt, instead of a speaker vector; None as above."""
    text_weight: float = 0.2
    """Of the text's cross-entropy in the loss."""
    speech_weight: float = 0.8
    """Of the mean over heads of the speech's cross-entropy in the loss."""
    task_weights: str = ""
    """How often an epoch reads the rows of a task, as "tts=1,asr=0.5"; 1 if it is not named."""
    steps: int = 0
    """Optimiser steps; 0 takes ``epochs``."""
    epochs: float = 3.0
    """Passes over the data, unless ``steps`` is given."""
    batch_size: int = 16
    """Utterances (with ``pack_tokens``: rows) a batch, on each device."""
    pack_tokens: int = 0
    """Positions of a row that is filled with several utterances; 0: an utterance a row, padded to the longest."""
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
    lora_rank: int = 0
    """Rank of LoRA in the backbone; 0 trains all of it."""
    lora_alpha: int | None = None
    """LoRA's scale times its rank; None: twice the rank."""
    lora_targets: str = "all-linear"
    """Ends of the names of the backbone's layers that get LoRA, with commas; "all-linear": every linear one."""
    precision: str = "auto"
    """"fp32", "bf16", or "auto": bf16 on a GPU that has it."""
    attention: str = "auto"
    """Implementation of attention: auto, sdpa, flash, flex or eager."""
    compile: bool = False
    """Compile the model (torch.compile)."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    fsdp: str | None = None
    """Shard over the GPUs: "full_shard" (weights, too) or "shard_grad_op"; None: each has all of the model."""
    max_tokens: int = 32_768
    """Longer rows are refused, with their number."""
    eval_every: int = 0
    """Steps between two evaluations on the dev split; 0 for one at the end."""
    early_stopping: int = 0
    """Evaluations without a better dev loss after which training stops, and the best model is kept; 0: never."""
    save_every: int = 500
    """Steps between two checkpoints."""
    log_every: int = 25
    """Steps between two lines of the log."""
    keep_checkpoints: int = 2
    """How many of the latest checkpoints stay on disk."""
    num_targets: int = 2
    """Training targets that are written as audio before the first step."""
    report_to: str = "none"
    """Tracker that gets the log, too: none, tensorboard or wandb."""
    push_to_hub: str | None = None
    """Repository of the Hugging Face hub that gets the finished model."""
    private: bool = False
    """Whether that repository is private, if it is made now."""
    seed: int = 0
    """Of weights, order and dropout."""
    device: str = "auto"
    """cpu, cuda or auto."""
    codec_checkpoint: Path | None = None
    """Local weights of the dataset's codec, for the targets' audio."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: a number out of range or an unknown name.
        """
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} {getattr(self, name)!r} is unknown; expected one of {', '.join(filter(None, known))}"
                )
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be greater than 0")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or greater")
        if self.steps <= 0 and self.epochs <= 0:
            raise ConfigError("train for steps or epochs greater than 0")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup is {self.warmup}; it is a part of the steps, from 0 to below 1")
        if self.early_stopping and not self.eval_every:
            raise ConfigError("early_stopping counts evaluations on the dev split; say how often with eval_every")
        if self.lora_rank and self.base == "tiny":
            raise ConfigError("LoRA adapts weights that are trained already, and those of base tiny are random")
        if self.lora_rank and self.fsdp:
            raise ConfigError("LoRA is merged into whole weights, and fsdp shards them; use one of the two")
        parse_task_weights(self.task_weights)

    def identity(self) -> dict[str, Any]:
        """Everything that a resumed run must have in common with the run it continues."""
        free = _FREE + _NOT_OF_THE_MODEL + (() if self.early_stopping else ("eval_every",))
        return {key: value for key, value in to_jsonable(self).items() if key not in free}
