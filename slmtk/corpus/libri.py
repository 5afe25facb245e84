"""LibriSpeech (one .trans.txt a chapter) and LibriTTS (one or two .txt an utterance) -> utterances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmtk.corpus.base import Corpus, count_note, is_audio, read_text_file, squeeze
from slmtk.errors import CorpusError
from slmtk.spec import Utterance

TRANSCRIPT = ".trans.txt"
NORMALIZED = ".normalized.txt"
ORIGINAL = ".original.txt"


def librispeech(root: Path, files: Sequence[Path]) -> Corpus:
    """Read ``<speaker>/<chapter>/<id>.flac`` with ``*.trans.txt`` of lines "id TEXT" in the same folder.

    Ids need not be numbers.

    Raises:
        CorpusError: no transcript is there, or a line of one is not "id TEXT".
    """
    transcripts = [path for path in files if path.name.endswith(TRANSCRIPT)]
    if not transcripts:
        raise CorpusError(f"{root} holds no *{TRANSCRIPT}; LibriSpeech has one in every chapter's folder")
    texts: dict[tuple[Path, str], str | None] = {}
    for transcript in transcripts:
        for number, line in enumerate(read_text_file(transcript).splitlines(), 1):
            if not line.strip():
                continue
            utterance_id, _, text = line.strip().partition(" ")
            if (transcript.parent, utterance_id) in texts:
                raise CorpusError(f"{transcript}, line {number}: {utterance_id!r} occurs twice")
            texts[transcript.parent, utterance_id] = squeeze(text)
    sounds = [path for path in files if is_audio(path)]
    utterances = [
        Utterance(path.stem, path, texts.get((path.parent, path.stem)), _speaker(path, "-")) for path in sounds
    ]
    silent = len(texts.keys() - {(path.parent, path.stem) for path in sounds})
    untold = sum(utterance.text is None for utterance in utterances)
    notes = count_note(silent, "transcript lines have no sound file; they are left out")
    return Corpus("librispeech", root, utterances, notes + count_note(untold, "sound files have no transcript line"))


def libritts(root: Path, files: Sequence[Path]) -> Corpus:
    """Read ``<speaker>/<chapter>/<id>.wav`` with ``<id>.normalized.txt``, or else ``<id>.original.txt``, beside it.

    Raises:
        CorpusError: a text is not UTF-8.
    """
    texts = {path for path in files if path.name.endswith((NORMALIZED, ORIGINAL))}
    utterances = []
    for path in files:
        if is_audio(path):
            beside = [path.with_name(path.stem + suffix) for suffix in (NORMALIZED, ORIGINAL)]
            chosen = next((candidate for candidate in beside if candidate in texts), None)
            text = None if chosen is None else squeeze(read_text_file(chosen))
            utterances.append(Utterance(path.stem, path, text, _speaker(path, "_")))
    untold = sum(utterance.text is None for utterance in utterances)
    return Corpus("libritts", root, utterances, count_note(untold, "sound files have no text beside them"))


def _speaker(path: Path, separator: str) -> str:
    # The folder decides where it agrees with the name: a speaker's name may hold the separator.
    folder = path.parent.parent.name
    return folder if path.stem.startswith(folder + separator) else path.stem.split(separator)[0]
