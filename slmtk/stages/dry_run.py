"""What a command would read, do and write, checked without weights, audio or network, before any of it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmtk import plugins
from slmtk.codecs.base import codec_class
from slmtk.data.text_ids import FILE_NAME
from slmtk.errors import CodecMismatchError, ConfigError, FormatError
from slmtk.models.config import SpeechLMConfig
from slmtk.models.released_files import read_object
from slmtk.spec import CodecSpec

ABSENT = "not there yet"
MODEL_INFO = "slmtk.json"


@dataclass(frozen=True)
class Plan:
    """What a dry run prints.

    Attributes:
        would_read: "what: place (what was found there)".
        would_do: in the order of work.
        would_write: the folder.
        dry_run: tells this report from that of a run.
    """

    would_read: tuple[str, ...]
    would_do: tuple[str, ...]
    would_write: str
    dry_run: bool = True


def source(what: str, place: Path | str, describe: Callable[[Path], str] | None = None) -> str:
    """One line on an input: what ``describe`` finds in it, or that it is not there yet.

    Raises:
        SlmtkError: as ``describe``; what is there must fit.
    """
    path = Path(place)
    if not path.exists():
        return f"{what}: {place} ({ABSENT})"
    return f"{what}: {place} ({describe(path)})" if describe else f"{what}: {place}"


def codec(name: str, codebooks: int | None = None, checkpoint: Path | None = None) -> str:
    """One line on a codec, from its class alone.

    Raises:
        PluginError: no such codec.
        MissingDependencyError: a package that it needs is not installed.
        ConfigError: it has no choice of codebooks, or not so many.
    """
    kind = codec_class(name)
    if codebooks is not None and not kind.variable_codebooks:
        raise ConfigError(f"codec {name!r} has no choice of codebooks; leave out --codebooks {codebooks}")
    if kind.card is None:
        return f"codec: {name}"
    spec = kind.card.spec
    if codebooks is not None and codebooks > spec.num_codebooks:
        raise ConfigError(f"--codebooks {codebooks}: codec {name!r} has {spec.num_codebooks} streams")
    streams = ", ".join(stream.name for stream in spec.streams[:codebooks])
    return f"codec: {name} ({streams}; {spec.frame_rate:g} frames a second; weights {_weights(name, checkpoint)})"


def _weights(name: str, checkpoint: Path | None) -> str:
    if checkpoint is not None:
        return f"in {checkpoint}"
    card = codec_class(name).card
    if card is None or card.published is None:
        return "included"
    return "cached" if card.published.is_cached() else f"would be fetched from {card.published.repo}"


def model(folder: Path, task: str) -> str:
    """One line on a model folder, which must know ``task`` and whose codec must be installed; its weights stay unread.

    Raises:
        FormatError: the folder is there and holds no finished model.
        ConfigError: the model was not trained for ``task``.
        PluginError: its codec is not installed.
        CodecMismatchError: the codec here has other streams.
    """

    def describe(path: Path) -> str:
        if not (path / MODEL_INFO).is_file():
            raise FormatError(f"{path} holds no {MODEL_INFO}; expected a folder written by `slmtk train`")
        info = read_object(path / MODEL_INFO)
        if info.get("kind") != "model" or not (path / "config.json").is_file():
            raise FormatError(f"{path} holds no finished model; run `slmtk train` on it again to finish it")
        if not (path / "tokenizer" / FILE_NAME).is_file():
            raise FormatError(f"{path} holds no tokenizer; copy the whole folder that `slmtk train` wrote")
        tasks = [str(name) for name in info.get("tasks", ["tts"])]
        if task not in tasks:
            raise ConfigError(f"the model {path} was trained for {', '.join(tasks)} and not for {task!r}")
        spec = CodecSpec.from_dict(info.get("codec", {}))
        _check_codec(path, spec)
        layout = SpeechLMConfig(**read_object(path / "config.json")).make_layout()
        return f"{layout.kind}, {layout.num_heads} heads, codec {spec.name}"

    return source("model", folder, describe)


def _check_codec(folder: Path, spec: CodecSpec) -> None:
    card = codec_class(spec.source or spec.name).card
    if card is not None and card.spec.codebook_sizes[: spec.num_codebooks] != spec.codebook_sizes:
        raise CodecMismatchError(
            f"the model {folder} speaks codes of {spec.codebook_sizes}, the codec {spec.name!r} here has "
            f"{card.spec.codebook_sizes}"
        )


def plug_in(group: str, name: str, model: str | None = None) -> str:
    """One line on a recogniser ("slmtk.asr") or speaker encoder ("slmtk.speakers"): it is there, its model may not be.

    Raises:
        PluginError: no such plug-in.
        MissingDependencyError: a package that it needs is not installed.
    """
    plugins.load(group, name)
    what = {"slmtk.asr": "recogniser", "slmtk.speakers": "speaker encoder"}[group]
    if model is None:
        return f"{what}: {name}"
    return f"{what}: {name} with {model}" + ("" if Path(model).exists() else " (of the hub, unless it is cached)")
