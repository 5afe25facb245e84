"""A folder of codes, a dataset and a trained model small enough for tests, made by the real stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from slmtk.progress import SilentProgress
from slmtk.shards import CodesRow, part_name, write_index, write_shard
from slmtk.stages.build_dataset import BuildDatasetConfig, build_dataset
from slmtk.stages.train import TrainConfig
from tests.helpers.tone import VoicedToneCodec

WORDS = ("low", "high", "rising", "falling")
TINY = TrainConfig(size="xs", steps=6, batch_size=4, save_every=2, log_every=2, frames_per_step=2, device="cpu")


def use_voiced_tone(monkeypatch) -> None:
    """Let the name "voiced-tone" load `VoicedToneCodec`, as an installed plug-in would."""
    from slmtk import plugins

    load = plugins.load
    monkeypatch.setattr(
        plugins, "load", lambda group, name: VoicedToneCodec if name == "voiced-tone" else load(group, name)
    )


def write_codes(folder: Path, count: int = 24) -> Path:
    """Codes whose pitch says which word of `WORDS` the text has."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        word, frames = number % 4, 9 + number % 5
        pitch = {0: np.full(frames, 5), 1: np.full(frames, 40), 2: np.arange(frames), 3: 30 - np.arange(frames)}[word]
        codes = np.stack([pitch, random.integers(0, 3, frames)]).astype(np.int32)
        vector = np.array([0.2 + 0.1 * (number % 3)], dtype=np.float32)
        rows.append(
            CodesRow(f"u{number:03d}", codes, frames * 0.02, WORDS[word], f"s{number % 3}", speaker_vector=vector)
        )
    info = write_shard(folder / part_name(0), VoicedToneCodec.spec, rows)
    write_index(folder, VoicedToneCodec.spec, {}, "codes", [info], 0)
    return folder


def make_dataset(folder: Path, count: int = 24) -> Path:
    """A dataset of `write_codes`, a fifth of it for dev."""
    config = BuildDatasetConfig()
    config = replace(config, filters=replace(config.filters, min_seconds=0.0, max_chars_per_second=1000.0))
    config = replace(config, split=replace(config.split, dev_fraction=0.2))
    build_dataset([write_codes(folder / "codes", count)], folder / "dataset", config, SilentProgress())
    return folder / "dataset"
