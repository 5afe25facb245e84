"""``slmtk train``: a dataset in, a model that speaks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slmtk.cli._options import checkpoint_option, config_option, device_option, json_option, seed_option
from slmtk.cli._output import print_report


@click.command("train")
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--base", default="tiny", show_default=True, help="'tiny', a folder or hub id of a causal language model."
)
@click.option("--base-revision", help="Revision (tag or commit) of a hub id.")
@click.option("--size", default="s", show_default=True, help="Preset of 'tiny': xs, s, m or l.")
@click.option(
    "--layout",
    type=click.Choice(["grouped", "interleaved"]),
    default="grouped",
    show_default=True,
    help="grouped: multi-token prediction; interleaved: next-token prediction, one code a step.",
)
@click.option("--frames-per-step", default=4, show_default=True, help="Frames that one step predicts (grouped).")
@click.option("--head", type=click.Choice(["linear", "mlp"]), default="linear", show_default=True, help="Speech head.")
@click.option(
    "--fusion",
    type=click.Choice(["mean", "concat"]),
    default="mean",
    show_default=True,
    help="How a step's embeddings become one.",
)
@click.option(
    "--speaker-aware/--no-speaker-aware",
    default=True,
    show_default=True,
    help="Condition on a reference's speaker vector.",
)
@click.option(
    "--reference",
    type=click.Choice(["other", "own"]),
    default="other",
    show_default=True,
    help="Whose vector: another recording of the same speaker, drawn anew each epoch, or the utterance's own.",
)
@click.option("--text-weight", default=0.2, show_default=True, help="Weight of the text's cross-entropy (grouped).")
@click.option("--speech-weight", default=0.8, show_default=True, help="Weight of the heads' mean cross-entropy.")
@click.option("--steps", default=0, show_default=True, help="Optimiser steps; 0: as --epochs says.")
@click.option("--epochs", default=3.0, show_default=True, help="Passes over the data.")
@click.option("--batch-size", default=16, show_default=True, help="Utterances a batch and device.")
@click.option("--accumulation", default=1, show_default=True, help="Batches an optimiser step.")
@click.option("--learning-rate", default=5e-4, show_default=True, help="Highest learning rate (AdamW).")
@click.option("--schedule", default="cosine", show_default=True, help="Learning-rate schedule of transformers.")
@click.option("--warmup", default=0.03, show_default=True, help="Part of the steps that warms up.")
@click.option("--weight-decay", default=0.0, show_default=True, help="Of AdamW.")
@click.option("--beta2", default=0.999, show_default=True, help="Of AdamW.")
@click.option("--max-grad-norm", default=1.0, show_default=True, help="Gradients are clipped to this norm.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 on a GPU that has it.",
)
@click.option("--gradient-checkpointing", is_flag=True, help="Save memory, cost time.")
@click.option("--max-tokens", default=32_768, show_default=True, help="Longer rows are refused.")
@click.option("--eval-every", default=0, show_default=True, help="Steps between evaluations; 0: once, at the end.")
@click.option("--save-every", default=500, show_default=True, help="Steps between checkpoints.")
@click.option("--log-every", default=25, show_default=True, help="Steps between lines of the log.")
@click.option("--keep-checkpoints", default=2, show_default=True, help="Latest checkpoints kept while training.")
@click.option("--num-targets", default=2, show_default=True, help="Training targets written as wav before step 1.")
@checkpoint_option
@seed_option
@device_option
@config_option
@json_option
def command(dataset: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Train a speech language model on DATASET and save it in OUT; run again to resume.

    OUT then holds all that `slmtk synth` needs: weights, tokenizer, the codec's description.
    """
    from slmtk.progress import terminal_progress
    from slmtk.stages.train import TrainConfig, train

    report = train(dataset, out, TrainConfig(**options), terminal_progress())
    print_report(report, as_json=as_json, title="train")
