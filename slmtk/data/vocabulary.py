"""Which number stands for what in a model's sequences: text, control tokens, then the codes of every stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmtk.errors import FormatError
from slmtk.spec import CodecSpec

NUM_LEADING_CONTROLS = 4  # [Human], [Assistant], <sosp>, <|placeholder|> stand between the text and the codes


@dataclass(frozen=True)
class Vocabulary:
    """Ids of text, control tokens and codes; two models with equal vocabularies read each other's sequences.

    The text tokenizer's ids come first, then [Human], [Assistant], <sosp>, <|placeholder|>, the codes of stream
    0, 1, ... K - 1, <eosp> and <|speech_pad|>: the order of the released multi-token models of arXiv 2506.12537.

    Attributes:
        text_size: ids 0 .. text_size - 1 belong to the text tokenizer.
        spec: of the codec whose codes follow the text.
    """

    text_size: int
    spec: CodecSpec

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            FormatError: ``text_size`` is not positive.
        """
        if self.text_size <= 0:
            raise FormatError(f"a vocabulary needs one text token or more; found text_size {self.text_size}")

    @property
    def human(self) -> int:
        """Id of ``[Human]``: what follows is said to the model."""
        return self.text_size

    @property
    def assistant(self) -> int:
        """Id of ``[Assistant]``: what follows is said by the model."""
        return self.text_size + 1

    @property
    def sosp(self) -> int:
        """Id of ``<sosp>``: codes begin behind it."""
        return self.text_size + 2

    @property
    def placeholder(self) -> int:
        """Id of ``<|placeholder|>``: its embedding is replaced by the projected speaker vector."""
        return self.text_size + 3

    @property
    def first_code(self) -> int:
        """Id of code 0 of stream 0."""
        return self.text_size + NUM_LEADING_CONTROLS

    def code_offset(self, stream: int) -> int:
        """Id of code 0 of stream ``stream`` (0 .. K - 1).

        Raises:
            FormatError: there is no such stream.
        """
        sizes = self.spec.codebook_sizes
        if not 0 <= stream < len(sizes):
            raise FormatError(f"codec {self.spec.name!r} has streams 0 to {len(sizes) - 1}; found {stream}")
        return self.first_code + sum(sizes[:stream])

    @property
    def eosp(self) -> int:
        """Id of ``<eosp>``: the codes have ended."""
        return self.first_code + sum(self.spec.codebook_sizes)

    @property
    def pad(self) -> int:
        """Id of ``<|speech_pad|>``: fills the last group of frames."""
        return self.eosp + 1

    @property
    def size(self) -> int:
        """Number of ids: rows of the embedding table."""
        return self.pad + 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; `from_dict` reads them back. Everything behind "codec" is there for people to read."""
        streams = self.spec.streams
        return {
            "text_size": self.text_size,
            "codec": self.spec.to_dict(),
            "size": self.size,
            "control": {
                "[Human]": self.human,
                "[Assistant]": self.assistant,
                "<sosp>": self.sosp,
                "<|placeholder|>": self.placeholder,
                "<eosp>": self.eosp,
                "<|speech_pad|>": self.pad,
            },
            "code_offsets": {stream.name: self.code_offset(k) for k, stream in enumerate(streams)},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Vocabulary:
        """Inverse of `to_dict`.

        Raises:
            FormatError: a key is missing, a value has the wrong kind, or the ids are numbered in another way.
        """
        try:
            vocabulary = cls(int(values["text_size"]), CodecSpec.from_dict(values["codec"]))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a vocabulary ({error!r} in {dict(values)!r})") from error
        expected = vocabulary.to_dict()
        for key in ("size", "control", "code_offsets"):
            if key in values and values[key] != expected[key]:
                raise FormatError(
                    f"the vocabulary's {key} is {values[key]!r}, but this version of slmtk numbers them "
                    f"{expected[key]!r}; build the dataset again"
                )
        return vocabulary

    def differences(self, other: Vocabulary) -> list[str]:
        """Lines "key: ours, theirs" for all that differs; empty if sequences are interchangeable."""
        lines = []
        if self.text_size != other.text_size:
            lines.append(f"text_size: {self.text_size}, {other.text_size}")
        return lines + [f"codec {line}" for line in self.spec.differences(other.spec)]
