"""Speak text with a trained model: a text, or many of them -> wav files, codes shards and a line for each."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from slmtk.config import write_json
from slmtk.device import resolve_device
from slmtk.engines.local import WorkerDiedError
from slmtk.engines.ray import Cluster, connect
from slmtk.errors import SlmtkError
from slmtk.models.own_voices import OwnVoices, own_name, own_place, read_voices
from slmtk.models.voices import codes_speaker
from slmtk.progress import Progress
from slmtk.stages import dry_run
from slmtk.stages.lines import STDIN, SUFFIXES, read_lines
from slmtk.stages.synth.config import SynthConfig, SynthReport
from slmtk.stages.synth.folder import REPORT_NAME, SpeechFolder
from slmtk.stages.synth.planned import Job, make_jobs, run_settings, settled_sampling
from slmtk.stages.synth.work import speak_lines

__all__ = ["SynthConfig", "SynthReport", "default_out", "plan", "synth"]


def default_out(source: str | Path) -> Path:
    """Name the folder for speech when the user names none: "speech/<the text's first words, or the file's name>"."""
    if str(source) == STDIN:
        return Path("speech") / "stdin"
    path = Path(source)
    if path.suffix in SUFFIXES:
        return Path("speech") / (re.sub(r"[^\w-]+", "-", path.stem).strip("-") or "lines")
    return Path("speech") / read_lines(source)[0].id


def synth(source: str | Path, out: Path, config: SynthConfig, progress: Progress) -> SynthReport:
    """Speak ``source`` into ``out``; run it again to resume.

    Args:
        source: a text, the path of a file of texts (.txt, .jsonl, .tsv, .csv), or "-" for texts on stdin.
        out: folder to write; lines that an earlier try of the same run has spoken are kept, and other shards' lines.
        config: model, voices and options.
        progress: told of lines done.

    Raises:
        FormatError: ``out`` holds something else, or the texts or the model cannot be read.
        ConfigError: a voice is missing, or ``out`` holds speech of another run.
        AudioError: a voice's recording is not there or cannot be used.
        MissingDependencyError: Ray is asked for and not installed.
        SlmtkError: the model cannot be loaded, or a worker process died.
    """
    settings = run_settings(config)
    jobs = make_jobs(read_lines(source), config, settings)
    folder = SpeechFolder(out, settings, jobs, overwrite=config.overwrite)
    own = [job for job in jobs if config.shard is None or job.number % config.shard[1] == config.shard[0]]
    missing = [job for job in own if not folder.is_spoken(job)]
    if len(missing) < len(own):
        progress.message(f"{len(own) - len(missing)} of {len(own)} lines are spoken already")
    started = time.perf_counter()
    if missing:
        _speak(missing, folder, config, progress)
    wall = time.perf_counter() - started
    absent = folder.put_together(str(source))
    report = _report(out, config.model, folder, own, missing, wall)
    if absent:
        progress.message(
            f"{absent} of {len(jobs)} lines are other shards' and not there yet; whichever shard is the last puts "
            "everything together"
        )
    elif missing or not (out / REPORT_NAME).is_file():
        write_json(
            out / REPORT_NAME, report if own == jobs else _report(out, config.model, folder, jobs, missing, wall)
        )
    return report


def plan(source: str | Path, out: Path, config: SynthConfig, *, stream: str | None = None) -> dry_run.Plan:
    """What `synth` would do; the model's weights stay unread, and so does stdin.

    Args:
        source: as in `synth`.
        out: as in `synth`.
        config: as in `synth`.
        stream: where audio would be written while it is generated, instead of ``out``; None if it would not.

    Raises:
        FormatError: the file of texts or the model is there and cannot be used.
        ConfigError: the model was not trained to read aloud.
        PluginError: the recogniser that would choose among candidates is unknown.
    """
    if str(source) == STDIN:
        texts = "texts: one a line, from stdin"
    elif Path(source).suffix in SUFFIXES:
        texts = dry_run.source("texts", source, lambda path: f"{len(read_lines(path))} texts")
    else:
        texts = f"text: {read_lines(source)[0].text}"
    own = read_voices(config.model)
    voices = [_voice_line(speaker, own) for speaker in config.speakers]
    if not voices and own.default:
        voices = [_voice_line(own_place(own.default), own)]
    reads = [texts, dry_run.model(config.model, "tts"), *voices]
    sampling = settled_sampling(config)
    mean = "the mean's codes " if sampling.choose == "mean" else ""
    chosen = "greedily" if sampling.temperature == 0 else f"{mean}at temperature {sampling.temperature:g}"
    does = [f"speak each text {chosen}, {config.sampling.max_seconds:g} s at most, on {_place(config)}"]
    if config.n_best > 1:
        reads.append(dry_run.plug_in("slmtk.asr", config.recognizer, config.recognizer_model))
        does.append(f"keep the one of {config.n_best} candidates with the lowest {config.rerank.upper()}")
    if config.shard is not None:
        does.append(f"speak the lines of shard {config.shard[0]} of {config.shard[1]}")
    if stream is not None:
        does.append("write the audio as it is generated")
    return dry_run.Plan(tuple(reads), tuple(does), str(out) if stream is None else stream)


def _voice_line(speaker: Path, own: OwnVoices) -> str:
    name = own_name(speaker)
    if name is not None:
        return f"voice: {name}, the model's own" if name in own.voices else dry_run.source("voice", name)
    named = codes_speaker(speaker)
    return dry_run.source("voice", speaker) if named is None else f"voice: speaker {named[1]} of the codes {named[0]}"


def _place(config: SynthConfig) -> str:
    return config.device if config.engine == "local" else config.engine


def _speak(missing: Sequence[Job], folder: SpeechFolder, config: SynthConfig, progress: Progress) -> None:
    done = 0
    with ExitStack() as stack:
        cluster: Cluster | None = None
        if config.engine == "ray":
            cluster = stack.enter_context(connect(config.ray_address))
        device = cluster.device(config.device) if cluster else resolve_device(config.device)
        # Closed at once if writing fails, so that workers end before the exception is told.
        lines = stack.enter_context(contextlib.closing(speak_lines(missing, config, device, cluster, progress.message)))
        task = stack.enter_context(progress.task("synth", len(missing), "lines"))
        try:
            for line in lines:
                folder.keep(line)
                done += 1
                task.advance(1, line.id)
        except WorkerDiedError as error:
            raise SlmtkError(
                f"{error}; {done} of {len(missing)} lines are spoken and kept: run the same command again to resume, "
                "with fewer --workers or a smaller --batch-size if memory is short"
            ) from error


def _report(
    out: Path, model: Path, folder: SpeechFolder, own: Sequence[Job], spoken: Sequence[Job], wall: float
) -> SynthReport:
    """Sum up the lines of ``own``; speeds are of those that were ``spoken`` in this run, in ``wall`` seconds."""
    pairs = list(folder.records(own))
    fresh_ids = {job.line.id for job in spoken}
    records = [record for record, _ in pairs]
    fresh = [(record, timing) for record, timing in pairs if record["id"] in fresh_ids]
    audio = sum(record["seconds_audio"] for record, _ in fresh)
    steps = sum(timing["steps_of_all_candidates"] for _, timing in fresh)
    failures = Counter(record["reason"] for record in records if record["reason"])
    return SynthReport(
        out=str(out),
        model=str(model),
        utterances=len(records),
        reused=len(own) - len(fresh),
        finished=folder.is_whole(),
        succeeded=len(records) - failures.total(),
        success_rate=(len(records) - failures.total()) / len(records) if records else 0.0,
        failures=dict(sorted(failures.items())),
        sentences=sum(len(record.get("sentences", [record])) for record in records),
        seconds_audio=round(sum(record["seconds_audio"] for record in records), 3),
        seconds_wall=round(wall if fresh else 0.0, 3),
        rtf=round(wall / audio, 4) if audio else None,
        speed=round(audio / wall, 2) if audio else None,
        steps_per_second=round(steps / wall, 1) if fresh else None,
        first_codes_seconds=_median(pairs, "seconds_to_first_codes"),
        first_audio_seconds=_median([pair for pair in pairs if pair[0]["wav"]], "seconds_wall"),
        wavs=[str(out / record["wav"]) for record in records if record["wav"]],
    )


def _median(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], name: str) -> float | None:
    values = [timing[name] for _, timing in pairs if timing.get(name) is not None]
    return round(float(np.median(values)), 4) if values else None
