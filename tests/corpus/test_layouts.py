"""Every layout gives the same utterances that a person reading the folder would write down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from slmtk.corpus import CorpusConfig, find_utterances, load_audio, relative_source
from slmtk.errors import ConfigError, CorpusError


def put(root: Path, files: dict[str, str | None]) -> Path:
    """Write files: text, or (None) 0.1 s of sound."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            soundfile.write(path, np.full(1600, 0.25), 16_000)
        else:
            path.write_text(text, encoding="utf-8")
    return root


def told(corpus) -> list[tuple]:
    return [(u.id, relative_source(u, corpus.root), u.text, u.speaker) for u in corpus.utterances]


def test_librispeech(tmp_path):
    put(
        tmp_path,
        {
            "84/121/84-121-0001.flac": None,
            "84/121/84-121-0000.flac": None,
            "84/121/84-121.trans.txt": "84-121-0000 GO  NOW\n84-121-0001 YES\n84-121-0002 NEVER RECORDED\n",
            "en-us/x/en-us-x-an251.flac": None,
            "en-us/x/en-us-x-an252.flac": None,
            "en-us/x/en-us-x.trans.txt": "en-us-x-an251 STOP\n",
        },
    )
    corpus = find_utterances(tmp_path)
    assert told(corpus) == [
        ("84-121-0000", "84/121/84-121-0000.flac", "GO NOW", "84"),
        ("84-121-0001", "84/121/84-121-0001.flac", "YES", "84"),
        ("en-us-x-an251", "en-us/x/en-us-x-an251.flac", "STOP", "en-us"),
        ("en-us-x-an252", "en-us/x/en-us-x-an252.flac", None, "en-us"),
    ]
    assert corpus.describe() == "librispeech: 4 utterances, 3 with text, 2 speakers"
    assert corpus.notes == (
        "1 transcript lines have no sound file; they are left out",
        "1 sound files have no transcript line",
    )


def test_libritts_prefers_the_normalized_text(tmp_path):
    put(
        tmp_path,
        {
            "19/198/19_198_000000_000000.wav": None,
            "19/198/19_198_000000_000000.normalized.txt": "Doctor Who.",
            "19/198/19_198_000000_000000.original.txt": "Dr. Who.",
            "19/198/19_198_000000_000002.wav": None,
            "19/198/19_198_000000_000002.original.txt": "Mr. X.\n",
        },
    )
    assert told(find_utterances(tmp_path)) == [
        ("19_198_000000_000000", "19/198/19_198_000000_000000.wav", "Doctor Who.", "19"),
        ("19_198_000000_000002", "19/198/19_198_000000_000002.wav", "Mr. X.", "19"),
    ]


def test_libritts_r_is_laid_out_as_libritts(tmp_path):
    home = "LibriTTS_R/dev-clean/84/121123"
    name = "84_121123_000007_000001"
    put(
        tmp_path,
        {
            f"{home}/{name}.wav": None,
            f"{home}/{name}.normalized.txt": "Maximilian.",
            f"{home}/{name}.original.txt": "MAXIMILIAN.",
            f"{home}/84_121123.trans.tsv": f"{name}\tMAXIMILIAN.\tMaximilian.\n",
            f"{home}/84_121123.book.tsv": f"{name}\tMAXIMILIAN.\t1\t2\n",
            "LibriTTS_R/speakers.tsv": "84\tF\tdev-clean\tsomeone\n",
        },
    )
    corpus = find_utterances(tmp_path)
    assert told(corpus) == [(name, f"{home}/{name}.wav", "Maximilian.", "84")]
    assert corpus.layout == "libritts"


def test_vctk_takes_the_first_microphone(tmp_path):
    put(
        tmp_path,
        {
            "wav48_silence_trimmed/p225/p225_001_mic1.flac": None,
            "wav48_silence_trimmed/p225/p225_001_mic2.flac": None,
            "wav48_silence_trimmed/p280/p280_004_mic2.flac": None,
            "txt/p225/p225_001.txt": "Please call Stella.\n",
        },
    )
    assert told(find_utterances(tmp_path)) == [
        ("p225_001", "wav48_silence_trimmed/p225/p225_001_mic1.flac", "Please call Stella.", "p225"),
        ("p280_004", "wav48_silence_trimmed/p280/p280_004_mic2.flac", None, "p280"),
    ]


def test_ljspeech_takes_the_normalised_column(tmp_path):
    put(
        tmp_path,
        {
            "wavs/LJ001-0001.wav": None,
            "wavs/LJ001-0002.wav": None,
            "metadata.csv": 'LJ001-0001|In 1455 "|in fourteen "\nLJ001-0002|only raw|\nLJ009-0001|gone|gone\n',
        },
    )
    corpus = find_utterances(tmp_path)
    assert told(corpus) == [
        ("LJ001-0001", "wavs/LJ001-0001.wav", 'in fourteen "', "LJ"),
        ("LJ001-0002", "wavs/LJ001-0002.wav", "only raw", "LJ"),
    ]
    assert corpus.notes == ("1 lines of metadata.csv have no sound file; they are left out",)


