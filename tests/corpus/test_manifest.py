"""Tables of sound files: columns found or named, paths resolved, numbers kept, mistakes told with their line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from slmtk.corpus import CorpusConfig, find_utterances
from slmtk.errors import CorpusError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "clips" / f"{name}.wav", np.zeros(160), 16_000)
    return tmp_path


def told(corpus):
    return [(u.id, u.path.name, u.text, u.speaker, u.language, dict(u.extra)) for u in corpus.utterances]


EXPECTED = [
    ("u1", "a.wav", 'say "hi', "ann", "en", {"dnsmos": 3.5}),
    ("u2", "b.wav", None, "bob", "en", {"dnsmos": 4.0, "snr": 12.0}),
]


def test_csv_tsv_and_jsonl_say_the_same(folder):
    rows = [
        {
            "id": "u1",
            "path": "clips/a.wav",
            "sentence": 'say "hi',
            "client_id": "ann",
            "locale": "en",
            "dnsmos": 3.5,
            "snr": "",
        },
        {"id": "u2", "path": "clips/b.wav", "sentence": "", "client_id": "bob", "locale": "en", "dnsmos": 4, "snr": 12},
    ]
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    (folder / "m.tsv").write_text("\n".join("\t".join(line) for line in lines))
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in lines]
    (folder / "m.csv").write_text("\n".join(",".join(line) for line in quoted))
    (folder / "m2.csv").write_text("\n".join(";".join(line) for line in quoted))
    (folder / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for name in ("m.tsv", "m.csv", "m2.csv", "m.jsonl"):
        assert told(find_utterances(folder / name)) == EXPECTED, name


def test_columns_may_be_named(folder):
    (folder / "m.tsv").write_text("text\tsound\tsaid\twho\tdialect\nwrong\tclips/a.wav\tright\tann\tscots\n")
    config = CorpusConfig(audio_column="sound", text_column="said", speaker_column="who", keep_columns=("dialect",))
    assert told(find_utterances(folder / "m.tsv", config)) == [
        ("a", "a.wav", "right", "ann", None, {"dialect": "scots"})
    ]


def test_paths_may_start_from_the_folder_above(folder):
    (folder / "clips" / "metadata.tsv").write_text("path\tword\nclips/a.wav\tone\n")
    assert find_utterances(folder / "clips" / "metadata.tsv").utterances[0].path.is_file()


def test_a_folder_with_one_metadata_file_is_read_by_it(folder):
    (folder / "metadata.csv").write_text("file_name,transcription\nclips/b.wav,two\n")
    corpus = find_utterances(folder)
    assert (corpus.layout, [u.text for u in corpus.utterances]) == ("manifest", ["two"])


@pytest.mark.parametrize(
    ("name", "content", "config", "message"),
    [
        ("m.tsv", "sound\tx\nclips/a.wav\t1\n", {}, "no column that looks like audio; it has sound, x; name"),
        (
            "m.tsv",
            "path\ttext\nclips/a.wav\tx\n",
            {"text_column": "txt"},
            r"no column 'txt' \(--text-column\); it has path",
        ),
        ("m.tsv", "path\ttext\nclips/a.wav\tx\n", {"keep_columns": ("mood",)}, "no column 'mood' to keep"),
        ("m.tsv", "path\nelsewhere/a.wav\n", {}, "'elsewhere/a.wav', and no such file lies in"),
        ("m.tsv", "path\ttext\nclips/a.wav\n", {}, "line 2: expected 2 columns"),
        ("m.tsv", "id\tpath\n\tclips/a.wav\n", {}, "row 1: column 'id' is empty"),
        ("m.tsv", "path\ttext\n\tx\n", {}, "row 1: column 'path' is empty"),
        ("m.tsv", "path\n", {}, "has no rows"),
        ("m.jsonl", '{"path": "clips/a.wav"}\n{"path"', {}, "line 2 is not JSON"),
        ("m.jsonl", "[1]", {}, "line 1 is list; expected an object"),
        ("m.tsv", "id\tpath\nx\tclips/a.wav\nx\tclips/b.wav\n", {}, "two utterances have the id 'x'"),
    ],
)
def test_mistakes_are_told_with_their_place(folder, name, content, config, message):
    (folder / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        find_utterances(folder / name, CorpusConfig(**config))
