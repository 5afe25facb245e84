"""A checkpoint of arXiv 2506.12537's released scripts -> a model folder that ``synth`` opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from slmtk.codecs.base import codec_class, load_codec
from slmtk.codecs.weights import load_strictly
from slmtk.config import to_jsonable, write_json
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError, FormatError, first_line
from slmtk.models import released
from slmtk.models.config import SpeechLMConfig
from slmtk.models.released_files import added_tokens, backbone_settings, read_weights, text_tokenizer
from slmtk.models.speech_lm import SpeechLM
from slmtk.progress import Progress
from slmtk.quiet import no_bars
from slmtk.spec import CodecSpec

MODEL_INFO = "slmtk.json"
_TIED, _UNTIED = "backbone.model.embed_tokens.weight", "backbone.lm_head.weight"


@dataclass(frozen=True)
class ImportConfig:
    """What the checkpoint's files do not say."""

    codec: str = "facodec"
    """Codec whose codes the model was trained on."""
    codec_checkpoint: Path | None = None
    """Local weights of the codec."""
    layout: str = "auto"
    """"grouped" (the checkpoint has speech heads), "interleaved" (it has none), or "auto": as found."""
    tokenizer: str | None = None
    """The backbone's tokenizer ("bytes", a folder or hub id) if the checkpoint has none; new ids follow its last."""
    base: str | None = None
    """Folder or hub id with the backbone's config.json, if the checkpoint's does not describe it."""
    tasks: tuple[str, ...] = ("tts",)
    """What the model was trained on."""


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    Attributes:
        model: the folder.
        layout: "grouped" or "interleaved".
        heads: H.
        frames_per_step: g.
        speaker_aware: whether a speaker vector conditions the model.
        parameters: how many.
        dtype: they are kept in.
        text_tokens: ids of the text tokenizer.
        tokens: ids of text, control and codes together.
        left_out: tokens of the checkpoint that have no place here.
        codec_weights: digest of the codec's weights; empty if they are not on this machine.
    """

    model: str
    layout: str
    heads: int
    frames_per_step: int
    speaker_aware: bool
    parameters: int
    dtype: str
    text_tokens: int
    tokens: int
    left_out: tuple[str, ...]
    codec_weights: str


def import_checkpoint(source: Path, out: Path, config: ImportConfig, progress: Progress) -> ImportReport:
    """Write the model of the checkpoint folder ``source`` as the model folder ``out``, new or empty.

    Raises:
        FormatError: ``source`` is no such checkpoint, its files do not belong together, or ``out`` is not empty.
        ConfigError: the settings do not fit the checkpoint.
        PluginError: there is no such codec.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FormatError(f"{out} is not an empty folder; name a new one for the model")
    if not (source / "config.json").is_file():
        raise FormatError(f"{source} holds no config.json; expected a folder that the released training scripts saved")
    tensors = read_weights(source)
    state = {ours: tensor for name, tensor in tensors.items() if (ours := released.our_name(name)) is not None}
    tokenizer, tokens = _tokens(source, config, next_token=_num_heads(state) == 0)
    spec = _spec(config, tokens, progress)
    vocabulary = Vocabulary(tokenizer.vocab_size, spec)
    settings = _settings(state, spec, config)
    model = _build(source, state, settings, tokens, vocabulary, config)
    report = _report(out, model, tokens, spec)
    with no_bars():
        model.save_pretrained(out)
    tokenizer.save(out / "tokenizer")
    info = {
        "format": 1,
        "kind": "model",
        "codec": spec.to_dict(),
        "vocabulary": vocabulary.to_dict(),
        "tasks": list(config.tasks),
        "identity": {"imported": source.resolve().name},
        "report": to_jsonable(report),
    }
    write_json(out / MODEL_INFO, info)
    return report


def _num_heads(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in state if name.startswith("heads.")})


def _tokens(source: Path, config: ImportConfig, *, next_token: bool) -> tuple[TextTokenizer, dict[str, int]]:
    """Return the text's tokenizer and the ids of the tokens of speech."""
    speech = {name: number for name, number in added_tokens(source).items() if released.is_speech_token(name)}
    if config.tokenizer is None and not speech:
        raise ConfigError(
            f"{source} holds no tokenizer with <sosp>, <a0> and the like; name the backbone's with --tokenizer "
            "(for example Qwen/Qwen2.5-0.5B), then the new ids are taken to follow its last in the released order"
        )
    if config.tokenizer is None:
        tokenizer: TextTokenizer = text_tokenizer(source)
    else:
        tokenizer = load_text_tokenizer(config.tokenizer)
    if not speech:
        sizes = _card_sizes(config)
        speech = released.released_tokens(tokenizer.vocab_size, sizes, next_token=next_token)
    if min(speech.values()) < tokenizer.vocab_size:
        name = min(speech, key=lambda token: speech[token])
        raise FormatError(
            f"the token {name} has the id {speech[name]}, but the text's tokenizer has {tokenizer.vocab_size} ids; "
            "they do not belong together"
        )
    return tokenizer, speech


def _card_sizes(config: ImportConfig) -> tuple[int, ...]:
    card = codec_class(config.codec).card
    if card is None:
        raise ConfigError(f"codec {config.codec!r} does not say its streams; a checkpoint of it needs its tokenizer")
    return card.spec.codebook_sizes


