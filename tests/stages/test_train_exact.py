"""Training is the same run however it is cut: into batches, processes, or by a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from slmtk.progress import SilentProgress
from slmtk.stages.train import train
from tests.helpers.tiny_run import TINY, make_dataset

SILENT = SilentProgress()
# Rows of many lengths: means of means would differ from the mean.
CONFIG = replace(TINY, steps=6, log_every=1, num_targets=0, save_every=100)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("tones"), 30)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "model"
    train(dataset, out, CONFIG, SILENT)
    return out


def log_of(model):
    return [json.loads(line) for line in (model / "train_log.jsonl").read_text().splitlines()]


def assert_same_run(one, other):
    """Losses to 1e-5 of their value; weights to a hundredth of what 6 steps of learning rate 5e-4 may move them."""
    for ours, theirs in zip(log_of(one), log_of(other), strict=True):
        for key in ("loss", "text_loss", "head_loss", "head_top1", "grad_norm", "eval_loss", "eval_head_loss"):
            if key in ours or key in theirs:
                assert ours[key] == pytest.approx(theirs[key], rel=1e-5, abs=2e-5), (key, ours["step"])
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    for key in ours:
        if not key.endswith("k_proj.bias"):  # has no gradient but rounding, which AdamW makes a step of
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=3e-5, msg=key)


def test_the_same_seed_gives_the_same_weights_bit_by_bit(dataset, whole, tmp_path):
    train(dataset, tmp_path / "again", CONFIG, SILENT)
    one, other = load_file(whole / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("batch", "accumulation"), [(1, 4), (2, 2)])
def test_accumulated_batches_are_one_large_batch(dataset, whole, tmp_path, batch, accumulation):
    config = replace(CONFIG, batch_size=batch, accumulation=accumulation)
    train(dataset, tmp_path / "model", config, SILENT)
    assert_same_run(tmp_path / "model", whole)


def test_accumulated_interleaved_batches_are_one_large_batch(dataset, tmp_path):
    for name, batch, accumulation in (("one", 4, 1), ("four", 1, 4)):
        config = replace(CONFIG, layout="interleaved", steps=3, batch_size=batch, accumulation=accumulation)
        train(dataset, tmp_path / name, config, SILENT)
    assert_same_run(tmp_path / "one", tmp_path / "four")


@pytest.mark.slow
def test_two_processes_train_as_one_and_a_refusal_is_said_once(dataset, whole, tmp_path):
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "cat.jpg").touch()
    options = ["--size", "xs", "--steps", "6", "--batch-size", "2", "--frames-per-step", "2", "--device", "cpu"]
    options += ["--num-targets", "0", "--log-every", "1"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    command = [*launch, "-m", "tests.helpers.ranks", str(dataset), str(tmp_path), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not empty and holds no slmtk.json") == 1
    assert [(tmp_path / f"rank-{rank}").read_text() for rank in (0, 1)] == ["1 0", "0 0"]
    assert [(tmp_path / f"closed-{rank}").read_text() for rank in (0, 1)] == ["closed", "closed"]
    assert json.loads(done.stdout)["steps"] == 6  # one report, by one process
    assert_same_run(tmp_path / "model", whole)


@pytest.mark.slow
def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights_bit_by_bit(dataset, tmp_path):
    command = [sys.executable, "-m", "tests.helpers.killed_training", str(dataset), str(tmp_path), "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    kills, resumed = done.stdout.split()[-2:]
    assert kills == "2"
    assert int(resumed) > 0
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    for one, other in zip(log_of(tmp_path / "whole"), log_of(tmp_path / "killed"), strict=True):
        for key in ("step", "epoch", "loss", "head_loss", "head_top1", "grad_norm", "learning_rate", "eval_loss"):
            assert one.get(key) == other.get(key), key
