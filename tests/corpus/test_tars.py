"""Tar shards: read where they lie, told apart, and damaged ones named."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slmtk import shards
from slmtk.corpus import CorpusConfig, find_utterances, known_seconds, load_audio, open_audio, relative_source
from slmtk.errors import AudioError, CorpusError
from slmtk.progress import SilentProgress
from slmtk.stages.tokenize import TokenizeConfig, tokenize

RATE = 16_000


def sound(level: float, kind: str = "FLAC", seconds: float = 0.1) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(round(RATE * seconds), level), RATE, format=kind)
    return stream.getvalue()


def pack(path: Path, members: dict[str, bytes | str | dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            content = json.dumps(content) if isinstance(content, dict) else content
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def emilia_json(name: str, **other) -> dict:
    known = {"text": f" It says {name}.", "duration": 2.5, "speaker": name[:5], "language": "en", "dnsmos": 3.25}
    return {"id": name, "wav": f"mp3/{name}.mp3", **known, **other}


def told(corpus) -> list[tuple]:
    return [(u.id, relative_source(u, corpus.root), u.text, u.speaker, u.language) for u in corpus.utterances]


def test_emilia(tmp_path):
    first = {"W1.mp3": sound(0.5, "MP3", 2.5), "W1.json": emilia_json("W1", phone_count=12, note="x", clean=True)}
    second = {"W0.json": emilia_json("W0", dnsmos=2.0), "W0.mp3": sound(0.25, "MP3", 2.5)}
    pack(tmp_path / "EN/EN-B000001.tar", second)
    pack(tmp_path / "EN/EN-B000000.tar", first)
    corpus = find_utterances(tmp_path)
    assert told(corpus) == [
        ("W0", "EN/EN-B000001.tar/W0.mp3", "It says W0.", "W0", "en"),
        ("W1", "EN/EN-B000000.tar/W1.mp3", "It says W1.", "W1", "en"),
    ]
    assert [u.extra for u in corpus.utterances] == [{"dnsmos": 2.0}, {"dnsmos": 3.25, "phone_count": 12.0}]
    assert corpus.describe() == "emilia: 2 utterances, 2 with text, 2 speakers"
    assert [known_seconds(u) for u in corpus.utterances] == [2.5, 2.5]
    # Worker processes get utterances through a pipe.
    for utterance, level in zip(pickle.loads(pickle.dumps(corpus.utterances)), (0.25, 0.5), strict=True):
        wav = load_audio(utterance, RATE)
        assert wav[RATE].item() == pytest.approx(level, abs=0.01)
        assert len(wav) == pytest.approx(2.5 * RATE, rel=0.05)


def test_a_webdataset_of_any_sounds_with_json_or_text(tmp_path):
    members = {
        "a/1.flac": sound(0.5),
        "a/1.txt": "one\n",
        "a/2.wav": sound(0.25, "WAV"),
        "a/2.json": {"transcript": "two", "spk": 7, "mood": "calm"},
        "a/2.txt": "another text",
        "a/3.ogg": sound(0.25, "OGG"),
        "a/3.npy": b"what else lies there",
        "a/4.json": {"transcript": "no sound"},
        "a/._5.wav": b"a Mac's",
    }
    tar = pack(tmp_path / "x.tar", members)
    corpus = find_utterances(tar, CorpusConfig(keep_columns=("mood",)))
    assert told(corpus) == [
        ("1", "x.tar/a/1.flac", "one", None, None),
        ("2", "x.tar/a/2.wav", "two", "7", None),
        ("3", "x.tar/a/3.ogg", None, None, None),
    ]
    assert corpus.layout == "webdataset"
    assert corpus.utterances[1].extra == {"mood": "calm"}
    assert corpus.notes == ("1 sounds have no text",)
    assert known_seconds(corpus.utterances[1]) is None
    assert open_audio(corpus.utterances[0]).getvalue() == members["a/1.flac"]


def test_names_that_repeat_in_other_shards_get_the_shards_name(tmp_path):
    for number in (0, 1):
        pack(tmp_path / f"s{number}.tar", {"000.flac": sound(0.5), f"only{number}.flac": sound(0.5)})
    ids = [u.id for u in find_utterances(tmp_path).utterances]
    assert ids == ["only0", "only1", "s0-000", "s1-000"]


def test_a_key_of_the_json_can_be_named(tmp_path):
    row = {"text": "raw", "clean_text": "clean", "who": "ann"}
    tar = pack(tmp_path / "x.tar", {"1.flac": sound(0.5), "1.json": row})
    config = CorpusConfig(text_column="clean_text", speaker_column="who")
    assert told(find_utterances(tar, config)) == [("1", "x.tar/1.flac", "clean", "ann", None)]
    with pytest.raises(CorpusError, match=r"no json in .* has a key 'mood'; found clean_text, text, who"):
        find_utterances(tar, CorpusConfig(speaker_column="mood"))


@pytest.mark.parametrize("kept", [1024, 512 + 700, 512 + 1536, 3000])
def test_a_tar_that_breaks_off_is_one_line_that_names_it(tmp_path, kept):
    tar = pack(tmp_path / "EN-B7.tar", {f"{n}.wav": sound(0.5, "WAV", 0.02 * (n + 1)) for n in range(3)})
    tar.write_bytes(tar.read_bytes()[:kept])
    with pytest.raises(CorpusError, match=r"EN-B7.tar (breaks off|is no uncompressed).*fetch it again") as caught:
        find_utterances(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_json_that_breaks_off_with_its_tar_is_the_tars_fault(tmp_path):
    tar = pack(tmp_path / "x.tar", {"1.wav": sound(0.5, "WAV"), "1.json": emilia_json("1")})
    tar.write_bytes(tar.read_bytes()[: 512 + 3584 + 512 + 20])
    with pytest.raises(CorpusError, match=r"x.tar breaks off or is damaged after 1 files"):
        find_utterances(tar)


def test_a_tar_that_may_have_been_cut_between_two_files_is_noted(tmp_path):
    tar = pack(tmp_path / "x.tar", {"1.wav": sound(0.5, "WAV"), "2.wav": sound(0.5, "WAV")})
    assert find_utterances(tar).notes == ("2 sounds have no text",)
    tar.write_bytes(tar.read_bytes()[: 512 + 3584])  # a header, and 3,244 bytes of sound in whole blocks
    note = f"{tar} has no mark at its end: it may have been cut between two files"
    assert find_utterances(tar).notes == (note, "1 sounds have no text")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.flac": b"x", "1.json": "{"}, "x.tar: 1.json is not JSON"),
        ({"1.flac": b"x", "1.json": "[1]"}, "x.tar: 1.json is list; expected an object"),
        ({"1.flac": b"x", "1.txt": "ä".encode("latin-1")}, "x.tar: 1.txt is not UTF-8"),
        ({"1.flac": b"x", "1.mp3": b"x"}, "holds '1' as two sounds: 1.flac and 1.mp3"),
        ({"1.npy": b"x"}, "holds no sound files"),
    ],
)
def test_what_a_shard_should_not_hold_is_named(tmp_path, members, message):
    pack(tmp_path / "x.tar", members)
    with pytest.raises(CorpusError, match=message):
        find_utterances(tmp_path)


def test_a_file_that_is_no_tar_and_a_folder_without_one_are_told(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(CorpusError, match=r"x.tar is no uncompressed tar, or is damaged"):
        find_utterances(tmp_path)
    (tmp_path / "x.tar").unlink()
    with pytest.raises(CorpusError, match=r"holds no \*.tar"):
        find_utterances(tmp_path, CorpusConfig(layout="emilia"))


def test_a_tar_cut_short_or_gone_after_it_was_indexed_fails_its_utterances_alone(tmp_path):
    tar = pack(tmp_path / "x.tar", {"1.wav": sound(0.5, "WAV"), "2.wav": sound(0.5, "WAV")})
    whole, cut = find_utterances(tar).utterances
    tar.write_bytes(tar.read_bytes()[: cut.locator.offset + 10])
    assert len(load_audio(whole, RATE)) == 1600
    with pytest.raises(AudioError, match=r"x.tar/2.wav breaks off") as caught:
        load_audio(cut, RATE)
    assert caught.value.kind == "truncated"
    tar.unlink()
    with pytest.raises(AudioError, match="is not there"):
        load_audio(whole, RATE)


def test_an_utterance_of_a_shard_costs_less_than_a_kilobyte_and_a_half_of_memory(tmp_path):
    import tracemalloc

    # What a member holds does not matter to the index, so that a byte stands for a sound.
    members: dict[str, bytes | str | dict] = {}
    for number in range(500):
        name = f"EN_B00000_S00000_W{number:06d}"
        members |= {f"{name}.mp3": b"x", f"{name}.json": emilia_json(name)}
    tar = pack(tmp_path / "x.tar", members)
    find_utterances(tar)
    tracemalloc.start()
    corpus = find_utterances(tar)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(corpus.utterances) < 1500


def test_tokenize_reads_shards_in_place_and_plans_by_their_stated_durations(tmp_path, monkeypatch):
    from slmtk.stages.tokenize import parts as tokenize_plan

    members: dict[str, bytes | str | dict] = {}
    for number in range(4):
        members |= {f"W{number}.flac": sound(0.5, seconds=0.2), f"W{number}.json": emilia_json(f"W{number}")}
    pack(tmp_path / "in/x.tar", members)
    monkeypatch.setattr(tokenize_plan, "open_audio", None)  # no header is read
    config = TokenizeConfig("tests.helpers.tone:ToneCodec", device="cpu", workers=1, shard_hours=5 / 3600)
    report = tokenize(tmp_path / "in", tmp_path / "out", config, SilentProgress())
    assert (report.layout, report.encoded, report.parts) == ("emilia", 4, 2)  # two of 2.5 stated seconds are 5
    rows = list(shards.open_codes(tmp_path / "out").rows())
    assert (rows[0].id, rows[0].source, rows[0].extra) == ("W0", "x.tar/W0.flac", {"dnsmos": 3.25})
    assert rows[0].duration == pytest.approx(0.2)