def _spec(config: ImportConfig, tokens: Mapping[str, int], progress: Progress) -> CodecSpec:
    """The codec's description, with the digest of its weights if they are on this machine."""
    sizes = released.stream_sizes(tokens)
    kind = codec_class(config.codec)
    card, codebooks = kind.card, len(sizes) if kind.variable_codebooks else None
    if config.codec_checkpoint is not None or card is None or card.published is None or card.published.is_cached():
        spec = load_codec(config.codec, checkpoint=config.codec_checkpoint, codebooks=codebooks).spec
    else:
        spec = dataclasses.replace(card.spec, streams=card.spec.streams[:codebooks])
        progress.message(f"the weights of {config.codec} are not here: the model will not say which it needs")
    if spec.codebook_sizes != sizes:
        raise ConfigError(
            f"the checkpoint knows {_in_words(sizes)}, codec {config.codec!r} has {_in_words(spec.codebook_sizes)}; "
            "name the codec it was trained on with --codec"
        )
    return spec


def _in_words(sizes: tuple[int, ...]) -> str:
    return f"{len(sizes)} streams of {', '.join(map(str, dict.fromkeys(sizes)))} codes" if sizes else "no codes"


def _settings(state: Mapping[str, Tensor], spec: CodecSpec, config: ImportConfig) -> dict[str, Any]:
    """Fields of `SpeechLMConfig` that follow from the tensors."""
    heads = _num_heads(state)
    layout = "grouped" if heads else "interleaved"
    if config.layout not in ("auto", layout):
        raise ConfigError(f"the checkpoint has {heads} speech heads: its layout is {layout}, not {config.layout!r}")
    if heads % spec.num_codebooks:
        raise ConfigError(
            f"the checkpoint has {heads} speech heads, not a multiple of the {spec.num_codebooks} streams of codec "
            f"{spec.name!r}; name the codec it was trained on with --codec"
        )
    settings: dict[str, Any] = {"layout": layout, "frames_per_step": max(1, heads // spec.num_codebooks)}
    if "speaker.fc1.weight" in state:
        hidden, width = state["speaker.fc1.weight"].shape
        if width != spec.speaker_dim:
            raise ConfigError(
                f"the checkpoint takes speaker vectors of {width} numbers, codec {spec.name!r} gives {spec.speaker_dim}"
            )
        settings.update(speaker_dim=width, speaker_hidden=hidden, speaker_encoder="codec")
    return settings


def _build(
    source: Path,
    state: dict[str, Tensor],
    settings: dict[str, Any],
    tokens: Mapping[str, int],
    vocabulary: Vocabulary,
    config: ImportConfig,
) -> SpeechLM:
    """Return the model with the checkpoint's weights, in the checkpoint's type."""
    backbone = _backbone(source, config, vocabulary.size)
    rows = released.source_rows(tokens, vocabulary)
    if _TIED not in state:
        raise FormatError(f"{source} has no embedding table (model.embed_tokens.weight)")
    state[_TIED] = released.take_rows(state[_TIED], rows)
    if backbone["tie_word_embeddings"]:
        state[_UNTIED] = state[_TIED]
    elif _UNTIED in state:
        state[_UNTIED] = released.take_rows(state[_UNTIED], rows)
    wanted = SpeechLMConfig(backbone=backbone, vocabulary=vocabulary.to_dict(), tasks=list(config.tasks), **settings)
    model: SpeechLM = SpeechLM(wanted).to(state[_TIED].dtype)
    if model.speaker is not None:  # the released models take the vector as it is
        dim = model.config.speaker_dim
        state |= {"speaker.mean": torch.zeros(dim), "speaker.scale": torch.ones(dim)}
    load_strictly(model, state, source)
    model.tie_weights()
    return model


def _backbone(source: Path, config: ImportConfig, size: int) -> dict[str, Any]:
    found = backbone_settings(source / "config.json") if config.base is None else _settings_of_base(config.base)
    if found is None:
        raise FormatError(
            f"{source / 'config.json'} does not describe the backbone (hidden_size, num_hidden_layers, ...); name the "
            "model it was trained from with --base, for example Qwen/Qwen2.5-0.5B"
        )
    # The scripts' own model types are wrappers around Qwen2; strict loading tells if this one is not.
    kind = found.get("model_type")
    kind = kind if kind in CONFIG_MAPPING else "qwen2"
    known = CONFIG_MAPPING[kind]().to_dict().keys() | {"rope_theta", "rope_scaling"}
    known -= {"architectures", "dtype", "model_type", "transformers_version", "vocab_size"}
    kept = {key: value for key, value in found.items() if key in known}
    values: dict[str, Any] = AutoConfig.for_model(kind, **{**kept, "vocab_size": size}).to_dict()
    return values


def _settings_of_base(base: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = AutoConfig.from_pretrained(base).to_dict()
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"--base {base!r}: no configuration of a language model there ({first_line(error)})"
        ) from error
    return values


def _report(out: Path, model: SpeechLM, tokens: Mapping[str, int], spec: CodecSpec) -> ImportReport:
    used = set(released.source_rows(tokens, model.vocabulary))
    left_out = tuple(sorted(name for name, number in tokens.items() if number not in used))
    return ImportReport(
        model=str(out),
        layout=model.layout.kind,
        heads=model.layout.num_heads,
        frames_per_step=model.layout.frames_per_step,
        speaker_aware=model.speaker is not None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        text_tokens=model.vocabulary.text_size,
        tokens=model.vocabulary.size,
        left_out=left_out,
        codec_weights=spec.weights_sha256,
    )
