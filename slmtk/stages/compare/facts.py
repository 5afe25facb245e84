"""From scores back to what made the speech: the codec's bit rate, the speed of synthesis, the size of the model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from slmtk.errors import FormatError
from slmtk.spec import CodecSpec
from slmtk.stages.compare.report import Facts

_INFO, _REPORT, _SPEECH = "slmtk.json", "report.json", "synth.jsonl"
_WEIGHTS = "*.safetensors"
# Behind the name of a packed matrix: its rows' scales, which are no parameters.
_SCALE = ":scale"


def place_of(path: str, out: str, folder: Path) -> Path:
    """Return where ``path`` is for us.

    Args:
        path: as a run was given it.
        out: as the same run was given its own folder.
        folder: where that is for us; both together tell from where the run saw its relative paths.
    """
    parts, found = Path(out).parts, folder.resolve().parts
    if Path(path).is_absolute() or Path(out).is_absolute() or not parts or found[-len(parts) :] != parts:
        return Path(path)
    return Path(*found[: -len(parts)]) / path


def facts_of_speech(sources: Sequence[Path]) -> Facts:
    """Return what is known of speech: of the codec and model that all ``sources`` share, and the mean speed."""
    found = [_of_source(source) for source in sources]
    return Facts(**{field.name: _merged(field.name, found) for field in dataclasses.fields(Facts)})


def _merged(name: str, found: Sequence[Facts]) -> Any:
    values = [getattr(facts, name) for facts in found]
    if None in values:
        return None
    if name in ("steps_per_second", "rtf"):
        return fmean(values)
    return values[0] if len(set(values)) == 1 else None


def _of_source(source: Path) -> Facts:
    info = _read(source / _INFO)
    facts = _of_codec(info)
    if not (source / _SPEECH).is_file():
        return facts
    report = _read(source / _REPORT)
    model = report.get("model")
    if model is not None:
        facts = _with_model(facts, place_of(str(model), str(report.get("out", "")), source))
    return dataclasses.replace(facts, steps_per_second=report.get("steps_per_second"), rtf=report.get("rtf"))


def facts_of_answers(model: Path | None, lines: Sequence[Mapping[str, Any]]) -> Facts:
    """Return what is known of a model's answers.

    Args:
        model: its folder; None for a system that is more, or less, than one speech model.
        lines: of its answers.
    """
    facts = Facts() if model is None else _with_model(_of_codec(_read(model / _INFO)), model)
    wall, audio, steps = (
        math.fsum(line[name] for line in lines) for name in ("seconds_wall", "seconds_audio", "steps")
    )
    if not audio or not wall:
        return facts
    return dataclasses.replace(facts, steps_per_second=steps / wall, rtf=wall / audio)


def _of_codec(info: Mapping[str, Any]) -> Facts:
    if "codec" not in info:
        return Facts()
    spec = CodecSpec.from_dict(info["codec"])
    return Facts(codec=spec.name, bits_per_second=spec.bits_per_second, frame_rate=spec.frame_rate)


def _with_model(facts: Facts, model: Path) -> Facts:
    files = sorted(model.glob(_WEIGHTS))
    if not files:
        return facts
    size = sum(file.stat().st_size for file in files)
    trained = (_read(model / _INFO).get("report") or {}).get("parameters")
    parameters = trained or sum(map(_count_parameters, files))
    return dataclasses.replace(facts, parameters=parameters, weights_bytes=size)


def _count_parameters(file: Path) -> int:
    """Count the numbers in a safetensors file, from its header alone.

    Raises:
        FormatError: it is damaged.
    """
    try:
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return sum(
            math.prod(tensor["shape"])
            for name, tensor in header.items()
            if name != "__metadata__" and not name.endswith(_SCALE)
        )
    except (ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise FormatError(f"{file} is no safetensors file ({error}); copy it again") from error


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; nothing is known from a file that is not there.

    Raises:
        FormatError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as JSON ({error}); restore it, or move it away") from error
    return values if isinstance(values, dict) else {}
