"""``slmtk train``: a dataset in, a model that speaks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._dry_run import MadeBefore, dry_run_option
from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("train")
@click.argument("dataset", type=MadeBefore(file_okay=False))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--base",
    default="tiny",
    show_default=True,
    help="'tiny', a folder or hub id of a causal language model, or a model that slmtk trained.",
)
@click.option("--base-revision", help="Revision (tag or commit) of a hub id.")
@click.option(
    "--size", default="s", show_default=True, help="Size of 'tiny': xs, s, m, l, or features x layers as in 256x4."
)
@click.option(
    "--layout",
    type=click.Choice(["grouped", "interleaved", "delayed"]),
    help="grouped: multi-token prediction; interleaved: next-token prediction, one code a step; delayed: a frame a "
    "step, each stream a step after the one before.  [default: that of a slmtk model as base, or grouped]",
)
@click.option(
    "--frames-per-step", type=int, help="Frames that one step predicts (grouped).  [default: the base's, or 4]"
)
@click.option(
    "--stream-order",
    metavar="NAMES",
    help="Streams in their order within a frame, with commas.  [default: the base's, or the codec's]",
)
@click.option(
    "--head",
    type=click.Choice(["linear", "mlp", "transformer", "depth"]),
    help="Speech head.  [default: the base's, or linear]",
)
@click.option(
    "--fusion",
    type=click.Choice(["mean", "concat"]),
    help="How a step's embeddings become one.  [default: the base's, or mean]",
)
@click.option(
    "--speaker-aware/--no-speaker-aware",
    default=None,
    help="Condition on a reference's speaker vector.  [default: as the base, or yes]",
)
@click.option(
    "--speaker-noise",
    default=0.0,
    show_default=True,
    help="Normal noise on speaker vectors, in standard deviations: for few voices, so that others work, too.",
)
@click.option(
    "--reference",
    type=click.Choice(["other", "own"]),
    default="other",
    show_default=True,
    help="Whose voice: another recording of the same speaker, drawn anew each epoch, or the utterance's own.",
)
@click.option(
    "--reference-prompt/--no-reference-prompt",
    default=None,
    help="Put the reference's codes into the prompt, instead of a vector.  [default: as the base, or no]",
)
@click.option("--text-weight", default=0.2, show_default=True, help="Weight of the text's cross-entropy (grouped).")
@click.option("--speech-weight", default=0.8, show_default=True, help="Weight of the heads' mean cross-entropy.")
@click.option(
    "--task-weights",
    default="",
    metavar="WEIGHTS",
    help="Share of a task's rows in an epoch, as tts=1,asr=0.5.  [default: 1 each]",
)
@click.option("--steps", default=0, show_default=True, help="Optimiser steps; 0: as --epochs says.")
@click.option("--epochs", default=3.0, show_default=True, help="Passes over the data.")
@click.option("--batch-size", default=16, show_default=True, help="Utterances (or packed rows) a batch and device.")
@click.option(
    "--pack-tokens",
    default=0,
    show_default=True,
    help="Fill rows of so many positions with several utterances; 0: an utterance a row, padded.",
)
@click.option("--accumulation", default=1, show_default=True, help="Batches an optimiser step.")
@click.option("--learning-rate", default=5e-4, show_default=True, help="Highest learning rate (AdamW).")
@click.option("--schedule", default="cosine", show_default=True, help="Learning-rate schedule of transformers.")
@click.option("--warmup", default=0.03, show_default=True, help="Part of the steps that warms up.")
@click.option("--weight-decay", default=0.0, show_default=True, help="Of AdamW.")
@click.option("--beta2", default=0.999, show_default=True, help="Of AdamW.")
@click.option("--max-grad-norm", default=1.0, show_default=True, help="Gradients are clipped to this norm.")
@click.option("--lora-rank", default=0, show_default=True, help="Rank of LoRA in the backbone; 0: train all of it.")
@click.option("--lora-alpha", type=int, help="LoRA's scale times its rank.  [default: twice the rank]")
@click.option(
    "--lora-targets",
    default="all-linear",
    show_default=True,
    help="Layers of the backbone that get LoRA, by the ends of their names, with commas.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 on a GPU that has it.",
)
@click.option(
    "--attention",
    type=click.Choice(["auto", "sdpa", "flash", "flex", "eager"]),
    default="auto",
    show_default=True,
    help="Implementation of attention; auto: as transformers chooses.",
)
@click.option("--compile", is_flag=True, help="Compile the model (needs a C++ compiler on a CPU).")
@click.option("--gradient-checkpointing", is_flag=True, help="Save memory, cost time.")
@click.option(
    "--fsdp",
    type=click.Choice(["full_shard", "shard_grad_op"]),
    help="Shard the model over the GPUs of torchrun.  [default: each has all of it]",
)
@click.option("--max-tokens", default=32_768, show_default=True, help="Longer rows are refused.")
@click.option("--eval-every", default=0, show_default=True, help="Steps between evaluations; 0: once, at the end.")
@click.option(
    "--early-stopping",
    default=0,
    show_default=True,
    help="Stop after so many evaluations without a better dev loss, and keep the best model; 0: never.",
)
@click.option("--save-every", default=500, show_default=True, help="Steps between checkpoints.")
@click.option("--log-every", default=25, show_default=True, help="Steps between lines of the log.")
@click.option("--keep-checkpoints", default=2, show_default=True, help="Latest checkpoints kept while training.")
@click.option("--num-targets", default=2, show_default=True, help="Training targets written as wav before step 1.")
@click.option(
    "--report-to",
    type=click.Choice(["none", "tensorboard", "wandb"]),
    default="none",
    show_default=True,
    help="Tracker that gets the log, too.",
)
@click.option("--push-to-hub", metavar="OWNER/NAME", help="Upload the finished model to the hub as this.")
@click.option("--private", is_flag=True, help="With --push-to-hub: only you can see a model that is made.")
@dry_run_option
@checkpoint_option
@seed_option
@device_option
@config_option
@json_option
def command(dataset: Path, out: Path, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Train a speech language model on DATASET and save it in OUT; run again to resume.

    OUT then holds all that `slmtk synth` needs: weights, tokenizer, the codec's description. For several GPUs start it
    with `torchrun --nproc-per-node N -m slmtk train ...`.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.train.config import TrainConfig
    from slmtk.stages.train.ranks import said_once

    with said_once():
        config = TrainConfig(**options)
    if dry_run:
        from slmtk.stages.train.plan import plan_training

        print_report(plan_training(dataset, out, config), as_json=as_json, title="train")
        return
    from slmtk.stages.train import train

    report = train(dataset, out, config, terminal_progress())
    if report is not None:
        print_report(report, as_json=as_json, title="train")
