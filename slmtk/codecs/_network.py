"""What codecs that are one neural network share on the way audio -> codes -> audio: loading it, running it exactly."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from slmtk.codecs._blocks import SkipLstm
from slmtk.codecs.base import Card, Codec, Encoded, check_codes, check_wav
from slmtk.codecs.precision import run_exactly
from slmtk.codecs.rendering import RecurrentRenderer, Renderer
from slmtk.codecs.weights import load_strictly, locate, read_state, sha256_of
from slmtk.errors import FormatError


class CodecNetwork(nn.Module, ABC):
    """The two directions of a codec's network."""

    @abstractmethod
    def encode(self, wav: Tensor) -> Tensor:
        """Float32 [B, S] -> codes int64 [B, K, T]."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T] -> float32 [B, T * frame_size]; the codec clips it to [-1, 1]."""


class NetworkCodec(Codec):
    """A codec whose weights are one published file and whose codes hold everything, the voice too.

    On the CPU utterances go through the network one by one: kernels are chosen by batch size, and with them the last
    bit of a distance to a codebook's rows. On a GPU they go together. Results are on the device of the input.
    """

    card: ClassVar[Card]

    def __init__(self, network: CodecNetwork, sha256: str, device: str) -> None:
        """Take a network with the weights whose file has ``sha256``."""
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = torch.device(device)
        self.spec = dataclasses.replace(self.card.spec, weights_sha256=sha256)

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> Self:
        """Load the published weights, or those of the file or folder ``checkpoint``.

        Raises:
            WeightsError: they are neither here nor can they be fetched.
            FormatError: the checkpoint is not this codec's.
        """
        assert cls.card.published is not None
        path = locate(cls.card.published, cls.card.published.files[0], checkpoint)
        state = fold_weight_norm(cls.unpack(read_state(path), path), path)
        # On "meta" no time goes into random weights that are replaced at once.
        with torch.device("meta"):
            network = cls.build(state, path)
        network.to_empty(device="cpu")
        load_strictly(network, state, path)
        return cls(network, sha256_of(path), device)

    @classmethod
    @abstractmethod
    def unpack(cls, state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """Return what inference needs of the published file, under the names that `build`'s module gives it.

        Raises:
            FormatError: the file holds something else.
        """

    @classmethod
    @abstractmethod
    def build(cls, state: Mapping[str, Tensor], path: Path) -> CodecNetwork:
        """Return the network for ``state``, whose weights are still to be loaded.

        Raises:
            FormatError: ``state`` is of a network that this codec does not have.
        """

    def encode(self, wav: Tensor) -> Encoded:
        """Return codes int64 [B, K, T] of ``wav``, float [B, S] in [-1, 1] with S = T * ``spec.frame_size``.

        Raises:
            ShapeError: S is zero or not a whole number of frames.
        """
        check_wav(wav, self.spec)
        if not len(wav):
            frames = wav.shape[1] // self.spec.frame_size
            return Encoded(torch.zeros(0, self.spec.num_codebooks, frames, dtype=torch.int64, device=wav.device), None)
        codes = run_exactly(self.network.encode, wav.to(self.device, torch.float32))
        return Encoded(codes.to(wav.device), None)

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return audio float32 [B, T * ``spec.frame_size``] in [-1, 1] of codes [B, K, T]; ``speaker`` is not used.

        Raises:
            ShapeError: K or a code does not fit the spec.
        """
        check_codes(codes, self.spec)
        if not codes.numel():
            return torch.zeros(codes.shape[0], codes.shape[2] * self.spec.frame_size, device=codes.device)
        wav = run_exactly(self.network.decode, codes.to(self.device, torch.int64))
        return wav.clamp(-1, 1).to(codes.device)


def walking_renderer(
    layers: nn.Sequential, embed: Callable[[Tensor], Tensor], back_reach: tuple[int, int], codec: NetworkCodec
) -> Renderer:
    """Decode stretch by stretch with a decoder that is a convolution of width seven, a `SkipLstm` and convolutions.

    Args:
        layers: of the decoder, [B, D, T] -> [B, 1, S].
        embed: codes int64 [B, K, T] -> float [B, D, T].
        back_reach: frames before and behind one that the layers after the LSTM look at.
        codec: whose decoder it is.
    """
    lstm, rest = layers[1], layers[2:]
    assert isinstance(lstm, SkipLstm)

    def front(codes: Tensor, start: int, stop: int, state: Any) -> tuple[Tensor, Any]:
        return lstm.walk(layers[0](embed(codes.to(codec.device)))[..., start:stop], state)

    def back(latent: Tensor) -> Tensor:
        wav: Tensor = rest(latent)[:, 0]
        return wav

    size = codec.spec.frame_size
    return RecurrentRenderer(front, back, front_reach=(3, 3), back_reach=back_reach, frame_size=size)


def fold_weight_norm(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Replace every pair ``weight_g``, ``weight_v`` by the weight it stands for, g * v / |v| per first axis.

    What has no partner stays as it is, for the strict loading to refuse.

    Raises:
        FormatError: a pair's shapes do not belong together.
    """
    folded = {}
    for name, tensor in state.items():
        if name.endswith("weight_g") and name[:-1] + "v" in state:
            continue
        scale = state.get(name[:-1] + "g") if name.endswith("weight_v") else None
        if scale is None:
            folded[name] = tensor
            continue
        expected = [len(tensor), *[1] * (tensor.ndim - 1)]
        if list(scale.shape) != expected:
            raise FormatError(f"{path}: {name[:-1]}g is {list(scale.shape)}; expected {expected}")
        direction = tensor.float()
        norm = torch.linalg.vector_norm(direction, dim=tuple(range(1, tensor.ndim)), keepdim=True)
        folded[name[:-2]] = direction * (scale.float() / norm)
    return folded


def nested(state: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping at ``key`` of a PyTorch file, or ``state`` itself where there is none (converted files are flat)."""
    inner = state.get(key)
    return inner if isinstance(inner, Mapping) else state


def only_tensors(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Check that ``state`` maps names to tensors.

    Raises:
        FormatError: it is empty or holds something else; names the first such key.
    """
    if not state:
        raise FormatError(f"{path} holds no tensors of this codec; is it the right checkpoint?")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise FormatError(f"{path}: {name} is a {type(value).__name__}, not a tensor; is it the right checkpoint?")
    return dict(state)


# Running statistics of a codebook's vectors, used in training alone.
_STATISTICS = (".inited", ".cluster_size", ".embed_avg")


def rename(state: Mapping[str, Tensor], shorter: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace in every name the keys of ``shorter`` by its values, in order, and leave codebooks' statistics out."""
    renamed = {}
    for name, tensor in state.items():
        if "._codebook." in name and name.endswith(_STATISTICS):
            continue
        for part, short in shorter.items():
            name = name.replace(part, short)
        renamed[name] = tensor
    return renamed
