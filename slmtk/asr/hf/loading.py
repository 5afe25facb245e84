"""A recogniser's parts, as the Hugging Face hub publishes them: configuration, features, tokenizer, weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmtk.config import folder_digest, hub_commit
from slmtk.errors import ConfigError, FormatError, WeightsError, first_line
from slmtk.quiet import errors_only

# Weights, and beside them what can change a text: vocabulary, preprocessing, rules of generation.
_PARTS = (".safetensors", ".bin", ".json", ".txt", ".model")
# What replaces masked frames while a model learns; many published recognisers leave it out.
_FOR_TRAINING = "masked_spec_embed"


@dataclass(frozen=True)
class Parts:
    """What is needed to recognise speech."""

    model_type: str
    """As transformers calls the architecture: "whisper", "hubert", "parakeet_tdt", ..."""
    kind: str
    """How texts come out: "ctc", "transducer" or "generate"."""
    extractor: Any
    """Samples -> features."""
    tokenizer: Any
    """Tokens -> text."""
    model: Any
    """Features -> tokens; on its device, in evaluation mode."""
    revision: str
    """The hub's commit, or the digest of a local folder."""


def load_parts(model: str, revision: str | None, device: str, dtype: Any) -> Parts:
    """Load all parts of one commit.

    Args:
        model: local folder or hub id.
        revision: tag or commit of a hub id; None for the newest.
        device: torch's name of where the model runs.
        dtype: torch's type of its weights.

    Raises:
        ConfigError: a local folder with a revision.
        FormatError: it cannot be loaded, or is no recogniser that works from speech alone.
        WeightsError: it is neither a folder nor in the hub's cache, and the hub cannot be reached.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError
    from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer

    if revision is not None and Path(model).is_dir():
        raise ConfigError(f"{model} is a local folder, which has no revision {revision!r}; leave the revision out")
    where = f"{model} at {revision}" if revision else model
    try:
        # "main" may move between two downloads: what follows comes from one commit.
        commit = None if Path(model).is_dir() else hub_commit(model, revision)
        config = AutoConfig.from_pretrained(model, revision=commit)
        kind, loader = _how_to_load(config, model)
        extractor: Any = AutoFeatureExtractor.from_pretrained(model, revision=commit)
        tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=commit)
        with errors_only():
            network, found = loader.from_pretrained(model, revision=commit, dtype=dtype, output_loading_info=True)
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"the recogniser {where} is not in the hub's cache and cannot be fetched; run once with a network, or copy "
            "the cache (HF_HOME) of a machine that has it"
        ) from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise FormatError(
            f"{where}: not a speech recogniser that transformers can load ({first_line(error)})"
        ) from error
    lost = sorted(key for key in found["missing_keys"] if not key.endswith(_FOR_TRAINING))
    if lost:
        # transformers would fill them with random numbers and say so in a warning.
        raise FormatError(f"{model}: the weights lack {len(lost)} tensors of the model ({lost[0]}, ...)")
    identity = commit[:12] if commit else folder_digest(Path(model), _PARTS)
    return Parts(config.model_type, kind, extractor, tokenizer, network.to(device).eval(), identity)


def _how_to_load(config: Any, model: str) -> tuple[str, Any]:
    """Tell how a model's texts come out ("ctc", "transducer", "generate") and which class of transformers loads it.

    Raises:
        FormatError: it is no recogniser, or one that needs more than speech.
    """
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoModelForTDT
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES, AutoModelForRNNT

    kind, architectures = config.model_type, config.architectures or ["ForCTC"]
    if kind in GENERATING:
        return "generate", AutoModelForSpeechSeq2Seq
    if kind in TRANSDUCERS:
        return "transducer", AutoModelForTDT if kind.endswith("tdt") else AutoModelForRNNT
    if kind in MODEL_FOR_CTC_MAPPING_NAMES and any(name.endswith("ForCTC") for name in architectures):
        return "ctc", AutoModelForCTC
    raise FormatError(
        f"{model} is a {kind} model ({', '.join(architectures)}), not a speech recogniser that works from speech "
        f"alone; expected a CTC model or one of {', '.join((*GENERATING, *TRANSDUCERS))}"
    )


GENERATING = ("whisper", "moonshine", "moonshine_streaming", "speech_to_text", "speech-encoder-decoder")
"""Encoder-decoder models that need speech alone; others of transformers want a prompt of their own kind."""
TRANSDUCERS = ("parakeet_tdt", "parakeet_rnnt")
"""Models that go over the frames and write tokens until a blank."""
