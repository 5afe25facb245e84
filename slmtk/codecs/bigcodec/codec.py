"""The codec `bigcodec`: audio -> one stream of 8,192 codes -> audio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from slmtk.codecs._network import NetworkCodec, nested, only_tensors, walking_renderer
from slmtk.codecs.base import Card
from slmtk.codecs.bigcodec.activation import low_pass
from slmtk.codecs.bigcodec.network import CODES, DECODER_REACH, Network
from slmtk.codecs.rendering import Renderer
from slmtk.codecs.weights import Published
from slmtk.errors import FormatError
from slmtk.spec import CodecSpec, Stream

_PUBLISHED = Published("Alethia/BigCodec", "c6548832eda95a09dcc3485d9b8ef097ce15f387", ("bigcodec.pt",))
# The published file's two groups ("generator" is the decoder and the quantiser), and our names for what is in them.
_GROUPS = {
    "CodecEnc": {"block": "encoder"},
    "generator": {"model": "decoder", "quantizer.layers.0": "quantizer"},
}
_SHORTER = {".block.": ".", ".act.": ".", "._codebook.weight": ".codebook"}


class BigCodec(NetworkCodec):
    """BigCodec, trained on LibriSpeech: 80 frames/s of one code of 13 bits.

    S samples become S / 200 frames, as in the network itself. The authors' script pads before it encodes, and never
    by nothing: audio that is whole frames already gets another frame of zeros. To get the script's codes for such
    audio, append 200 zeros.
    """

    card: ClassVar[Card] = Card(
        CodecSpec("bigcodec", 16_000, 200, (Stream("code", CODES),), revision=_PUBLISHED.revision),
        _PUBLISHED,
        licence="CC-BY-SA-4.0",
        source="Xin et al., BigCodec, arXiv 2409.05377",
    )

    def renderer(self, speaker: Tensor | None = None) -> Renderer:
        """Carry the state of the decoder's LSTM on."""
        network = self.network
        assert isinstance(network, Network)
        return walking_renderer(network.decoder, network.quantizer.decode, DECODER_REACH, self)

    @classmethod
    def unpack(cls, state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """Take the published file's two groups, of a training run's checkpoint or of a flat file "group.name" too.

        Raises:
            FormatError: an anti-aliasing filter is not the one the network computes.
        """
        expected = torch.tensor(low_pass())
        short = {}
        for name, tensor in only_tensors(dict(_renamed(state)), path).items():
            if not name.endswith(".filter"):
                short[name] = tensor
            elif tensor.numel() != expected.numel() or not torch.allclose(
                tensor.float().flatten(), expected, atol=1e-5
            ):
                raise FormatError(f"{path}: {name} is another low-pass filter than BigCodec's; is it another model?")
        return short

    @classmethod
    def build(cls, state: Mapping[str, Tensor], path: Path) -> Network:
        """Return the network, of which there is one size."""
        return Network()


def _renamed(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tensors of both groups under our names; discriminators and losses are in neither group and stay behind."""
    for group, roots in _GROUPS.items():
        if isinstance(state.get(group), Mapping):
            inside = dict(state[group])
        else:
            flat = nested(state, "state_dict")
            starts = (f"{group}.", f"model.{group}.")  # converted; from the authors' trainer
            inside = {n.split(f"{group}.", 1)[1]: value for n, value in flat.items() if n.startswith(starts)}
        for name, value in inside.items():
            for long, shorter in roots.items():
                if name.startswith(f"{long}."):
                    name = shorter + name[len(long) :]
                    break
            for long, shorter in _SHORTER.items():
                name = name.replace(long, shorter)
            yield name, value
