"""What is refused before a step is trained: a dataset, base or folder that do not go together."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from slmtk.data.dataset import DatasetFolder
from slmtk.data.text_tokenizer import load_text_tokenizer, tokenizer_differences
from slmtk.data.training_set import TrainingSet
from slmtk.data.vocabulary import Vocabulary
from slmtk.errors import CodecMismatchError, ConfigError, FormatError, MissingDependencyError
from slmtk.stages.train.base import Base
from slmtk.stages.train.config import TRACKERS, TrainConfig

MODEL_INFO = "slmtk.json"


def check_packages(config: TrainConfig) -> None:
    """Refuse what needs a package that is not installed.

    Raises:
        MissingDependencyError: it is named, with the command that installs it.
    """
    needed = {"peft": "peft"} if config.lora_rank else {}
    if config.report_to in TRACKERS:
        needed[TRACKERS[config.report_to]] = "track"
    for package, extra in needed.items():
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"{package} is not installed; run: pip install 'slmtk[{extra}]'")


def check_base(folder: DatasetFolder, config: TrainConfig, base: Base) -> None:
    """Refuse a base that does not read the dataset's ids as it learnt them.

    Raises:
        CodecMismatchError: a slmtk model of another codec or vocabulary.
        ConfigError: another text tokenizer.
    """
    if base.speech is not None:
        differences = base.speech.make_vocabulary().differences(folder.vocabulary)
        if differences:
            raise CodecMismatchError(
                f"the dataset is not of --base {config.base!r} (base, dataset: {'; '.join(differences)}); build it "
                "from codes of the base's codec, with the base's text tokenizer"
            )
    if base.tokenizer is None:
        return
    differences = tokenizer_differences(folder.tokenizer, load_text_tokenizer(base.tokenizer))
    if differences:
        raise ConfigError(
            f"the dataset's text tokenizer {folder.tokenizer.name!r} is not that of --base {config.base!r} "
            f"({differences[0]}); build the dataset with `--tokenizer {base.tokenizer}`"
        )


def previous_run(out: Path, folder: DatasetFolder, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What ``out`` says of a finished run of the same identity; None to (re)start.

    Raises:
        FormatError: ``out`` holds something else.
        CodecMismatchError: it holds a model of another codec, tokenizer or vocabulary.
        ConfigError: it holds a run of other settings, which are named.
    """
    if not out.exists() or not any(out.iterdir()):
        return None
    path = out / MODEL_INFO
    if not path.is_file():
        raise FormatError(f"{out} is not empty and holds no {MODEL_INFO}; name a new folder for the model")
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if info.get("vocabulary"):
        differences = Vocabulary.from_dict(info["vocabulary"]).differences(folder.vocabulary)
        if differences:
            raise CodecMismatchError(
                f"{out} holds a model of another dataset (model, dataset: {'; '.join(differences)}); use its own "
                "dataset or a new folder"
            )
    before = info.get("identity", {})
    if before != identity:
        old = {**before, **before.get("config", {})}
        new = {**identity, **identity["config"]}
        names = [key for key in {**old, **new} if key != "config" and old.get(key) != new.get(key)]
        changed = [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in names]
        raise ConfigError(
            f"{out} belongs to a run with other settings ({'; '.join(changed)}); use those or a new folder"
        )
    return info if info.get("report") else None


def check_rows(train_set: TrainingSet, config: TrainConfig) -> None:
    """Refuse a split without rows, or with rows longer than the run allows.

    Raises:
        FormatError: there are no rows.
        ConfigError: there are longer ones; their number and the longest are named.
    """
    lengths = train_set.lengths()
    if not len(lengths):
        raise FormatError("the train split has no rows; look at the dataset's report of what its filters dropped")
    too_long = int((lengths > config.max_tokens).sum())
    if too_long:
        raise ConfigError(
            f"{too_long} of {len(lengths)} rows are longer than {config.max_tokens} positions (the longest has about "
            f"{int(lengths.max())}); build the dataset with a smaller --max-seconds or raise --max-tokens"
        )


def check_speakers(folder: DatasetFolder, config: TrainConfig) -> None:
    """Refuse to condition on vectors that the dataset does not have, or that the base was not trained with.

    Raises:
        ConfigError: there are none.
    """
    if config.speaker_aware and not folder.speaker_dim:
        raise ConfigError(
            f"--speaker-aware needs speaker vectors and codec {folder.spec.name!r} has none; use --no-speaker-aware, "
            "or --reference-prompt, or build the dataset with --speaker-encoder"
        )
