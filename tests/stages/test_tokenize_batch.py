"""tokenize --batch-seconds: only equal lengths meet, memory that does not suffice halves the batch, bytes stay."""

from __future__ import annotations

import pytest
import soundfile
import torch

from slmtk import shards
from slmtk.stages.tokenize.batch import Batcher, Codes, NoCodes
from tests.helpers.tone import ToneCodec
from tests.helpers.tone_corpus import (
    FIVE_A_PART,
    RATE,
    Notebook,
    compute_in_this_process,
    contents,
    run,
    tones,
    write_tones,
)


class NotingCodec(ToneCodec):
    """Keeps the shapes it was given; fails as a GPU does above ``most`` samples, and on a first sample of 1."""

    def __init__(self, most: int = 1 << 40, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most, self.error, self.shapes = most, error, []

    def encode(self, wav):
        self.shapes.append((wav.shape[0], wav.shape[1] // 320))
        if wav.numel() > self.most:
            raise self.error("HIP out of memory. Tried to allocate 2 GiB")
        if bool((wav[:, 0] == 1).any()):
            raise ValueError("bad sample")
        return super().encode(wav)


class SmallMemoryCodec(ToneCodec):
    """Has memory for 20 frames at once."""

    def encode(self, wav):
        if wav.numel() > 20 * 320:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().encode(wav)


def wavs(*frames: int) -> list[torch.Tensor]:
    """One recording of each length, all of another pitch."""
    return [torch.from_numpy(tones([place] * count, [1] * count)) for place, count in enumerate(frames)]


def pitches(results) -> list[int]:
    return [int(result.codes[0, 0]) for result in results]


def test_batches_are_of_equal_length_longest_first_and_filled_to_the_budget():
    codec = NotingCodec()
    results = Batcher(codec, "cpu", 12 * 0.02).encode(wavs(4, 6, 4, 5, 4, 6, 4, 13))
    assert codec.shapes == [(1, 13), (2, 6), (1, 5), (3, 4), (1, 4)]
    assert pitches(results) == list(range(8))
    assert [result.codes.shape[1] for result in results] == [4, 6, 4, 5, 4, 6, 4, 13]


def test_without_a_budget_each_is_encoded_alone():
    codec = NotingCodec()
    Batcher(codec, "cpu", 0).encode(wavs(4, 4, 5))
    assert codec.shapes == [(1, 5), (1, 4), (1, 4)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_memory_that_does_not_suffice_halves_the_batch_from_then_on_and_is_told_once(error):
    codec = NotingCodec(most=10 * 320, error=error)
    batcher = Batcher(codec, "cpu", 1.0)
    results = batcher.encode(wavs(*[4] * 10))
    # 40 frames, then 20, are too many; 10 frames hold two of 4.
    assert codec.shapes == [(10, 4), (5, 4), *[(2, 4)] * 5]
    assert pitches(results) == list(range(10))
    assert batcher.notes == [
        "out of memory with 1 s of audio at once: going on with half, and half again where that is too much; "
        "--batch-seconds sets it from the start"
    ]
    codec.shapes.clear()
    batcher.encode(wavs(4, 4, 4))
    assert codec.shapes == [(2, 4), (1, 4)]
    assert len(batcher.notes) == 1


def test_what_does_not_fit_alone_fails_alone_with_advice():
    codec = NotingCodec(most=10 * 320)
    small, large = Batcher(codec, "cpu", 1.0).encode(wavs(4, 11))
    assert isinstance(small, Codes)
    assert isinstance(large, NoCodes)
    assert large.kind == "memory"
    assert large.message.endswith("does not fit in memory even alone: split long recordings with --max-seconds")


def test_one_bad_recording_does_not_spoil_its_batch():
    good, bad, fine = wavs(4, 4, 4)
    bad = bad.clone()
    bad[0] = 1
    codec = NotingCodec()
    results = Batcher(codec, "cpu", 1.0).encode([good, bad, fine])
    assert codec.shapes == [(3, 4), (1, 4), (1, 4), (1, 4)]
    assert results[1] == NoCodes("codec", "ValueError: bad sample")
    assert (pitches([results[0], results[2]])) == [0, 2]


def test_the_bytes_are_the_same_for_any_budget_here_and_in_worker_processes(tmp_path, monkeypatch):
    source = write_tones(tmp_path / "in", 40)
    (source / "s0/1/s0-1-bad.flac").write_bytes(b"no sound")
    run(source, tmp_path / "alone", shard_hours=4 * FIVE_A_PART)
    run(source, tmp_path / "workers", shard_hours=4 * FIVE_A_PART, batch_seconds=0.5, workers=2)
    compute_in_this_process(monkeypatch)
    for budget in (None, 0.0, 0.3, 100.0):
        run(source, tmp_path / f"{budget}", shard_hours=4 * FIVE_A_PART, batch_seconds=budget)
        assert contents(tmp_path / f"{budget}") == contents(tmp_path / "alone")
    assert contents(tmp_path / "workers") == contents(tmp_path / "alone")


def test_a_run_short_of_memory_says_so_once_and_gives_the_same_bytes(tmp_path, monkeypatch):
    source = write_tones(tmp_path / "in", 60)
    soundfile.write(source / "s0/1/s0-1-long.flac", tones([3] * 30, [1] * 30), RATE)
    compute_in_this_process(monkeypatch)
    notebook = Notebook()
    report = run(source, tmp_path / "out", notebook, codec=f"{__name__}:SmallMemoryCodec")
    assert sum(line.startswith("out of memory with") for line in notebook.lines) == 1
    assert report.failures == {"memory": 1}
    (source / "s0/1/s0-1-long.flac").unlink()
    run(source, tmp_path / "alone", batch_seconds=0.0)
    run(source, tmp_path / "short", codec=f"{__name__}:SmallMemoryCodec")
    (alone, short) = (list(shards.open_codes(tmp_path / name).rows()) for name in ("alone", "short"))
    assert [(row.id, row.codes.tolist()) for row in short] == [(row.id, row.codes.tolist()) for row in alone]
    assert contents(tmp_path / "short")["part-00000.parquet"] == contents(tmp_path / "alone")["part-00000.parquet"]
