"""What a score would need and do, found out without reading audio or loading a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmtk.corpus import find_utterances
from slmtk.stages import dry_run
from slmtk.stages.eval_wer.config import EvalConfig
from slmtk.stages.eval_wer.sources import with_columns
from slmtk.stages.speech_sources import CODES_NAME, SYNTH_NAME


def plan(reference: Path | str, hypotheses: Sequence[Path | str], out: Path, config: EvalConfig) -> dry_run.Plan:
    """What `eval_wer` would do; audio, codes and models stay unread.

    Raises:
        CorpusError: a folder of recordings is there and holds none.
        PluginError: no such recogniser or speaker encoder.
    """

    def describe(path: Path) -> str:
        if (path / SYNTH_NAME).is_file():
            return "synthesised speech"
        return "codes" if (path / CODES_NAME).is_file() else find_utterances(path, with_columns(config)).describe()

    reads = [dry_run.source("texts", reference, describe)]
    reads += [dry_run.source("speech", source, describe) for source in hypotheses]
    reads += [dry_run.source(f"ceiling {name}", source, describe) for name, source in config.ceilings]
    protocol = config.chosen_protocol()
    reads.append(dry_run.plug_in("slmtk.asr", protocol.recognizer, protocol.recognizer_model))
    if any(name in ("sim-o", "sim-r") for name in config.heard()):
        for encoder in config.encoders():
            name, _, model = encoder.partition(":")
            reads.append(dry_run.plug_in("slmtk.speakers", name, model or None))
    for what, path in (("grammar", config.grammar), ("voices", config.references), ("compare with", config.against)):
        if path is not None:
            reads.append(dry_run.source(what, path))
    by = "" if config.protocol is None else f" by protocol {protocol.name}"
    does = f"score{by} with {protocol.recognizer} on {config.device}, texts made comparable by {protocol.normalizer}"
    if config.heard():
        does += f"; measure {', '.join(config.heard())}"
    return dry_run.Plan(tuple(reads), (does,), str(out))