def test_a_plain_folder_takes_text_beside_the_sound_and_speakers_from_folders(tmp_path):
    put(tmp_path, {"ann/1.wav": None, "ann/1.txt": "one", "bob/2.mp3": None, "bob/2.lab": "two\n", "bob/3.wav": None})
    assert told(find_utterances(tmp_path)) == [
        ("1", "ann/1.wav", "one", "ann"),
        ("2", "bob/2.mp3", "two", "bob"),
        ("3", "bob/3.wav", None, "bob"),
    ]


def test_a_plain_folder_names_files_by_their_way_where_stems_repeat(tmp_path):
    put(tmp_path, {"ann/1.wav": None, "bob/1.wav": None, "wavs/2.wav": None})
    assert [(u.id, u.speaker) for u in find_utterances(tmp_path).utterances] == [
        ("ann-1", "ann"),
        ("bob-1", "bob"),
        ("wavs-2", None),
    ]


def test_a_single_file_is_a_corpus(tmp_path):
    put(tmp_path, {"a.wav": None, "a.txt": "hello", "b.wav": None})
    assert told(find_utterances(tmp_path / "a.wav")) == [("a", "a.wav", "hello", None)]


def test_linked_folders_are_followed_but_not_for_ever(tmp_path):
    put(tmp_path / "real", {"ann/1.wav": None})
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/loop").symlink_to(tmp_path / "corpus")
    assert [u.id for u in find_utterances(tmp_path / "corpus").utterances] == ["1"]


def test_two_utterances_with_one_id_are_an_error_that_names_both(tmp_path):
    put(tmp_path, {"1/1-a.flac": None, "2/1-a.flac": None, "1/x.trans.txt": "1-a A", "2/x.trans.txt": "1-a B"})
    with pytest.raises(CorpusError, match=r"two utterances have the id '1-a': .*1/1-a.flac and .*2/1-a.flac"):
        find_utterances(tmp_path)


@pytest.mark.parametrize(
    ("files", "layout", "message"),
    [
        ({"a.xyz": "x"}, "auto", "holds no sound files"),
        ({"slmtk.json": "{}", "a.wav": None}, "auto", "was written by slmtk"),
        ({"a.wav": None}, "librispeech", r"holds no \*.trans.txt"),
        ({"a.wav": None}, "ljspeech", "has no metadata.csv"),
        ({"a.wav": None}, "manifest", "it holds none; name the file"),
        ({"a.wav": None}, "hf", "neither a saved Hugging Face dataset nor Parquet"),
        ({"wavs/a.wav": None, "metadata.csv": "a|b\nc\n"}, "ljspeech", "metadata.csv, line 2: expected"),
    ],
)
def test_a_folder_that_is_no_such_corpus_says_what_is_missing(tmp_path, files, layout, message):
    with pytest.raises(CorpusError, match=message):
        find_utterances(put(tmp_path, files), CorpusConfig(layout=layout))


def test_text_that_is_not_utf8_is_named(tmp_path):
    put(tmp_path, {"a.wav": None})
    (tmp_path / "a.txt").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"a.txt is not UTF-8 text"):
        find_utterances(tmp_path)


def test_an_unknown_layout_and_a_missing_source_are_user_errors(tmp_path):
    with pytest.raises(ConfigError, match="no corpus layout 'kaldi'"):
        CorpusConfig(layout="kaldi")
    with pytest.raises(CorpusError, match="is not there; expected a folder"):
        find_utterances(tmp_path / "nothing")


def test_the_language_that_is_given_fills_the_gaps(tmp_path):
    put(tmp_path, {"m.jsonl": '{"path": "a.wav", "lang": "de"}\n{"path": "b.wav", "lang": ""}', "a.wav": None})
    corpus = find_utterances(tmp_path / "m.jsonl", CorpusConfig(language="en"))
    assert [u.language for u in corpus.utterances] == ["de", "en"]


@pytest.mark.data
def test_real_corpora_are_recognised(shared_data):
    read = find_utterances(shared_data / "read_speech")
    assert read.describe() == "librispeech: 541 utterances, 541 with text, 142 speakers"
    digits = find_utterances(shared_data / "fsdd")
    assert digits.describe() == "manifest: 3000 utterances, 3000 with text, 6 speakers"
    assert digits.utterances[0].extra == {"digit": 0.0, "index": 0.0, "seconds": 0.298}
    # The paths in this manifest start from the folder above it.
    by_table = find_utterances(shared_data / "read_speech" / "metadata.tsv")
    assert [(u.id, u.path.resolve(), u.text, u.speaker) for u in by_table.utterances] == [
        (u.id, u.path.resolve(), u.text, u.speaker) for u in read.utterances
    ]
    assert len(load_audio(read.utterances[0], 16_000)) / 16_000 == pytest.approx(
        by_table.utterances[0].extra["seconds"], abs=1e-2
    )
