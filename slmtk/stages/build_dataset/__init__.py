"""Codes and text -> a dataset to train on; every row that is left out is counted and named."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmtk.config import fingerprint, to_jsonable, write_json, write_text
from slmtk.data.bpe import parse_bpe, train_bpe
from slmtk.data.card import dataset_card
from slmtk.data.dataset import FORMAT_VERSION, KIND, TOKENIZER_FOLDER
from slmtk.data.dataset_columns import INDEX_NAME, SpeakerVectors
from slmtk.data.filters import check_columns
from slmtk.data.phonemes import PhonemeTokenizer, find_phones, parse_phonemes
from slmtk.data.questions import check_questions, read_questions
from slmtk.data.text_tokenizer import TextTokenizer, load_text_tokenizer
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import ConfigError
from slmtk.progress import Progress
from slmtk.stages.build_dataset.config import CODE_TASKS, BuildDatasetConfig, BuildDatasetReport, make_report
from slmtk.stages.build_dataset.folder import CARD_NAME, DROPPED_NAME, clear, up_to_date
from slmtk.stages.build_dataset.rows import check_splits, write_rows
from slmtk.stages.build_dataset.sources import Sources, check_paths, open_sources
from slmtk.stages.build_dataset.speakers import make_vectors
from slmtk.stages.build_dataset.spoken import SpokenQuestions, open_spoken

__all__ = ["CARD_NAME", "CODE_TASKS", "DROPPED_NAME", "BuildDatasetConfig", "BuildDatasetReport", "build_dataset"]


def build_dataset(
    sources: Sequence[Path], out: Path, config: BuildDatasetConfig, progress: Progress
) -> BuildDatasetReport:
    """Merge folders of codes, and texts without speech, into one dataset.

    Args:
        sources: folders of codes of one codec; their rows keep this order.
        out: folder of the dataset; one made from the same input with the same settings is left as it is.
        config: tokenizer, tasks, questions, texts, speaker vectors, filters and split.
        progress: shows rows done.

    Raises:
        CodecMismatchError: the codes are of different codecs.
        FormatError: a folder of codes is unfinished or damaged, a code is out of its stream's range, an id occurs
            twice, or the file of questions or one of texts is damaged.
        ConfigError: a setting cannot be used, ``out`` holds something else, recordings or spoken questions are missing,
            or no row is left.
    """
    questions = read_questions(config.questions) if config.questions else {}
    check_paths(sources, config.texts, out, config.spoken_questions)
    opened = open_sources(sources, config.texts, {name: asked.text for name, asked in questions.items()}, out)
    spoken = open_spoken(config.spoken_questions, questions, opened.folders)
    check_columns(config.filters.minimums, opened.columns())
    tokenizer = _make_tokenizer(config, opened)
    vectors = make_vectors(opened.spec, config)
    index = _head(opened, tokenizer, vectors.vectors, config, spoken)
    if (done := up_to_date(out, index["fingerprint"], config.overwrite)) is not None:
        progress.message(f"{out} is up to date: made from the same codes with the same settings")
        return make_report(out, done, up_to_date=True)
    check_questions(questions, opened.check_ids())
    if spoken is not None:
        spoken.read(opened.spec)
    vectors.find(opened)
    clear(out)
    tokenizer.save(out / TOKENIZER_FOLDER)
    splits, drops = write_rows(opened, out, tokenizer, vectors, config, progress, spoken)
    warnings = check_splits(splits, drops, config)
    tasks = sorted({task for stats in splits.values() for task in stats.tasks})
    index.update(tasks=tasks, splits=to_jsonable(splits), dropped=drops, warnings=warnings)
    write_text(out / CARD_NAME, dataset_card(index))
    write_json(out / INDEX_NAME, index)
    for warning in warnings:
        progress.message(f"warning: {warning}")
    return make_report(out, index)


def _make_tokenizer(config: BuildDatasetConfig, sources: Sources) -> TextTokenizer:
    name = config.tokenizer
    size, language = parse_bpe(name), parse_phonemes(name)
    if language is not None:
        _check_spoken_alone(config)  # before all texts are pronounced
        return find_phones(sources.all_words(), language)
    if size is not None:
        return train_bpe(sources.all_words(), size)
    tokenizer = load_text_tokenizer(name)
    if isinstance(tokenizer, PhonemeTokenizer):
        _check_spoken_alone(config)
    return tokenizer


def _check_spoken_alone(config: BuildDatasetConfig) -> None:
    """Refuse tasks whose text a model of phonemes could not write down."""
    if config.tasks != ("tts",) or config.questions or config.texts:
        raise ConfigError(
            f"--tokenizer {config.tokenizer}: a model of phonemes reads aloud but cannot write; take it for task tts "
            "without --questions and --texts, or another tokenizer"
        )


def _head(
    sources: Sources,
    tokenizer: TextTokenizer,
    vectors: SpeakerVectors,
    config: BuildDatasetConfig,
    spoken: SpokenQuestions | None,
) -> dict[str, Any]:
    """The part of the index that is known before a row is read; no path of this machine is in it."""
    settings = {
        "tokenizer": tokenizer.name,
        "questions": fingerprint(sources.questions) if sources.questions else None,
        "filters": to_jsonable(config.filters),
        "split": to_jsonable(config.split),
        **_further_settings(vectors, config, spoken),
    }
    text = {
        "name": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "sha256": _tokenizer_digest(tokenizer),
    }
    identities, spec = sources.identities(), sources.spec
    return {
        "format": FORMAT_VERSION,
        "kind": KIND,
        "codec": spec.to_dict(),
        "speaker": to_jsonable(vectors),
        "tokenizer": text,
        "vocabulary": Vocabulary(tokenizer.vocab_size, spec).to_dict(),
        "fingerprint": fingerprint({"settings": settings, "tokenizer": text, "sources": identities, "spec": spec}),
        "config": settings,
        "sources": [
            {**identity, "rows": sources.folders[place].num_rows} if place < len(sources.folders) else identity
            for place, identity in enumerate(identities)
        ],
    }


def _further_settings(
    vectors: SpeakerVectors, config: BuildDatasetConfig, spoken: SpokenQuestions | None
) -> dict[str, Any]:
    """Settings that are not at their defaults: those of a plain dataset stay what they were before these came."""
    settings: dict[str, Any] = {}
    if config.tasks != BuildDatasetConfig.tasks:
        settings["tasks"] = [task for task in CODE_TASKS if task in config.tasks]
    if config.answers != ("qa",):
        settings["answer_tasks"] = list(config.answers)
    if spoken is not None:
        settings["spoken_questions"] = spoken.settings()
    if config.texts:
        settings["max_text_tokens"] = config.max_text_tokens
    if config.speaker_encoder != BuildDatasetConfig.speaker_encoder:
        settings["speaker"] = {"weights": vectors.weights, "dim": vectors.dim}
    return settings


def _tokenizer_digest(tokenizer: TextTokenizer) -> str:
    """SHA-256 over the saved files: two tokenizers of one name may differ."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save(Path(name))
        for path in sorted(Path(name).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
