"""Common Voice: the table that is chosen, its columns, and clips that are not there."""

from __future__ import annotations

import pytest

from slmtk.corpus import CorpusConfig, find_utterances
from slmtk.errors import CorpusError
from tests.corpus.test_layouts import put, told

HEADER = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tlocale\n"


def row(number: int, sentence: str, speaker: str = "ab12") -> str:
    return f"{speaker}\tcommon_voice_en_{number}.mp3\ts{number}\t{sentence}\t\t2\t0\ttwenties\ten\n"


@pytest.fixture
def corpus(tmp_path):
    files: dict[str, str | None] = {f"en/clips/common_voice_en_{n}.mp3": None for n in (1, 2, 3)}
    files["en/validated.tsv"] = HEADER + row(2, 'He said "no.') + row(1, "One\u2028line.", "cd34") + row(9, "Gone.")
    files["en/train.tsv"] = HEADER + row(1, "One.")
    files["en/other_sentences.tsv"] = "sentence_id\tsentence\ns1\tx\n"
    return put(tmp_path, files)


@pytest.mark.parametrize("inner", ["", "en"])
def test_the_validated_clips_are_taken_from_one_language_or_from_all(corpus, inner):
    found = find_utterances(corpus / inner)
    prefix = "" if inner else "en/"
    assert told(found) == [
        ("common_voice_en_1", f"{prefix}clips/common_voice_en_1.mp3", "One line.", "cd34"),
        ("common_voice_en_2", f"{prefix}clips/common_voice_en_2.mp3", 'He said "no.', "ab12"),
    ]
    assert found.layout == "commonvoice"
    assert [(u.language, u.extra) for u in found.utterances] == [("en", {"down_votes": 0.0, "up_votes": 2.0})] * 2
    assert found.notes == ("1 rows of validated.tsv have no clip; they are left out",)


def test_split_chooses_the_table(corpus):
    assert [u.text for u in find_utterances(corpus, CorpusConfig(split="train")).utterances] == ["One."]
    with pytest.raises(CorpusError, match=r"no dev.tsv; found train, validated; choose with --split"):
        find_utterances(corpus, CorpusConfig(split="dev"))


def test_a_folder_without_tables_or_clips_is_told(tmp_path):
    put(tmp_path, {"clips/x.mp3": None, "validated.tsv": HEADER + row(1, "One.")})
    with pytest.raises(CorpusError, match=r"none of the 1 clips of validated.tsv is in clips/"):
        find_utterances(tmp_path)
    (tmp_path / "validated.tsv").unlink()
    with pytest.raises(CorpusError, match=r"found no table of Common Voice beside a folder clips/"):
        find_utterances(tmp_path, CorpusConfig(layout="commonvoice"))
