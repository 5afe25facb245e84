"""Which column of a table of questions is what: names given by the user, else the likeliest of those that are there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

from slmtk.errors import FormatError

# Names that such columns go by, the likeliest first; compared in lower case.
_GUESSES = {
    "question": "question text_question question_text query prompt instruction input",
    "answers": "answers answer text_answer answer_text aliases gold ground_truth target response output",
    "aliases": "aliases answer_aliases alias normalized_aliases",
    "reference": "reference reference_audio reference_wav ref_audio ref_wav prompt_audio prompt_wav role_audio",
    "speech": "answer_audio answer_speech speech_answer answer_wav audio speech wav audio_path wav_path path file_name",
    "question_audio": "question_audio question_speech speech_question spoken_question question_wav",
    "role": "role role_name character character_name speaker speaker_name speaker_id spk",
    "split": "split domain part",
    "id": "id utt_id utterance_id key",
}
_SOUNDS = ("reference", "speech", "question_audio")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of questions; None is found by name, "" is not in the table."""

    question: str | None = None
    """What is asked."""
    answers: str | None = None
    """All that is right: a list of texts, one text, or TriviaQA's object of a value and its aliases."""
    aliases: str | None = None
    """Further texts that are right."""
    reference: str | None = None
    """Recording of the role's voice."""
    speech: str | None = None
    """Recording of the answer; where there is no reference, another answer of the role serves as one."""
    question_audio: str | None = None
    """Recording of the question."""
    role: str | None = None
    """Who answers; without it, the reference's file name."""
    split: str | None = None
    """Group that is scored by itself; without it, the dataset's split, or "all"."""
    id: str | None = None
    """Name of the answer's files; without it, the table's name and the row's number."""


def option_of(kind: str) -> str:
    """The command's option that names the column of ``kind``."""
    return f"--{kind.replace('_', '-')}-column"


def find_columns(names: Sequence[str], sounds: Collection[str], columns: Columns, where: str) -> Columns:
    """Find every column.

    Args:
        names: of all columns of the table.
        sounds: of those that hold recordings, and so no text.
        columns: what the user named.
        where: the table, for messages.

    Returns:
        the names; "" for what is not there.

    Raises:
        FormatError: a column that was named is not there, or there is neither question nor answers; the message lists
            what is there.
    """
    found = {field.name: _find(field.name, names, sounds, columns, where) for field in fields(Columns)}
    for kind in ("question", "answers"):
        if not found[kind]:
            raise FormatError(f"{where} has no column that looks like the {kind}; {listing(names, kind)}")
    if found["aliases"] == found["answers"]:
        found["aliases"] = ""
    return Columns(**found)


def listing(names: Sequence[str], kind: str) -> str:
    """The end of a message on a column that is not there: what is, and the option that says which it is."""
    return f"found {', '.join(map(repr, names)) or 'none'}; {option_of(kind)} says which of them it is"


def _find(kind: str, names: Sequence[str], sounds: Collection[str], columns: Columns, where: str) -> str:
    named: str | None = getattr(columns, kind)
    if named is not None:
        if named and named not in names:
            raise FormatError(f"{where} has no column {named!r}; {listing(names, kind)}")
        return named
    usable = [name for name in reversed(names) if kind in _SOUNDS or name not in sounds]
    lowered = {name.lower(): name for name in usable}
    return next((lowered[guess] for guess in _GUESSES[kind].split() if guess in lowered), "")
