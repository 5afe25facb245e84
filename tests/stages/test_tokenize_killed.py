"""A run that is killed again and again ends with the bytes of one that was not."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from slmtk import shards
from slmtk.errors import ConfigError
from tests.helpers import killed
from tests.helpers.tone import ToneCodec
from tests.helpers.tone_corpus import compute_in_this_process, contents, run, write_tones


@pytest.mark.parametrize("num_shards", [1, 2])
def test_killed_at_ten_random_moments_it_ends_with_the_same_bytes(tmp_path, num_shards):
    source = write_tones(tmp_path / "in", 90)
    (source / "s0/1/s0-1-bad.flac").write_bytes(b"no sound")
    command = [sys.executable, "-m", "tests.helpers.killed", str(source), str(tmp_path), "8", str(num_shards)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    kills, found, *codes = map(int, done.stdout.split())
    # All ten met a living run, some parts were made in spite of them, and some were left to do.
    assert kills == killed.KILLS
    assert 0 < found < 19
    assert codes == [0] * num_shards
    out = tmp_path / "killed"
    assert contents(out) == contents(tmp_path / "whole")
    assert [path.name for path in out.iterdir() if path.is_dir()] == []
    assert shards.verify(out) == []


def test_other_weights_are_refused_with_their_digests(tmp_path, monkeypatch):
    compute_in_this_process(monkeypatch)
    source = write_tones(tmp_path / "in", 2)
    monkeypatch.setattr(ToneCodec, "spec", dataclasses.replace(ToneCodec.spec, weights_sha256="aa", revision="1"))
    run(source, tmp_path / "out")
    (tmp_path / "out/slmtk.json").unlink()  # an unfinished one is no less refused
    monkeypatch.setattr(ToneCodec, "spec", dataclasses.replace(ToneCodec.spec, weights_sha256="bb"))
    with pytest.raises(ConfigError, match=r"another run: codec.weights_sha256 was 'aa', is 'bb'; use another OUT"):
        run(source, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"max_seconds was None, is 5.0"):
        run(source, tmp_path / "out", max_seconds=5.0)
