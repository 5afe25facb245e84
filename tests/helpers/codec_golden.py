"""Golden arrays of published codecs: seeded weights written as the published file, and comparisons that allow ties."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slmtk.codecs._network import NetworkCodec


def codec_folder(shared_data: Path, codec: str) -> Path:
    """The folder with the codec's golden arrays; skips where there is none."""
    folder = shared_data.parent / "conformance" / codec
    if not folder.is_dir():
        pytest.skip(f"no golden arrays of {codec} here")
    return folder


def fill(folder: Path, spec: str, seed: int) -> dict[str, Any]:
    """Seeded weights of the state dict that ``spec`` lists, nested as in the published file, as tensors."""
    loader = importlib.util.spec_from_file_location(f"fill_{folder.name}", folder / "fill_weights.py")
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return _tensors(module.fill(str(folder / spec), seed))


def _tensors(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _tensors(value) if isinstance(value, dict) else torch.from_numpy(value) for name, value in values.items()
    }


class Golden:
    """The arrays of one file, as tensors: ``golden["wav", 0]`` is wav0."""

    def __init__(self, path: Path) -> None:
        self._arrays = np.load(path)
        self.seed, self.sample_rate, self.frame_size = (int(self._arrays[n]) for n in ("seed", "sample_rate", "hop"))
        self.cases = range(sum(name.startswith("wav") for name in self._arrays))

    def __getitem__(self, key: tuple[str, int | str]) -> Tensor:
        return torch.from_numpy(self._arrays[f"{key[0]}{key[1]}"])

    def source(self, case: int) -> str:
        """Where the audio of ``case`` was cut from, for messages; the cases that are cut from others have none."""
        if f"file{case}" not in self._arrays:
            return f"case {case}"
        return f"case {case} ({self._arrays[f'file{case}']} from sample {self._arrays[f'offset{case}']})"


def assert_codes(ours: Tensor, golden: Golden, case: int, tie: float) -> None:
    """Codes int64 [K, T] are the golden ones, but in frames where two rows are as near as ``tie``, counted and printed.

    After a tie the streams that follow in its frame are of another rest and not compared.
    """
    expected, margins = golden["codes", case].long(), golden["margin", case]
    assert ours.shape == expected.shape
    different = ours != expected
    first = different.int().argmax(0)
    frames = different.any(0).nonzero()[:, 0]
    gaps = margins[first[frames], frames]
    print(f"{golden.source(case)}: {len(frames)} of {ours.shape[1]} frames differ by a tie")
    assert bool((gaps < tie).all()), (
        f"{golden.source(case)}: frames {frames[gaps >= tie].tolist()} differ without a tie"
    )


def margins(points: Tensor, codebook: Tensor) -> Tensor:
    """Gap between the squared distances of the nearest and the second nearest row: [N, D], [V, D] -> float64 [N]."""
    distances = torch.cdist(points.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    near = distances.topk(2, largest=False).values
    return near[:, 1] - near[:, 0]


def encode(codec: NetworkCodec, wav: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int64 [K, T] of ``wav`` float32 [S], and the frames float32 [D, T] that they were chosen for.

    Audio of no whole number of frames goes to the network itself, as the codec does not take it.
    """
    seen: list[Tensor] = []
    handle = codec.network.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        whole = wav.shape[0] % codec.spec.frame_size == 0
        codes = codec.encode(wav[None]).codes if whole else codec.network.encode(wav[None])
    finally:
        handle.remove()
    return codes[0], seen[0][0]
