"""The adapter between transformers' codec networks and `slmtk.codecs.base.Codec`: audio <-> codes."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from slmtk import audio
from slmtk.codecs.base import Card, Codec, Encoded, check_codes, check_wav
from slmtk.codecs.hf.loading import CONFIG_NAME, WEIGHTS_NAME, find_folder, load_network, read_config, weights_files
from slmtk.codecs.precision import run_exactly
from slmtk.codecs.weights import Published, sha256_of
from slmtk.errors import ConfigError, FormatError
from slmtk.spec import CodecSpec, Stream

if TYPE_CHECKING:
    from torch import Tensor


def published(repo: str, revision: str = "main") -> Published:
    """Where a checkpoint in transformers' format is published."""
    return Published(repo, revision, (CONFIG_NAME, WEIGHTS_NAME))


def numbered(kind: str, count: int, size: int) -> tuple[Stream, ...]:
    """``count`` streams of one kind: "acoustic1", "acoustic2", ..."""
    return tuple(Stream(f"{kind}{number}", size, kind) for number in range(1, count + 1))


class TransformersCodec(Codec):
    """A codec of transformers. A subclass says which network it is, what its streams are and how it is called.

    The spec follows the checkpoint's config.json, so a checkpoint with other rates or codebooks than the published one
    is described as it is. Nothing is kept between calls.
    """

    card: ClassVar[Card]
    architecture: ClassVar[str]
    """Name of the network in transformers without "Model" and "Config"."""

    def __init__(self, network: Any, spec: CodecSpec, device: str) -> None:
        """Wrap a loaded network; `create` does it from files."""
        self.network, self.spec, self.device = network.to(device), spec, device

    @classmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None, num_codebooks: int | None = None) -> Self:
        """Load the codec.

        Args:
            device: of torch.
            checkpoint: a folder with config.json and safetensors instead of the published ones.
            num_codebooks: use the first so many streams; None uses all.

        Raises:
            WeightsError: the checkpoint is neither here nor can it be fetched.
            FormatError: it is damaged or another network's.
            ConfigError: it has not so many codebooks.
        """
        assert cls.card.published is not None
        folder = find_folder(cls.card.published, checkpoint)
        config = read_config(folder, f"{cls.architecture}Config")
        rate, frame_size, streams = cls.describe(config)
        if num_codebooks is not None and not 1 <= num_codebooks <= len(streams):
            raise ConfigError(f"codec {cls.card.spec.name!r} has 1 to {len(streams)} codebooks, not {num_codebooks}")
        spec = dataclasses.replace(
            cls.card.spec,
            sample_rate=rate,
            frame_size=frame_size,
            streams=streams[:num_codebooks],
            weights_sha256=sha256_of(*weights_files(folder)),
        )
        return cls(load_network(folder, f"{cls.architecture}Model"), spec, device)

    @classmethod
    @abstractmethod
    def describe(cls, config: Any) -> tuple[int, int, tuple[Stream, ...]]:
        """Sample rate in Hz, samples per frame and streams that a configuration stands for.

        Raises:
            FormatError: the configuration asks for something that this adapter does not do.
        """

    def encode(self, wav: Tensor) -> Encoded:
        """Return the codes of ``wav``; see `Codec.encode`.

        Args:
            wav: float [B, S] in [-1, 1].

        Returns:
            codes int64 [B, K, T], T = S / ``spec.frame_size``; no speaker vectors.

        Raises:
            ShapeError: S is zero or not a whole number of frames.
        """
        check_wav(wav, self.spec)
        codes = run_exactly(self._codes, wav.to(self.device).float())
        return Encoded(codes[:, :, : wav.shape[1] // self.spec.frame_size].long().contiguous(), None)

    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return the audio of ``codes``; see `Codec.decode`.

        Args:
            codes: int64 [B, K, T].
            speaker: not used.

        Returns:
            float32 [B, S] in [-1, 1], S = T * ``spec.frame_size``.

        Raises:
            ShapeError: K or the range of the codes does not fit the spec.
        """
        check_codes(codes, self.spec, speaker)
        samples = codes.shape[2] * self.spec.frame_size
        if not samples:
            return codes.new_zeros((codes.shape[0], 0)).float()
        wav = run_exactly(self._wav, codes.to(self.device).long())
        # Some networks' last convolution gives a few samples too many or too few at the end.
        return audio.pad_to_frames(wav[:, :samples].float().clamp(-1, 1), samples)

    @abstractmethod
    def _codes(self, wav: Tensor) -> Tensor:
        """float32 [B, S] -> integers [B, K, T'] with T' >= S / frame_size."""

    @abstractmethod
    def _wav(self, codes: Tensor) -> Tensor:
        """int64 [B, K, T] -> float [B, S'] with S' about T * frame_size."""


def require(config: Any, **expected: Any) -> None:
    """Raise unless the configuration has the ``expected`` values.

    Raises:
        FormatError: names the first that differs.
    """
    for name, value in expected.items():
        if getattr(config, name) != value:
            raise FormatError(
                f"{CONFIG_NAME} of this {config.model_type} checkpoint says {name} = {getattr(config, name)!r}; "
                f"only {value!r} is supported"
            )


def card(
    name: str,
    geometry: tuple[int, int],
    streams: Sequence[Stream],
    weights: Published,
    *,
    family: str,
    licence: str,
    source: str,
) -> Card:
    """A codec's card; ``geometry`` is its sample rate in Hz and samples per frame."""
    spec = CodecSpec(name, *geometry, tuple(streams), family=family, revision=weights.revision)
    return Card(spec, weights, licence=licence, source=source)
