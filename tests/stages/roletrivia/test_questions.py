from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from slmtk import audio
from slmtk.errors import ConfigError, FormatError
from slmtk.stages.roletrivia import Columns, Question, Source, read_trivia
from slmtk.stages.roletrivia.questions import flat_answers
from slmtk.stages.roletrivia.tables import looks_like_hub_id

GOOD = {"question": "Why?", "answers": ["x"], "reference": "voice.wav"}


def write(folder: Path, *rows: object) -> Path:
    (folder / "voice.wav").write_bytes(b"")
    path = folder / "trivia.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def sound(level: float, seconds: float = 0.1) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(int(16_000 * seconds), level), 16_000, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def level_of(path: Path) -> float:
    return round(float(audio.read(path)[0][0]), 3)


def test_columns_are_found_by_their_usual_names(tmp_path: Path):
    row = {"Query": " Why? ", "answer": "because", "aliases": ["so", "because"], "ref_audio": "voice.wav"}
    path = write(tmp_path, {**row, "speaker": "ada", "domain": "ood", "utt_id": "u1"})
    expected = Question("u1", "Why?", ("because", "so"), "ada", tmp_path / "voice.wav", "ood")
    assert read_trivia(path) == [expected]


def test_columns_have_other_names_if_one_says_so(tmp_path: Path):
    path = write(tmp_path, {"q": "Why?", "question": "no", "gold standard": "because", "clip": "voice.wav", "id": 0})
    columns = Columns(question="q", answers="gold standard", reference="clip")
    expected = Question("0", "Why?", ("because",), "voice", tmp_path / "voice.wav", "all")
    assert read_trivia(path, Source(columns=columns)) == [expected]


def test_an_empty_name_leaves_a_column_out(tmp_path: Path):
    path = write(tmp_path, {**GOOD, "id": "x"}, {**GOOD, "id": "x"})
    questions = read_trivia(path, Source(columns=Columns(id="")))
    assert [question.id for question in questions] == ["trivia-0000", "trivia-0001"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"ask": "Why?", "answers": ["x"]}],
            "no column that looks like the question; found 'ask', 'answers'; --question-c",
        ),
        (
            [{"question": "Why?", "label": 3}],
            "no column that looks like the answers; found 'question', 'label'; --answers-c",
        ),
        ([{"question": "Why?", "answers": "x"}], "recording of the role's voice; found .*--reference-column.*--roles"),
        ([{**GOOD, "reference": "none.wav"}], "row 1, column 'reference': no recording at .*none.wav"),
        ([GOOD, {**GOOD, "reference": None}], "row 2, column 'reference' holds no recording"),
        ([{**GOOD, "answers": [" "]}], "row 1 has no answer"),
        ([{**GOOD, "question": ""}], "row 1 has no question"),
        ([{**GOOD, "id": "../x"}], "cannot be a file's name.*--id-column ''"),
        ([{**GOOD, "id": "x"}, {**GOOD, "id": "x"}], "the id 'x' occurs twice"),
        (["{"], "line 1 is not JSON"),
        (["[]"], "line 1 is not a JSON object"),
        ([""], "holds no question"),
    ],
)
def test_a_file_that_cannot_be_asked_is_refused_in_a_line(tmp_path: Path, rows: list[object], message: str):
    with pytest.raises(FormatError, match=message) as caught:
        read_trivia(write(tmp_path, *rows))
    assert "\n" not in str(caught.value)


def test_a_column_named_on_purpose_must_be_there(tmp_path: Path):
    with pytest.raises(FormatError, match=r"no column 'persona'; found 'question'.*--role-column"):
        read_trivia(write(tmp_path, GOOD), Source(columns=Columns(role="persona")))


def test_the_limit_counts_each_split_by_itself(tmp_path: Path):
    rows = [{**GOOD, "id": name, "split": name[0]} for name in ("a1", "a2", "b1", "a3", "b2", "b3")]
    questions = read_trivia(write(tmp_path, *rows), Source(limit=2))
    assert [question.id for question in questions] == ["a1", "a2", "b1", "b2"]
    with pytest.raises(ConfigError, match="limit 0"):
        Source(limit=0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" two ", ("two",)),
        (["two", None, "2", "two"], ("two", "2")),
        ({"Aliases": ["Sunset Blvd"], "Value": "Sunset Boulevard", "Type": "x"}, ("Sunset Boulevard", "Sunset Blvd")),
        ({"normalized_aliases": ["sunset"], "value": "Sunset", "aliases": []}, ("Sunset", "sunset")),
        ([7, ["eight", {"value": "nine"}]], ("7", "eight", "nine")),
        (None, ()),
    ],
)
def test_answers_are_what_any_of_the_usual_forms_say(value: Any, expected: tuple[str, ...]):
    assert flat_answers(value) == expected


def spoken_rows() -> list[dict[str, Any]]:
    """As a dataset of the hub that has recorded answers and no references: two roles, two parts."""
    rows = []
    for number, (role, part) in enumerate([("x", "id"), ("y", "id"), ("x", "id"), ("y", "ood"), ("x", "ood")]):
        cell = {"bytes": sound(0.1 * (number + 1)), "path": f"{number}.wav"}
        rows.append({"question": f"{number}?", "answer": str(number), "role": role, "domain": part, "audio": cell})
    return rows


