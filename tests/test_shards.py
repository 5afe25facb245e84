"""Codes on disk: what was put in comes out, ten bits a code, and damage is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from slmtk import shards
from slmtk.errors import CodecMismatchError, FormatError
from slmtk.shards import CodesRow
from slmtk.spec import CodecSpec, Stream

SPEC = CodecSpec("three", 16_000, 200, tuple(Stream(name, 1024) for name in "abc"), "decoupled", speaker_dim=2)
PLAIN = dataclasses.replace(SPEC, speaker_dim=0, family="coupled")


def make_rows(count: int, frames: int, spec: CodecSpec = SPEC, seed: int = 0) -> list[CodesRow]:
    draw = np.random.default_rng(seed)
    return [
        CodesRow(
            id=f"utterance-{number:05d}",
            codes=draw.integers(0, 1024, (3, frames + number % 3)).astype(np.int32),
            duration=(frames + number % 3) / 80,
            text=None if number % 5 == 4 else f'text {number}, "quoted" — and <eosp>',
            speaker=f"s{number % 7}",
            source=f"s/{number}.flac",
            source_sha1=f"{number:040x}",
            speaker_vector=draw.normal(size=2).astype(np.float32) if spec.speaker_dim else None,
            extra={"dnsmos": 3.5 + number, "subset": "clean"},
        )
        for number in range(count)
    ]


def write_folder(out, rows, spec=SPEC, size=2):
    infos = [
        shards.write_shard(out / shards.part_name(i), spec, rows[start : start + size])
        for i, start in enumerate(range(0, len(rows), size))
    ]
    shards.write_index(out, spec, {"codec": spec.name}, "f00", infos, 0)
    return out


def assert_same(found: CodesRow, expected: CodesRow) -> None:
    for field in dataclasses.fields(CodesRow):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        elif field.name == "duration":
            assert ours == pytest.approx(theirs, rel=1e-6)
        else:
            assert ours == theirs, field.name


@pytest.mark.parametrize("spec", [SPEC, PLAIN], ids=["speaker", "plain"])
def test_what_is_written_is_read_back(tmp_path, spec):
    rows = make_rows(7, 11, spec)
    folder = shards.open_codes(write_folder(tmp_path, rows, spec))
    for found, expected in zip(folder.rows(), rows, strict=True):
        assert_same(found, expected)
    assert folder.spec == spec
    assert folder.num_rows == 7
    assert_same(folder.row("utterance-00005"), rows[5])
    assert shards.verify(tmp_path) == []


def test_codes_lie_frame_after_frame(tmp_path):
    row = CodesRow("a", np.array([[1, 2], [11, 12], [21, 22]], np.int32), 2 / 80)
    shards.write_shard(tmp_path / "part-00000.parquet", PLAIN, [row])
    table = pq.read_table(tmp_path / "part-00000.parquet").to_pylist()
    assert table[0]["codes"] == [1, 11, 21, 2, 12, 22]
    assert (table[0]["num_frames"], table[0]["duration"]) == (2, 0.02500000037252903)


def column_bytes(path) -> dict[str, int]:
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = (group.column(place) for place in range(group.num_columns))
    return {column.path_in_schema.split(".")[0]: column.total_compressed_size for column in columns}


def test_evenly_used_codes_take_ten_bits_each(tmp_path):
    rows = make_rows(150, 479)  # every code as likely as every other
    shards.write_shard(tmp_path / "part-00000.parquet", SPEC, rows)
    bound = 3 * sum(row.codes.shape[1] for row in rows) * 10 / 8
    assert bound < column_bytes(tmp_path / "part-00000.parquet")["codes"] < 1.03 * bound


def test_unevenly_used_codes_take_less(tmp_path):
    # Codes 0..255 have 7 frames of 8, 256..1023 the rest: 0.544 + 7/8 log2(256) + 1/8 log2(768) = 8.74 bits.
    draw, shape = np.random.default_rng(0), (3, 72_000)
    common, rare = draw.integers(0, 256, shape), draw.integers(256, 1024, shape)
    codes = np.where(draw.random(shape) < 7 / 8, common, rare).astype(np.int32)
    shards.write_shard(tmp_path / "part-00000.parquet", PLAIN, [CodesRow("a", codes, 900.0)])
    assert column_bytes(tmp_path / "part-00000.parquet")["codes"] < 1.04 * codes.size * 8.74 / 8


def test_same_rows_make_same_bytes(tmp_path):
    infos = [shards.write_shard(tmp_path / name / "part-00000.parquet", SPEC, make_rows(5, 30)) for name in "ab"]
    assert infos[0] == infos[1]
    assert (tmp_path / "a/part-00000.parquet").read_bytes() == (tmp_path / "b/part-00000.parquet").read_bytes()


def test_big_codebooks_are_kept_in_32_bits(tmp_path):
    spec = CodecSpec("big", 16_000, 320, (Stream("fsq", 65_537),))
    shards.write_shard(tmp_path / "part-00000.parquet", spec, [CodesRow("a", np.array([[65_536, 0]], np.int32), 0.04)])
    assert next(shards.read_part(tmp_path / "part-00000.parquet")).codes.tolist() == [[65_536, 0]]


def test_chosen_columns_leave_the_others_at_their_defaults(tmp_path):
    write_folder(tmp_path, make_rows(3, 4))
    rows = list(shards.open_codes(tmp_path).rows(("text",)))
    assert [row.text for row in rows] == [row.text for row in make_rows(3, 4)]
    assert rows[0].codes.shape == (3, 0)
    with pytest.raises(FormatError, match="no column 'loudness'; it has id, text"):
        next(shards.open_codes(tmp_path).rows(("loudness",)))


def test_parts_that_lack_an_extra_value_keep_the_column(tmp_path):
    row = dataclasses.replace(make_rows(1, 4)[0], extra={})
    path = tmp_path / "part-00000.parquet"
    shards.write_shard(path, SPEC, [row], extra_columns={"dnsmos": float, "subset": str})
    assert {"dnsmos", "subset"} <= set(pq.read_schema(path).names)
    assert next(shards.read_part(path)).extra == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.zeros((2, 4), np.int32)}, r"codes are \[2, 4\]; three has \[3, T\]"),
        ({"codes": np.full((3, 4), 1024, np.int32)}, "stream 'a' holds 1024..1024, not 0..1023"),
        ({"codes": np.full((3, 4), -1, np.int32)}, "stream 'a' holds -1..-1"),
        ({"speaker_vector": None}, "speaker vector is none; three needs 2"),
        ({"speaker_vector": np.array([0, np.nan], np.float32)}, "needs 2 finite numbers"),
        ({"extra": {"duration": 3.0}}, "extra column is called 'duration'"),
    ],
)
def test_rows_that_do_not_fit_the_codec_are_refused(tmp_path, change, message):
    row = dataclasses.replace(make_rows(1, 4)[0], **change)
    with pytest.raises(FormatError, match=message):
        shards.write_shard(tmp_path / "part-00000.parquet", SPEC, [row])
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_codec_is_refused(tmp_path):
    write_folder(tmp_path, make_rows(2, 4))
    other = dataclasses.replace(SPEC, weights_sha256="beef")
    with pytest.raises(CodecMismatchError, match="weights_sha256: 'beef', ''"):
        next(shards.read_part(tmp_path / "part-00000.parquet", other))


def test_a_folder_without_index_is_unfinished(tmp_path):
    shards.write_shard(tmp_path / "part-00000.parquet", SPEC, make_rows(1, 4))
    with pytest.raises(FormatError, match="unfinished: run the same command again"):
        shards.open_codes(tmp_path)
    with pytest.raises(FormatError, match="expected a folder of codes"):
        shards.open_codes(tmp_path / "nothing")


def test_a_folder_of_a_later_format_is_refused(tmp_path):
    index = json.loads((write_folder(tmp_path, make_rows(1, 4)) / "slmtk.json").read_text())
    (tmp_path / "slmtk.json").write_text(json.dumps({**index, "format": 2}))
    with pytest.raises(FormatError, match="'format': 2}; expected kind 'codes', format 1"):
        shards.open_codes(tmp_path)


def spoil_byte(folder):
    data = bytearray((folder / "part-00000.parquet").read_bytes())
    data[100] ^= 1
    (folder / "part-00000.parquet").write_bytes(data)


def remove_part(folder):
    (folder / "part-00000.parquet").unlink()


def add_part(folder):
    (folder / "part-00009.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())


def repeat_part(folder):
    index = json.loads((folder / "slmtk.json").read_text())
    index["shards"].append(index["shards"][0])
    (folder / "slmtk.json").write_text(json.dumps(index))


def lose_errors(folder):
    index = json.loads((folder / "slmtk.json").read_text())
    (folder / "slmtk.json").write_text(json.dumps({**index, "failures": 3}))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_byte, "part-00000.parquet has other bytes than the index says"),
        (remove_part, "part-00000.parquet is missing"),
        (add_part, "part-00009.parquet is in the folder but not in the index"),
        (repeat_part, "utterance 'utterance-00000' occurs twice"),
        (lose_errors, "the index counts 3 failures, errors.jsonl has 0 lines"),
    ],
)
def test_verify_names_what_is_wrong(tmp_path, spoil, problem):
    spoil(write_folder(tmp_path, make_rows(4, 6)))
    assert problem in shards.verify(tmp_path)[0]


def test_verify_finds_frames_that_do_not_fit_the_duration(tmp_path):
    write_folder(tmp_path, [dataclasses.replace(make_rows(1, 80)[0], duration=2.0)])
    assert shards.verify(tmp_path) == ["utterance 'utterance-00000' has 80 frames for 2.000 s at 80 frames/s"]


def test_the_datasets_library_opens_it(tmp_path):
    import datasets

    rows = make_rows(5, 8)
    write_folder(tmp_path / "codes", rows)
    files = str(tmp_path / "codes" / "part-*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded["id"][:] == [row.id for row in rows]
    assert loaded[3]["codes"] == rows[3].codes.T.ravel().tolist()
    assert loaded[3]["speaker_vector"] == pytest.approx(rows[3].speaker_vector.tolist())


def test_the_page_on_formats_reads_it_with_pyarrow_alone(tmp_path, monkeypatch):
    write_folder(tmp_path / "codes", rows := make_rows(2, 5))
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
    snippet = page.split("### Reading it without slmtk")[1].split("```python")[1].split("```")[0]
    assert "import slmtk" not in snippet
    exec(snippet, names := {})
    assert names["frames"] == rows[1].codes.T.tolist()
    assert names["codec"] == SPEC.to_dict()
