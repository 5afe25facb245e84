"""The README.md of a dataset: what people read on the hub, and how `datasets.load_dataset` finds the splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmtk.data.prompts import ANSWER_TASKS

_TASKS = {
    "tts": "text-to-speech",
    **dict.fromkeys(ANSWER_TASKS, "question-answering"),
    "asr": "automatic-speech-recognition",
    "text": "text-generation",
}


def dataset_card(info: Mapping[str, Any]) -> str:
    """Return the card for the dataset whose ``slmtk.json`` is ``info``."""
    return "\n".join([*_front_matter(info), "", *_body(info), ""])


def _front_matter(info: Mapping[str, Any]) -> list[str]:
    tasks = sorted({_TASKS.get(task, "text-to-speech") for task in info["tasks"]})
    lines = ["---", "task_categories:", *(f"- {task}" for task in tasks)]
    lines += ["tags:", "- speech", "- speech-codes", "- slmtk", "configs:", "- config_name: default", "  data_files:"]
    for split in info["splits"]:
        lines += [f"  - split: {split}", f"    path: {split}-*.parquet"]
    return [*lines, "---"]


def _body(info: Mapping[str, Any]) -> list[str]:
    codec, tokenizer = info["codec"], info["tokenizer"]
    streams = ", ".join(f"{stream['name']} ({stream['size']})" for stream in codec["streams"])
    lines = [
        f"# Text and speech codes of codec {codec['name']}",
        "",
        "Made by `slmtk build-dataset`. Each row is a text and the codes of a recording of it, or a text alone "
        "(task `text`).",
        "",
        "| split | rows | hours | frames | text tokens | speakers |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for split, stats in info["splits"].items():
        hours = stats["seconds"] / 3600
        counts = f"{stats['frames']:,} | {stats['text_tokens']:,} | {stats['speakers']:,}"
        lines.append(f"| {split} | {stats['rows']:,} | {hours:.3f} | {counts} |")
    speaker = f"a speaker vector of {codec['speaker_dim']} values" if codec["speaker_dim"] else "no speaker vector"
    vectors = info["speaker"]
    lines += [
        "",
        f"- Tasks: {_counts(info)}",
        f"- Codec: {codec['name']} {codec['revision']}".rstrip()
        + f", {codec['sample_rate']} Hz, {codec['frame_rate']:g} frames/s, streams {streams}, {speaker}",
        *([f"- `speaker_vector`: by {vectors['weights']}"] if vectors["weights"] else []),
        f"- Text tokenizer: {tokenizer['name']}, {tokenizer['vocab_size']:,} ids",
        "- `codes` is frame by frame: code of stream k in frame t is `codes[t * K + k]`",
        "",
        "## Left out",
        "",
    ]
    dropped = info["dropped"]
    if not dropped:
        return [*lines, "Nothing."]
    lines += ["| reason | rows | seconds |", "|---|---:|---:|"]
    lines += [f"| {reason} | {counts['rows']:,} | {counts['seconds']:.1f} |" for reason, counts in dropped.items()]
    return [*lines, "", "`dropped.jsonl` names every row that was left out."]


def _counts(info: Mapping[str, Any]) -> str:
    counts = {
        task: sum(stats.get("tasks", {}).get(task, 0) for stats in info["splits"].values()) for task in info["tasks"]
    }
    return ", ".join(f"{task} ({count:,} rows)" for task, count in counts.items())