def hub_folder(folder: Path) -> Path:
    """A folder as the hub has it: a training part and a test part in Parquet files under data."""
    (folder / "data").mkdir(parents=True)
    for part, rows in (("train", spoken_rows()[:1]), ("test", spoken_rows())):
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / f"{part}-00000-of-00001.parquet")
    features = ["question", "answer", "role", "domain"]
    lines = [f"  - name: {name}\n    dtype: string" for name in features] + ["  - name: audio\n    dtype: audio"]
    (folder / "README.md").write_text("---\ndataset_info:\n  features:\n" + "\n".join(lines) + "\n---\n")
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("own_cache")
def test_a_folder_in_the_hubs_layout_is_read_with_recorded_answers_as_references(tmp_path: Path):
    clips = tmp_path / "clips"
    questions = read_trivia(hub_folder(tmp_path / "RoleTrivia"), clips=clips)
    assert [(q.id, q.question, q.answers, q.role, q.split) for q in questions] == [
        (f"RoleTrivia-{n:04d}", f"{n}?", (str(n),), role, part)
        for n, (role, part) in enumerate([("x", "id"), ("y", "id"), ("x", "id"), ("y", "ood"), ("x", "ood")])
    ]
    # The role's first answer is the reference, and its second one where the first is the answer that is asked for.
    assert [level_of(question.reference) for question in questions] == [0.3, 0.4, 0.1, 0.2, 0.1]
    assert len(list(clips.iterdir())) == 4
    assert {question.reference.parent for question in questions} == {clips}


@pytest.mark.usefixtures("own_cache")
def test_the_splits_of_a_dataset_can_be_chosen(tmp_path: Path):
    folder = hub_folder(tmp_path / "hub")
    columns = Columns(reference="audio", split="")
    training = read_trivia(folder, Source(columns=columns, split="train"), tmp_path / "clips")
    assert [(q.split, level_of(q.reference)) for q in training] == [("all", 0.1)]
    tested = read_trivia(folder, Source(columns=columns), tmp_path / "clips")
    assert [q.split for q in tested] == ["test"] * 5
    with pytest.raises(FormatError, match=r"no split 'dev'; choose one of .*--split"):
        read_trivia(folder, Source(split="dev"))


@pytest.mark.usefixtures("own_cache")
def test_a_parquet_file_is_read_and_a_dry_look_writes_no_clips(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist(spoken_rows()[:3]), tmp_path / "t.parquet")
    with pytest.raises(
        FormatError, match=r"row 2: no recording of the role 'y' but this answer itself.*--roles FOLDER"
    ):
        read_trivia(tmp_path / "t.parquet")
    pq.write_table(pa.Table.from_pylist(spoken_rows()), tmp_path / "t.parquet")
    before = sorted(tmp_path.iterdir())
    assert len(read_trivia(tmp_path / "t.parquet")) == 5
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "cache"] == []


@pytest.mark.usefixtures("own_cache")
def test_what_cannot_be_loaded_is_told_in_a_line(tmp_path: Path):
    with pytest.raises(
        FormatError, match=r"cannot load the questions 'nobody/nothing-of-the-sort'.*hf download"
    ) as caught:
        read_trivia("nobody/nothing-of-the-sort")
    assert "\n" not in str(caught.value)
    (tmp_path / "q.txt").write_text("Why?")
    with pytest.raises(FormatError, match=r"no file of questions; expected \.jsonl or \.parquet"):
        read_trivia(tmp_path / "q.txt")


def test_a_hub_id_is_told_from_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert looks_like_hub_id("cnxup/RoleTriviaQA")
    assert not looks_like_hub_id("corpus/roletrivia.jsonl")
    assert not looks_like_hub_id("RoleTriviaQA")
    (tmp_path / "cnxup" / "RoleTriviaQA").mkdir(parents=True)
    assert not looks_like_hub_id("cnxup/RoleTriviaQA")


def clip(path: Path, level: float, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound(level, seconds))
    return path


def test_a_folder_of_roles_gives_the_voices(tmp_path: Path):
    clip(tmp_path / "roles" / "ada.wav", 0.1)
    for name, seconds in (("short", 2.0), ("best", 5.0), ("long", 13.0)):
        clip(tmp_path / "roles" / "bob" / f"{name}.wav", 0.2, seconds)
    (tmp_path / "roles" / "notes.txt").write_text("")
    rows = [{"question": "Why?", "answers": "x", "role": role} for role in ("ada", "bob")]
    source = Source(roles=tmp_path / "roles")
    questions = read_trivia(write(tmp_path, *rows), source)
    assert [(q.role, q.reference.name) for q in questions] == [("ada", "ada.wav"), ("bob", "best.wav")]
    with pytest.raises(FormatError, match=r"row 1: no clip of the role 'eve' in .*; found ada, bob"):
        read_trivia(write(tmp_path, {**rows[0], "role": "eve"}), source)
    with pytest.raises(FormatError, match=r"no column with the role.*roletrivia-build"):
        read_trivia(write(tmp_path, GOOD), source)


def test_spoken_questions_come_from_a_column_or_a_folder(tmp_path: Path):
    clip(tmp_path / "ask" / "a.wav", 0.5)
    path = write(tmp_path, {**GOOD, "id": "a", "question_audio": "ask/a.wav"})
    assert read_trivia(path)[0].question_audio is None
    assert read_trivia(path, Source(spoken=True))[0].question_audio == tmp_path / "ask" / "a.wav"
    bare = write(tmp_path, {**GOOD, "id": "a"})
    found = read_trivia(bare, Source(spoken=True, question_clips=tmp_path / "ask"))
    assert found[0].question_audio == tmp_path / "ask" / "a.wav"
    with pytest.raises(FormatError, match=r"no column with the spoken question; found .*--question-clips FOLDER"):
        read_trivia(bare, Source(spoken=True))
    with pytest.raises(FormatError, match="no recording of the question 'b'"):
        read_trivia(write(tmp_path, {**GOOD, "id": "b"}), Source(spoken=True, question_clips=tmp_path / "ask"))
