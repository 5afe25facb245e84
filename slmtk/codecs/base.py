"""The door every codec comes through: audio -> codes (and a speaker vector) -> audio."""

from __future__ import annotations

import dataclasses
import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from slmtk import plugins
from slmtk.codecs.weights import Published
from slmtk.errors import ConfigError, PluginError, ShapeError
from slmtk.spec import CodecSpec

if TYPE_CHECKING:
    from torch import Tensor

    from slmtk.codecs.rendering import Renderer


@dataclass(frozen=True)
class Card:
    """What is known of a codec without its weights.

    Attributes:
        spec: as the loaded codec has it, but for ``weights_sha256``.
        published: where its weights are; None if they come with the package.
        licence: of the weights.
        requires: import names of packages that slmtk does not install by itself.
        source: the paper that describes it.
    """

    spec: CodecSpec
    published: Published | None = None
    licence: str = "Apache-2.0"
    requires: tuple[str, ...] = ()
    source: str = ""


class Encoded(NamedTuple):
    """What a codec makes of a batch.

    Attributes:
        codes: int64 [B, K, T].
        speaker: float32 [B, D] if the codec takes the speaker out of the codes, else None.
    """

    codes: Tensor
    speaker: Tensor | None


class Codec(ABC):
    """Audio <-> codes. An utterance's codes depend on that utterance alone, never on its batch mates."""

    spec: CodecSpec
    card: ClassVar[Card | None] = None
    """What is known before the weights are loaded; `slmtk codecs` lists it without them."""
    cpu_only: ClassVar[bool] = False
    """True if the codec never uses a GPU, whatever device it is created for: then it runs in one process a core."""
    variable_codebooks: ClassVar[bool] = False
    """True if ``create`` also takes ``num_codebooks: int | None`` and the first so many streams can stand alone."""
    can_average: ClassVar[bool] = False
    """True if `average` is there: the codec knows which codes sound alike."""
    decode_context: tuple[int, int] | None = None
    """Frames before and behind a frame that its audio depends on: (0, 0) if on its own codes alone. None if that is
    unknown or has no end: then speech that is decoded while it is generated may differ a little at the joints."""

    @classmethod
    @abstractmethod
    def create(cls, *, device: str = "cpu", checkpoint: Path | None = None) -> Codec:
        """Load the codec; ``checkpoint`` is a local file or folder instead of the published weights.

        Raises:
            FormatError: the checkpoint is not this codec's.
        """

    @abstractmethod
    def encode(self, wav: Tensor) -> Encoded:
        """Return the codes of utterances of equal length.

        Args:
            wav: float32 [B, S] in [-1, 1] at ``spec.sample_rate``, S a multiple of ``spec.frame_size``
                (`slmtk.audio.pad_to_frames` makes it one).

        Returns:
            codes int64 [B, K, T] with T = S / ``spec.frame_size``, and the speaker vectors float32 [B, D] if any.

        Raises:
            ShapeError: S is zero or not a whole number of frames.
        """

    @abstractmethod
    def decode(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Return the audio of ``codes``.

        Args:
            codes: int64 [B, K, T].
            speaker: float32 [B, D]; needed if ``spec.speaker_dim`` is not 0. Another utterance's vector gives that
                utterance's voice.

        Returns:
            float32 [B, S] in [-1, 1], S = T * ``spec.frame_size``.

        Raises:
            ShapeError: K, the range of the codes or the speaker vectors do not fit the spec.
        """

    def average(self, probabilities: Tensor) -> Tensor:
        """Return the codes that sound most like the mean of all codes.

        Args:
            probabilities: float [N, K, V] of each stream's codes in N frames, V that of the largest stream; zero behind
                a smaller one's.

        Returns:
            int64 [N, K].

        Raises:
            ConfigError: the codec does not know which codes sound alike (`can_average`).
        """
        raise ConfigError(
            f"codec {self.spec.name} does not know which of its codes sound alike, so they have no mean; leave out "
            "--choose mean"
        )

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Begin to decode an utterance stretch by stretch, for `slmtk.codecs.streaming`.

        Args:
            speaker: float32 [D]; needed if ``spec.speaker_dim`` is not 0.

        Returns:
            One that decodes windows of `decode_context`; a codec whose decoder remembers more brings its own.
        """
        from slmtk.codecs.rendering import WindowRenderer

        return WindowRenderer(self, speaker)


def check_wav(wav: Tensor, spec: CodecSpec) -> None:
    """Raise if ``wav`` is not what `Codec.encode` takes.

    Raises:
        ShapeError: not float [B, S] with S a positive multiple of ``spec.frame_size``.
    """
    if wav.ndim != 2 or not wav.is_floating_point():
        raise ShapeError(f"audio is {wav.dtype} {list(wav.shape)}; {spec.name} takes float32 [B, S]")
    if not wav.shape[1] or wav.shape[1] % spec.frame_size:
        raise ShapeError(
            f"{wav.shape[1]} samples are not a positive whole number of {spec.frame_size}-sample frames; "
            "slmtk.audio.pad_to_frames makes them one"
        )


def check_codes(codes: Tensor, spec: CodecSpec, speaker: Tensor | None = None) -> None:
    """Raise if ``codes`` and ``speaker`` are not what `Codec.decode` takes.

    Raises:
        ShapeError: wrong shape, a code out of its codebook's range, or a missing or misshapen speaker vector.
    """
    if codes.ndim != 3 or codes.shape[1] != spec.num_codebooks:
        raise ShapeError(f"codes are {list(codes.shape)}; {spec.name} takes [B, {spec.num_codebooks}, T]")
    for stream, row in zip(spec.streams, codes.unbind(1), strict=True):
        if row.numel() and (int(row.min()) < 0 or int(row.max()) >= stream.size):
            raise ShapeError(
                f"stream {stream.name!r} holds codes {int(row.min())}..{int(row.max())}; "
                f"{spec.name} has 0..{stream.size - 1}"
            )
    if spec.speaker_dim and (speaker is None or tuple(speaker.shape) != (codes.shape[0], spec.speaker_dim)):
        found = "none" if speaker is None else str(list(speaker.shape))
        raise ShapeError(f"speaker vectors: {found}; {spec.name} needs [{codes.shape[0]}, {spec.speaker_dim}]")


def load_codec(
    name: str, *, device: str = "cpu", checkpoint: Path | None = None, codebooks: int | None = None
) -> Codec:
    """Load the codec that a plug-in offers as ``name``, or the class "module:Class", which need not be installed.

    Args:
        name: what ``spec.source`` then holds, unless it is the codec's own name.
        device: where the codec runs.
        checkpoint: a local file or folder instead of the published weights.
        codebooks: use the first so many streams, for a lower bit rate; None uses all.

    Raises:
        PluginError: no such codec, or it is not a `Codec`.
        MissingDependencyError: a package it needs is not installed.
        ConfigError: the codec cannot leave out codebooks, or has not so many.
        WeightsError: its weights are neither here nor can they be fetched.
    """
    kind = codec_class(name)
    options: dict[str, Any] = {}
    if codebooks is not None:
        if not kind.variable_codebooks:
            raise ConfigError(f"codec {name!r} has no choice of codebooks; leave out --codebooks {codebooks}")
        options["num_codebooks"] = codebooks
    codec = kind.create(device=device, checkpoint=checkpoint, **options)
    if name != codec.spec.name:
        codec.spec = dataclasses.replace(codec.spec, source=name)
    return codec


def load_codec_of(spec: CodecSpec, *, device: str = "cpu", checkpoint: Path | None = None) -> Codec:
    """Load the codec that made codes with ``spec``, with as many codebooks; its weights may yet differ.

    Raises:
        SlmtkError: as `load_codec`.
    """
    name = spec.source or spec.name
    codebooks = spec.num_codebooks if codec_class(name).variable_codebooks else None
    return load_codec(name, device=device, checkpoint=checkpoint, codebooks=codebooks)


def codec_class(name: str) -> type[Codec]:
    """Import the class behind ``name``, a plug-in or "module:Class", without loading weights.

    Raises:
        PluginError: no such codec, or it is not a `Codec`.
        MissingDependencyError: a package it needs is not installed.
    """
    kind = _import_class(name) if ":" in name else plugins.load("slmtk.codecs", name)
    if not (isinstance(kind, type) and issubclass(kind, Codec)):
        raise PluginError(f"the plug-in {name!r} is {kind!r}; expected a subclass of slmtk.codecs.base.Codec")
    return kind


def _import_class(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"no codec {name!r}: {error}; expected a plug-in's name or module:Class") from error
