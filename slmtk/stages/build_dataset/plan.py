"""What `build_dataset` would do: names, settings and indexes checked, without reading codes and without a network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from slmtk.corpus.hub import looks_like_hub_id
from slmtk.data.bpe import parse_bpe
from slmtk.data.filters import check_columns
from slmtk.data.phonemes import parse_phonemes
from slmtk.data.questions import read_questions
from slmtk.data.text_tokenizer import load_text_tokenizer
from slmtk.data.texts import read_texts
from slmtk.device import resolve_device
from slmtk.shards import open_codes
from slmtk.stages import dry_run
from slmtk.stages.build_dataset.config import BuildDatasetConfig
from slmtk.stages.build_dataset.folder import open_index
from slmtk.stages.build_dataset.sources import Sources, check_codecs, check_paths

_FIRST_TEXTS = 1000


def plan(sources: Sequence[Path], out: Path, config: BuildDatasetConfig) -> dry_run.Plan:
    """Check all that can be checked and say what would be done; what an earlier command would make may be absent.

    Raises:
        SlmtkError: as `slmtk.stages.build_dataset.build_dataset`, for what is there.
    """
    check_paths(sources, config.texts, out, config.spoken_questions)
    _check_codes(sources, config)
    reads = [dry_run.source("codes", path, _codes) for path in sources]
    if config.questions:
        reads.append(dry_run.source("questions", config.questions, lambda path: f"{len(read_questions(path))} of them"))
    reads += [dry_run.source("spoken questions", path, _codes) for path in config.spoken_questions]
    reads += [dry_run.source("texts", path, _texts) for path in config.texts]
    reads.append(_tokenizer(config.tokenizer))
    if config.speaker_encoder != "codec":
        name, _, model = config.speaker_encoder.partition(":")
        reads.append(dry_run.plug_in("slmtk.speakers", name, model or None))
        reads += [_audio(source) for source in config.audio]
        resolve_device(config.device)
    return dry_run.Plan(tuple(reads), _work(out, config), str(out))


def _check_codes(sources: Sequence[Path], config: BuildDatasetConfig) -> None:
    there = tuple(open_codes(path) for path in sources if path.exists())
    check_codecs((*there, *(open_codes(path) for path in config.spoken_questions if path.exists())))
    if len(there) == len(sources):
        check_columns(config.filters.minimums, Sources(there, (), {}).columns())


def _codes(path: Path) -> str:
    folder = open_codes(path)
    return f"{folder.num_rows} utterances, {folder.seconds / 3600:.2f} h, codec {folder.spec.name}"


def _texts(path: Path) -> str:
    count = sum(1 for _ in itertools.islice(read_texts(path), _FIRST_TEXTS))
    return f"{count} texts" if count < _FIRST_TEXTS else f"{count} texts or more"


def _tokenizer(name: str) -> str:
    size = parse_bpe(name)
    if size is not None:
        return f"tokenizer: {size} tokens made from the texts"
    language = parse_phonemes(name)
    if language is not None:
        return f"tokenizer: phones of the texts as espeak-ng says them ({language})"
    if name == "bytes" or Path(name).exists():
        return f"tokenizer: {name} ({load_text_tokenizer(name).vocab_size} ids)"
    return f"tokenizer: {name} (of the hub, unless it is cached)"


def _audio(source: str) -> str:
    if looks_like_hub_id(source) and not Path(source).exists():
        return f"recordings: {source} (of the hub, or {dry_run.ABSENT})"
    return dry_run.source("recordings", source)


def _work(out: Path, config: BuildDatasetConfig) -> tuple[str, ...]:
    tasks = [*config.tasks, *(config.answers if config.questions else []), *(["text"] if config.texts else [])]
    split = config.split
    work = [
        f"make rows of the tasks {', '.join(tasks)}",
        f"keep {split.dev_fraction:.1%} for dev and {split.test_fraction:.1%} for test, by {split.by}",
    ]
    if config.speaker_encoder != "codec":
        work.insert(1, f"compute speaker vectors by {config.speaker_encoder} on {config.device}")
    if open_index(out) is not None:
        work.insert(0, _existing(out, config))
    return tuple(work)


def _existing(out: Path, config: BuildDatasetConfig) -> str:
    instead = "replaced" if config.overwrite else "refused, without --overwrite,"
    return f"find a dataset in {out}: left as it is if it was made so, else {instead}"
