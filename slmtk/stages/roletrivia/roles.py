"""Who answers, and in which recorded voice: a folder of clips by role, or the answers that a dataset has recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from slmtk import audio
from slmtk.errors import FormatError

# Long enough for a speaker vector, short enough for a prompt.
_LONGEST_SECONDS = 12.0


def read_roles(folder: Path) -> dict[str, Path]:
    """Return a recording of each role in ``folder``, by the role's name.

    Args:
        folder: a recording a role, named after it, or a sub-folder of recordings a role; of several the longest one up
            to 12 s is taken, else the shortest.

    Raises:
        FormatError: there is no recording, or two of one role beside each other.
        AudioError: one cannot be read.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder} is no folder; expected one with a recording, or a folder of recordings, a role")
    roles: dict[str, Path] = {}
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        found = _recordings(place)
        if not found:
            continue
        name = place.name if place.is_dir() else place.stem
        if name in roles:
            raise FormatError(f"{folder} holds the role {name!r} twice: {roles[name].name} and {place.name}")
        roles[name] = found[0] if len(found) == 1 else _best(found)
    if not roles:
        raise FormatError(f"{folder} holds no recordings ({', '.join(audio.SUFFIXES)}); expected one a role")
    return roles


def _recordings(place: Path) -> list[Path]:
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [path for path in paths if path.suffix.lower() in audio.SUFFIXES and path.is_file()]


def _best(paths: Sequence[Path]) -> Path:
    seconds = {path: audio.info(path).seconds for path in paths}
    short = [path for path in paths if seconds[path] <= _LONGEST_SECONDS]
    return max(short, key=seconds.__getitem__) if short else min(paths, key=seconds.__getitem__)


def other_answers(roles: Sequence[str], present: Sequence[bool], asked: Sequence[int], where: str) -> Mapping[int, int]:
    """Choose whose recorded answer is the reference of each question that is asked.

    It is the role's first recorded answer, the second where the first is the answer itself: a reference that says the
    answer would give it away to a model that reads its reference.

    Args:
        roles: of all rows.
        present: whether a row has a recorded answer.
        asked: numbers of the rows that are asked.
        where: the table, for messages.

    Returns:
        number of the row whose recording is the reference, by the number of the row that is asked.

    Raises:
        FormatError: a role has no other recorded answer.
    """
    recorded: dict[str, list[int]] = defaultdict(list)
    for number, (role, there) in enumerate(zip(roles, present, strict=True)):
        if there and len(recorded[role]) < 2:
            recorded[role].append(number)
    chosen = {}
    for number in asked:
        others = [other for other in recorded[roles[number]] if other != number]
        if not others:
            raise FormatError(
                f"{where} row {number + 1}: no recording of the role {roles[number]!r} but this answer itself; name a "
                "folder with a clip of each role: --roles FOLDER"
            )
        chosen[number] = others[0]
    return chosen
