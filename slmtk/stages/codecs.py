"""What can stand behind --codec: every plug-in as its card describes it, without loading weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from slmtk import plugins
from slmtk.codecs.base import Card, Codec, codec_class, load_codec
from slmtk.errors import SlmtkError
from slmtk.spec import CodecSpec, Stream


@dataclass(frozen=True)
class CodecRow:
    """One codec.

    Attributes:
        name: for --codec.
        family: "coupled", "semi-decoupled" or "decoupled".
        sample_rate: Hz.
        frame_rate: Hz.
        streams: the codebooks.
        speaker_dim: width of the speaker vector, 0 if there is none.
        bits_per_second: of all streams.
        variable_codebooks: whether --codebooks can leave some out.
        licence: of the weights; "unknown" if the codec does not say.
        installed: whether every package that it needs can be imported.
        missing: the packages that cannot.
        weights: "included" (in a package), "cached" or "not fetched".
        repo: where the weights are published, if anywhere.
        revision: of the weights or embedded tables.
        source: the paper.
    """

    name: str
    family: str
    sample_rate: int
    frame_rate: float
    streams: tuple[Stream, ...]
    speaker_dim: int
    bits_per_second: int
    variable_codebooks: bool
    licence: str
    installed: bool
    missing: tuple[str, ...]
    weights: str
    repo: str | None
    revision: str
    source: str


def list_codecs() -> dict[str, CodecRow | str]:
    """Describe every codec plug-in by name; a line of text for one that cannot be used here."""
    return {name: _describe(name) for name in plugins.available("slmtk.codecs")}


def describe(name: str, kind: type[Codec], card: Card) -> CodecRow:
    """The row of a codec that has a card."""
    missing = tuple(package for package in card.requires if importlib.util.find_spec(package) is None)
    weights = "included" if card.published is None else "cached" if card.published.is_cached() else "not fetched"
    repo = None if card.published is None else card.published.repo
    return _row(name, kind, card.spec, card.licence, missing, weights, repo, card.source)


def codebooks_text(streams: tuple[Stream, ...]) -> str:
    """How many codebooks of which size, for example "8 x 1024" or "64 + 16"."""
    runs: list[list[int]] = []
    for stream in streams:
        if runs and runs[-1][1] == stream.size:
            runs[-1][0] += 1
        else:
            runs.append([1, stream.size])
    return " + ".join(f"{count} x {size}" if count > 1 or len(runs) == 1 else str(size) for count, size in runs)


def _describe(name: str) -> CodecRow | str:
    try:
        kind = codec_class(name)
        if kind.card is not None:
            return describe(name, kind, kind.card)
        return _row(name, kind, load_codec(name).spec, "unknown", (), "included", None, "")
    except SlmtkError as error:
        return " ".join(str(error).split())
    # Somebody else's plug-in may raise anything while it loads; the others are to be listed all the same.
    except (ImportError, AttributeError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())


def _row(
    name: str,
    kind: type[Codec],
    spec: CodecSpec,
    licence: str,
    missing: tuple[str, ...],
    weights: str,
    repo: str | None,
    source: str,
) -> CodecRow:
    return CodecRow(
        name=name,
        family=spec.family,
        sample_rate=spec.sample_rate,
        frame_rate=round(spec.frame_rate, 3),
        streams=spec.streams,
        speaker_dim=spec.speaker_dim,
        bits_per_second=round(spec.bits_per_second),
        variable_codebooks=kind.variable_codebooks,
        licence=licence,
        installed=not missing,
        missing=missing,
        weights=weights,
        repo=repo,
        revision=spec.revision,
        source=source,
    )
