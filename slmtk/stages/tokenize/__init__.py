"""Recorded speech -> shards of codes: in parallel, resumable, the same bytes however it went."""

from __future__ import annotations

import dataclasses
import re
import time
from contextlib import ExitStack
from pathlib import Path

from slmtk.codecs.base import load_codec
from slmtk.corpus import find_utterances
from slmtk.device import resolve_device
from slmtk.engines.local import prepare
from slmtk.engines.ray import Cluster, connect
from slmtk.progress import Progress
from slmtk.spec import CodecSpec
from slmtk.stages import dry_run
from slmtk.stages.tokenize.config import TokenizeConfig, TokenizeReport
from slmtk.stages.tokenize.filter import drop_stated, with_limit
from slmtk.stages.tokenize.folder import Folder
from slmtk.stages.tokenize.parts import make_plan
from slmtk.stages.tokenize.run import Run
from slmtk.stages.tokenize.work import encode_parts

__all__ = ["TokenizeConfig", "TokenizeReport", "default_out", "plan", "tokenize"]


def default_out(source: Path | str, codec: str, codebooks: int | None = None) -> Path:
    """Name the folder for codes of ``source`` when the user names none: "<codec>-codes/<name of the source>"."""
    codec = codec if codebooks is None else f"{codec}-{codebooks}"
    path = Path(source).resolve()
    name = path.parent.name if path.stem in ("metadata", "manifest") and path.is_file() else path.stem
    return Path(f"{re.sub(r'[^A-Za-z0-9_-]+', '-', codec)}-codes") / (name if path.is_file() else path.name)


def tokenize(source: Path | str, out: Path, config: TokenizeConfig, progress: Progress) -> TokenizeReport:
    """Encode the audio of ``source`` into codes shards in ``out``; run it again to resume.

    Args:
        source: what `slmtk.corpus.find_utterances` takes.
        out: folder to write; parts of an earlier try of the same run are kept, and other shards' parts.
        config: codec and options.
        progress: told of hours done, speed, failures.

    Raises:
        CorpusError: no utterances are there.
        ConfigError: ``out`` holds the codes of another run.
        MissingDependencyError: Ray is asked for and not installed.
        SlmtkError: the codec cannot be loaded, a worker process died, or every input failed.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        cluster: Cluster | None = None
        if config.engine == "ray":
            cluster = stack.enter_context(connect(config.ray_address))
        elif config.device in ("auto", "cpu"):
            prepare()
        corpus = find_utterances(source, config.corpus)
        for line in (f"{source}: {corpus.describe()}", *corpus.notes):
            progress.message(line)
        corpus, dropped = drop_stated(corpus, config.min_dnsmos, progress)
        device = cluster.device(config.device) if cluster else resolve_device(config.device)
        spec, cpu_only = _describe_codec(config, "cpu" if cluster else device)
        # Where the codec's class was found is told by the index alone: the parts' bytes must not depend on it.
        plain = dataclasses.replace(spec, source="")
        plan = make_plan(corpus, plain, config.shard_hours, config.max_seconds, progress)
        plan = with_limit(plan, config.min_dnsmos)
        folder = Folder(out, plan, config.shard, overwrite=config.overwrite)
        run = Run(corpus, spec, plan, folder, config, progress)
        run.reuse()
        where = "cpu" if cpu_only else device
        run.encode(lambda parts: encode_parts(parts, corpus.root, config, where, cluster, progress.message))
        report = run.finish(str(source), started)
        return dataclasses.replace(report, filtered=report.filtered + dropped)


def plan(source: Path | str, out: Path, config: TokenizeConfig, *, push: str | None = None) -> dry_run.Plan:
    """What `tokenize` would do; a corpus that is on this machine is looked through, its audio stays unread.

    Args:
        source: as in `tokenize`.
        out: as in `tokenize`.
        config: as in `tokenize`.
        push: repository of the hub that the codes would be uploaded to.

    Raises:
        CorpusError: ``source`` is there and no utterances are in it.
        ConfigError: the codec has not so many codebooks.
        PluginError: there is no such codec.
    """
    where = f"on {config.engine if config.engine != 'local' else config.device}"
    does = [f"encode with {config.codec} {where}, {config.shard_hours:g} hours a part"]
    if config.max_seconds is not None:
        does.append(f"split recordings longer than {config.max_seconds:g} s at silences")
    if config.min_dnsmos is not None:
        does.append(f"leave out what has a DNSMOS below {config.min_dnsmos:g}")
    if push:
        does.append(f"upload the codes to the hub as {push}")
    reads = (
        dry_run.source("recordings", source, lambda path: find_utterances(path, config.corpus).describe()),
        dry_run.codec(config.codec, config.codebooks, config.codec_checkpoint),
    )
    return dry_run.Plan(reads, tuple(does), str(out))


def _describe_codec(config: TokenizeConfig, device: str) -> tuple[CodecSpec, bool]:
    """Load the codec for its spec, which tells its weights; it is let go again before others load it to encode."""
    codec = load_codec(config.codec, device=device, checkpoint=config.codec_checkpoint, codebooks=config.codebooks)
    return codec.spec, codec.cpu_only
