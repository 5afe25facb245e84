"""The words of the project: what a codec's streams are and what an utterance is, from audio to score.

Letters in shapes, everywhere: B utterances, C channels, S samples, K codebooks (streams), T frames, L tokens,
V vocabulary, D features. Codes are integers [B, K, T] (or [K, T] for one utterance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmtk.errors import FormatError

FAMILIES = ("coupled", "semi-decoupled", "decoupled")


@dataclass(frozen=True)
class Stream:
    """One named codebook of a codec.

    Attributes:
        name: unique within the codec, for example "content1".
        size: how many codes it has; codes are 0 .. size - 1.
        kind: "content", "prosody", "semantic", "acoustic", "residual" or "mixed".
    """

    name: str
    size: int
    kind: str = "mixed"


@dataclass(frozen=True)
class CodecSpec:
    """What somebody needs to know of a codec to use its codes, stored with every file of codes.

    Attributes:
        name: the plug-in's name.
        sample_rate: Hz of the audio that goes in and comes out.
        frame_size: samples per frame (the hop); not every codec's frame rate is a whole number.
        streams: the codebooks in the order of K.
        family: "coupled", "semi-decoupled" or "decoupled".
        speaker_dim: width D of the utterance-wide speaker vector, 0 if the codec has none.
        revision: of the weights, as published (a tag or commit), or the version of embedded tables.
        weights_sha256: of the weights file, so that two codecs of one name cannot be confused.
        source: what `slmtk.codecs.base.load_codec` was given, if that is not ``name``: "module:Class", or a plug-in's
            name of its own. It says where to find the codec, not which one it is, so equality ignores it.
    """

    name: str
    sample_rate: int
    frame_size: int
    streams: tuple[Stream, ...]
    family: str = "coupled"
    speaker_dim: int = 0
    revision: str = ""
    weights_sha256: str = ""
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check that the values belong together.

        Raises:
            FormatError: a size is not positive, a stream's name occurs twice or the family is unknown.
        """
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) != len(names):
            raise FormatError(f"codec {self.name!r} names its streams {names}; one or more different names are needed")
        if min(self.sample_rate, self.frame_size, *self.codebook_sizes) <= 0 or self.speaker_dim < 0:
            raise FormatError(f"codec {self.name!r} has a size that is not positive: {self}")
        if self.family not in FAMILIES:
            raise FormatError(f"codec {self.name!r} has family {self.family!r}; expected one of {', '.join(FAMILIES)}")

    @property
    def num_codebooks(self) -> int:
        """K, the number of streams."""
        return len(self.streams)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes per stream, in the order of K."""
        return tuple(stream.size for stream in self.streams)

    @property
    def frame_rate(self) -> float:
        """Frames per second in Hz, not always whole."""
        return self.sample_rate / self.frame_size

    @property
    def bits_per_second(self) -> float:
        """Bit rate of the codes, the speaker vector apart."""
        return self.frame_rate * sum(math.log2(size) for size in self.codebook_sizes)

    def num_frames(self, num_samples: int) -> int:
        """Frames that hold ``num_samples`` samples; a last, partial frame counts."""
        return -(-num_samples // self.frame_size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; `from_dict` reads them back."""
        values = {
            "name": self.name,
            "sample_rate": self.sample_rate,
            "frame_size": self.frame_size,
            "frame_rate": self.frame_rate,
            "streams": [{"name": s.name, "size": s.size, "kind": s.kind} for s in self.streams],
            "family": self.family,
            "speaker_dim": self.speaker_dim,
            "revision": self.revision,
            "weights_sha256": self.weights_sha256,
        }
        return values | ({"source": self.source} if self.source else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CodecSpec:
        """Inverse of `to_dict`.

        Raises:
            FormatError: a key is missing or a value has the wrong kind.
        """
        try:
            streams = tuple(Stream(str(s["name"]), int(s["size"]), str(s["kind"])) for s in values["streams"])
            return cls(
                name=str(values["name"]),
                sample_rate=int(values["sample_rate"]),
                frame_size=int(values["frame_size"]),
                streams=streams,
                family=str(values["family"]),
                speaker_dim=int(values["speaker_dim"]),
                revision=str(values["revision"]),
                weights_sha256=str(values["weights_sha256"]),
                source=str(values.get("source", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a codec's description ({error!r} in {dict(values)!r})") from error

    def differences(self, other: CodecSpec) -> list[str]:
        """Lines "key: ours, theirs" for every value in which ``other`` differs; empty if codes are interchangeable."""
        mine, theirs = self.to_dict(), other.to_dict()
        keys = [key for key in mine if key != "source" and mine[key] != theirs[key]]
        return [f"{key}: {mine[key]!r}, {theirs[key]!r}" for key in keys]


@dataclass(frozen=True)
class Utterance:
    """One recording, or one part of a recording, with what is known of it.

    Attributes:
        id: unique in its corpus, stable between runs; sorts the corpus.
        path: the sound file; None where the audio is in memory (a Hugging Face dataset).
        text: what is said, as the corpus has it.
        speaker: the corpus's name of the speaker.
        language: as the corpus states it.
        extra: further columns of a manifest or dataset (numbers for filters, for example DNSMOS).
        locator: where in ``path`` it lies if not the whole file, for the corpus's reader alone.
    """

    id: str
    path: Path | None
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    extra: Mapping[str, float | str] = field(default_factory=dict)
    locator: Any = None


def check_unique_ids(utterances: Sequence[Utterance]) -> None:
    """Raise if two utterances share an id.

    Raises:
        FormatError: names the first id that occurs twice, and both files.
    """
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        if utterance.id in seen:
            first = seen[utterance.id]
            raise FormatError(f"two utterances have the id {utterance.id!r}: {first.path} and {utterance.path}")
        seen[utterance.id] = utterance
