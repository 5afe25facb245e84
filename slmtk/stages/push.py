"""A finished folder of codes -> a dataset of the Hugging Face hub, with a card that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from slmtk.config import to_jsonable, write_text
from slmtk.corpus.hub import looks_like_hub_id
from slmtk.errors import ConfigError, SlmtkError, one_line
from slmtk.shards import CodesFolder, open_codes
from slmtk.shards.rows import INDEX_NAME
from slmtk.stages.push_card import PARTS, codes_card

CARD_NAME = "README.md"
# Clients of the hub before 2.0 commit a folder at once, and have another door for what is too much for one commit.
_LARGE_BYTES = 4 << 30


def check_push(repo: str) -> None:
    """Raise if a push to ``repo`` cannot work, before hours are spent on what is to be pushed.

    Raises:
        ConfigError: ``repo`` is not "owner/name", or nobody is logged in.
    """
    import huggingface_hub

    if not looks_like_hub_id(repo):
        raise ConfigError(f"--push-to-hub {repo!r} is not of the form owner/name")
    if huggingface_hub.get_token() is None:
        raise ConfigError("--push-to-hub needs a token of the Hugging Face hub: run `hf auth login`, or set HF_TOKEN")


def push_codes(out: Path, repo: str, *, private: bool = False, licence: str | None = None) -> str:
    """Write the card of the codes in ``out`` and upload both as the dataset ``repo``; nothing in ``out`` is changed.

    The index goes last, so that its presence means the dataset is whole there, too. It goes without the paths of this
    machine, and errors.jsonl, which is full of them, stays here.

    Args:
        out: finished folder of codes.
        repo: "owner/name"; made if it is not there.
        private: whether only its owner sees it, if it is made now.
        licence: of the codes as the hub spells it, for example "cc-by-4.0"; None says "unknown".

    Returns:
        the address of the dataset.

    Raises:
        FormatError: ``out`` is no finished folder of codes.
        SlmtkError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    folder = open_codes(out)
    write_text(out / CARD_NAME, codes_card(folder, repo, licence))
    index = json.dumps(to_jsonable(_public(folder.index)), indent=2, ensure_ascii=False) + "\n"
    api: Any = HfApi()
    wanted = {"repo_id": repo, "repo_type": "dataset"}
    try:
        url = api.create_repo(**wanted, private=private, exist_ok=True)
        _upload(api, folder, wanted)
        api.upload_file(path_or_fileobj=index.encode(), path_in_repo=INDEX_NAME, **wanted)
    except hub_failures() as error:
        raise SlmtkError(
            f"cannot push to {repo}: {one_line(error)}; the codes are whole in {out}: run the same command again, "
            "it will push without encoding anew"
        ) from error
    return str(url)


def _upload(api: Any, folder: CodesFolder, wanted: Mapping[str, str]) -> None:
    files = {"folder_path": str(folder.folder), "allow_patterns": [PARTS, CARD_NAME]}
    size = sum(part.stat().st_size for part in folder.parts)
    if size > _LARGE_BYTES and hasattr(api, "upload_large_folder"):
        api.upload_large_folder(**wanted, **files)
        return
    # Parts of an earlier, larger dataset of this name would be read as if they were this one's.
    api.upload_folder(**wanted, **files, delete_patterns=[PARTS], commit_message="Codes by slmtk tokenize")


def _public(index: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(index.get("config", {}))
    for key in ("source", "codec_checkpoint"):
        if config.get(key):
            config[key] = PurePath(str(config[key])).name if PurePath(str(config[key])).is_absolute() else config[key]
    config["root"] = None
    return {**index, "config": config}


def hub_failures() -> tuple[type[Exception], ...]:
    """What the hub's client raises when the hub cannot be reached or refuses."""
    from huggingface_hub.errors import HfHubHTTPError

    # The library below the hub's client differs by its version; its error is a base of the hub's own.
    return (*HfHubHTTPError.__bases__, OSError, ValueError, RuntimeError)
