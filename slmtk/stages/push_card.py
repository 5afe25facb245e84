"""The README.md of a dataset of codes: what people read on the hub, and how `datasets.load_dataset` finds its files."""

from __future__ import annotations

from slmtk.shards import CodesFolder
from slmtk.spec import CodecSpec

PARTS = "part-*.parquet"


def codes_card(folder: CodesFolder, repo: str, licence: str | None = None) -> str:
    """Return the text of the card.

    Args:
        folder: the codes.
        repo: "owner/name" of the dataset.
        licence: as the hub spells it; None says "unknown".
    """
    spec = folder.spec
    front = f"""---
license: {licence or "unknown"}
tags:
- speech
- speech-codes
- slmtk
- {spec.name}
configs:
- config_name: default
  data_files: "{PARTS}"
---
"""
    return "\n".join([front, _what(folder, repo.split("/")[-1]), _how(spec), _licence(licence), _load(repo)])


def _what(folder: CodesFolder, name: str) -> str:
    spec = folder.spec
    speakers = {row.speaker for row in folder.rows(("speaker",))} - {None}
    revision = f" ({spec.revision})" if spec.revision else ""
    return f"""# {name}: speech as codes of {spec.name}

Made by `slmtk tokenize`: each row is a recording as codes of the codec {spec.name}{revision}, not its audio.

| | |
|---|---|
| recordings | {folder.num_rows:,} |
| hours | {folder.seconds / 3600:,.3f} |
| speakers | {f"{len(speakers):,}" if speakers else "not stated"} |
| frames | {int(folder.index["frames"]):,} |
| frame rate | {spec.frame_rate:g} Hz |
| sample rate | {spec.sample_rate:,} Hz |
| family | {spec.family} |
| weights (sha256) | {spec.weights_sha256 or "not stated"} |
"""


def _how(spec: CodecSpec) -> str:
    streams = "\n".join(f"| {stream.name} | {stream.kind} | {stream.size:,} |" for stream in spec.streams)
    vector = f" `speaker_vector` holds {spec.speaker_dim} numbers." if spec.speaker_dim else ""
    return f"""| stream | kind | codes |
|---|---|---:|
{streams}

`codes` lies frame by frame: the code of stream k in frame t is `codes[t * {spec.num_codebooks} + k]`.{vector}
"""


def _licence(licence: str | None) -> str:
    stated = "" if licence is None else "; it was stated as above by who made the codes"
    return f"The licence of the codes is that of the recordings, which slmtk does not know{stated}.\n"


def _load(repo: str) -> str:
    return f"""## Load it

With datasets:

    from datasets import load_dataset
    rows = load_dataset("{repo}", split="train")

or, from a local copy, `load_dataset("parquet", data_files="codes/{PARTS}")`.

With slmtk:

    hf download {repo} --repo-type dataset --local-dir codes
    slmtk inspect codes --resynth listen
    slmtk build-dataset codes dataset
"""
