"""A finished model folder -> a model of the Hugging Face hub, with a card that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from slmtk.config import to_jsonable, write_text
from slmtk.errors import SlmtkError, one_line
from slmtk.spec import CodecSpec
from slmtk.stages.push import CARD_NAME, hub_failures

INDEX_NAME = "slmtk.json"
# What `slmtk synth` needs, and the adapter of a LoRA run; not the log, the targets or the trackers' files.
FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer/*", "adapter/*"]


def push_model(out: Path, repo: str, *, private: bool = False) -> str:
    """Write the card of the model in ``out`` and upload both as the model ``repo``.

    The index goes last, so that its presence means the model is whole there, too; without the paths of this machine.

    Args:
        out: finished model folder.
        repo: "owner/name"; made if it is not there.
        private: whether only its owner sees it, if it is made now.

    Returns:
        the address of the model.

    Raises:
        SlmtkError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    info: dict[str, Any] = json.loads((out / INDEX_NAME).read_text(encoding="utf-8"))
    write_text(out / CARD_NAME, model_card(info, repo))
    index = json.dumps(to_jsonable(_public(info)), indent=2, ensure_ascii=False) + "\n"
    api: Any = HfApi()
    wanted = {"repo_id": repo, "repo_type": "model"}
    try:
        url = api.create_repo(**wanted, private=private, exist_ok=True)
        api.upload_folder(
            **wanted,
            folder_path=str(out),
            allow_patterns=[*FILES, CARD_NAME],
            ignore_patterns=["checkpoints/*"],
            commit_message="Model by slmtk train",
        )
        api.upload_file(path_or_fileobj=index.encode(), path_in_repo=INDEX_NAME, **wanted)
    except hub_failures() as error:
        raise SlmtkError(
            f"cannot push to {repo}: {one_line(error)}; the model is whole in {out}: run the same command again, it "
            "will push without training anew"
        ) from error
    return str(url)


def model_card(info: Mapping[str, Any], repo: str) -> str:
    """Return the text of the card of a model whose slmtk.json is ``info``."""
    spec, base = CodecSpec.from_dict(info["codec"]), str(info["identity"]["config"]["base"])
    # The hub's field holds hub ids; a base that was a folder is named by its last part below.
    known = base if base.count("/") == 1 and not Path(base).exists() else None
    front = [
        "---",
        "tags:",
        "- speech",
        "- slmtk",
        f"- {spec.name}",
        *([f"base_model: {known}"] if known else []),
        "---",
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in _facts(info, spec, known or PurePath(base).name))
    text = f"""
# {repo.split("/")[-1]}: a speech language model

Made by `slmtk train`.

| | |
|---|---|
{table}

## Speak

    hf download {repo} --local-dir model
    slmtk synth "The quick brown fox." --model model --speaker reference.wav
"""
    return "\n".join(front) + "\n" + text


def _facts(info: Mapping[str, Any], spec: CodecSpec, base: str) -> list[tuple[str, str]]:
    config, report = info["identity"]["config"], info["report"]
    streams = ", ".join(stream.name for stream in spec.streams)
    return [
        ("tasks", ", ".join(info["tasks"])),
        ("base", base),
        ("layout", f"{config['layout']}, {config['frames_per_step']} frames a step"),
        ("codec", f"{spec.name} ({streams}; {spec.frame_rate:g} frames a second)"),
        ("parameters", f"{report['parameters']:,}"),
        ("steps", f"{report['steps']:,}"),
        ("dev loss", f"{report['dev']['loss']:.4f}" if report.get("dev") else "not measured"),
    ]


def _public(info: Mapping[str, Any]) -> dict[str, Any]:
    config, report = dict(info["identity"]["config"]), dict(info["report"])
    if PurePath(str(config["base"])).is_absolute():
        config["base"] = PurePath(str(config["base"])).name
    report.update(model=None, targets=[], adapter="adapter" if report.get("adapter") else None)
    return {**info, "identity": {**info["identity"], "config": config}, "report": report}
