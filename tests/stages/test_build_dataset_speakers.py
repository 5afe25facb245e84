"""Speaker vectors from the recordings, by another encoder than the codec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.config import write_json
from slmtk.corpus import CorpusConfig
from slmtk.data.dataset import open_dataset
from slmtk.errors import AudioError, ConfigError, CorpusError, FormatError, PluginError
from slmtk.shards import write_index, write_shard
from slmtk.speakers.base import SpeakerEncoder
from tests.stages.test_build_dataset import SPEC, build, contents, make_row, write_codes


class LevelEncoder(SpeakerEncoder):
    """The vector of a recording is its level in the middle and 1; what is quieter than 0.05 is refused."""

    dim, sample_rate = 2, 8_000

    def __init__(self, model: str | None) -> None:
        self.name = f"level {model or 'own'}"

    @classmethod
    def create(cls, *, model: str | None = None, device: str = "cpu") -> LevelEncoder:
        return cls(model)

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        assert len(wav) == 4_000  # half a second at the encoder's own rate
        if wav[2_000] < 0.05:
            raise AudioError("too quiet", kind="empty")
        return torch.tensor([float(wav[2_000]), 1.0])


@pytest.fixture(autouse=True)
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmtk.plugins.load", lambda group, name: {"level": LevelEncoder}[name])


def record(folder: Path, **peaks: float) -> str:
    for name, level in peaks.items():
        audio.write(folder / f"{name}.wav", torch.full((8_000,), level), 16_000)
    return str(folder)


def test_rows_have_the_encoders_vectors_and_keep_the_codecs(tmp_path: Path):
    rows = [make_row("a"), make_row("b")]
    source = record(tmp_path / "wav", a=0.5, b=0.25, unused=1.0)
    build([write_codes(tmp_path / "codes", rows)], tmp_path / "set", speaker_encoder="level", audio=(source,))
    folder = open_dataset(tmp_path / "set")
    assert (folder.speaker_encoder, folder.speaker_dim, folder.speakers.weights) == ("level", 2, "level own")
    found = list(folder.rows("train"))
    np.testing.assert_allclose([row.speaker_vector for row in found], [[0.5, 1], [0.25, 1]], atol=1e-3)
    for row, source_row in zip(found, rows, strict=True):
        np.testing.assert_array_equal(row.timbre, source_row.speaker_vector)
        np.testing.assert_array_equal(row.codec_vector(folder.speakers), source_row.speaker_vector)
    assert "`speaker_vector`: by level own" in (tmp_path / "set" / "README.md").read_text()


def test_the_codecs_own_vectors_are_named_so(tmp_path: Path):
    build([write_codes(tmp_path / "codes", [make_row("a")])], tmp_path / "set")
    folder = open_dataset(tmp_path / "set")
    row = folder.rows("train")[0]
    assert (folder.speaker_encoder, folder.speaker_dim, row.timbre) == ("codec", 3, None)
    assert row.codec_vector(folder.speakers) is row.speaker_vector


def test_a_recording_without_a_voice_is_left_out_by_name(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a"), make_row("b")])
    source = record(tmp_path / "wav", a=0.5, b=0.01)
    report = build([codes], tmp_path / "set", speaker_encoder="level", audio=(source,))
    assert report.dropped == {"no speaker vector (empty)": {"rows": 1, "seconds": 1.0}}


def test_utterances_without_a_recording_are_named_before_anything_is_written(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row(f"u{n}") for n in range(8)])
    source = record(tmp_path / "wav", u0=0.5)
    with pytest.raises(ConfigError, match=r"no recording of 7 utterances of the codes: 'u1', .*'u5' and 2 more"):
        build([codes], tmp_path / "set", speaker_encoder="level", audio=(source,))
    assert not (tmp_path / "set").exists()
    with pytest.raises(CorpusError):
        build([codes], tmp_path / "set", speaker_encoder="level", audio=(str(tmp_path / "no"),))


def test_recordings_are_read_as_tokenize_read_them(tmp_path: Path):
    record(tmp_path / "wav", first=0.5)
    (tmp_path / "wav" / "list.csv").write_text("name,file,words\nx-1,first.wav,hello\n")
    columns = CorpusConfig(layout="manifest", id_column="name", audio_column="file", text_column="words")
    info = write_shard(tmp_path / "codes" / "part-00000.parquet", SPEC, [make_row("x-1")])
    write_index(tmp_path / "codes", SPEC, {"corpus": columns}, "fp", [info], 0)
    source = (str(tmp_path / "wav" / "list.csv"),)
    build([tmp_path / "codes"], tmp_path / "set", speaker_encoder="level", audio=source)
    assert [row.id for row in open_dataset(tmp_path / "set").rows("train")] == ["x-1"]


def test_same_recordings_give_the_same_bytes_and_another_encoder_another_dataset(tmp_path: Path):
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    settings = {"speaker_encoder": "level", "audio": (record(tmp_path / "wav", a=0.5),)}
    build([codes], tmp_path / "set", **settings)
    build([codes], tmp_path / "again", **settings)
    assert contents(tmp_path / "set") == contents(tmp_path / "again")
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "set", **{**settings, "speaker_encoder": "level:other"})
    with pytest.raises(ConfigError, match="--overwrite"):
        build([codes], tmp_path / "set")


def test_an_index_that_does_not_say_whose_vectors_is_refused_and_an_older_one_means_the_codec(tmp_path: Path):
    build([write_codes(tmp_path / "codes", [make_row("a")])], tmp_path / "set")
    path = tmp_path / "set" / "slmtk.json"
    index = json.loads(path.read_text())
    del index["speaker"]
    write_json(path, index)
    assert open_dataset(tmp_path / "set").speaker_encoder == "codec"
    write_json(path, {**index, "speaker": {"encoder": "level"}})
    with pytest.raises(FormatError, match="whose the speaker vectors are"):
        open_dataset(tmp_path / "set")


def test_an_unknown_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    codes = write_codes(tmp_path / "codes", [make_row("a")])
    with pytest.raises(PluginError, match="no speakers plug-in 'resemblizer'; did you mean 'resemblyzer'"):
        build([codes], tmp_path / "set", speaker_encoder="resemblizer", audio=(record(tmp_path / "wav", a=0.5),))
