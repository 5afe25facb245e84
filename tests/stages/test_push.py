"""push: what is handed to the hub's client, against a stand-in of it that writes down its calls."""

from __future__ import annotations

import json

import huggingface_hub
import numpy as np
import pytest
import soundfile
import yaml

from slmtk.errors import ConfigError, FormatError, SlmtkError
from slmtk.progress import SilentProgress
from slmtk.shards import verify
from slmtk.stages import push
from slmtk.stages.push import check_push, push_codes
from slmtk.stages.tokenize import TokenizeConfig, tokenize

REPO = "ann/digits-tone"


class StandIn:
    """Takes the place of HfApi."""

    calls: list[tuple[str, dict]]
    broken = ""

    def __init__(self):
        StandIn.calls = []

    def create_repo(self, **given):
        self._note("create_repo", given)
        return f"https://hub/datasets/{given['repo_id']}"

    def upload_folder(self, **given):
        self._note("upload_folder", given)

    def upload_file(self, **given):
        self._note("upload_file", given)

    def _note(self, name, given):
        if name == self.broken:
            raise ConnectionError("no route\nto host")
        self.calls.append((name, given))


class OldStandIn(StandIn):
    """A client that has another door for large folders."""

    def upload_large_folder(self, *, repo_id, repo_type, folder_path, allow_patterns):
        self._note("upload_large_folder", {"repo_id": repo_id, "folder_path": folder_path})


@pytest.fixture
def codes(tmp_path):
    for speaker in ("ann", "bob"):
        (tmp_path / "in" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / speaker / f"{speaker}.wav", np.full(36_000, 0.1), 16_000)
    (tmp_path / "in/bob/bad.wav").write_bytes(b"x")
    tokenize(
        tmp_path / "in",
        tmp_path / "codes",
        TokenizeConfig("tests.helpers.tone:ToneCodec", device="cpu", workers=1),
        SilentProgress(),
    )
    return tmp_path / "codes"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", StandIn)
    return StandIn


def test_parts_and_card_go_first_and_the_index_last_without_this_machines_paths(codes, hub):
    assert push_codes(codes, REPO, private=True) == f"https://hub/datasets/{REPO}"
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder", "upload_file"]
    made, sent, index = (given for _, given in hub.calls)
    assert made == {"repo_id": REPO, "repo_type": "dataset", "private": True, "exist_ok": True}
    assert sent["folder_path"] == str(codes)
    assert (sent["allow_patterns"], sent["delete_patterns"]) == (["part-*.parquet", "README.md"], ["part-*.parquet"])
    assert (index["path_in_repo"], index["repo_id"]) == ("slmtk.json", REPO)
    values = json.loads(index["path_or_fileobj"])
    local = json.loads((codes / "slmtk.json").read_text())
    assert str(codes.parent) in json.dumps(local)
    assert str(codes.parent) not in json.dumps(values)
    assert values["config"] == {**local["config"], "root": None, "source": "in"}
    assert {key: values[key] for key in values if key != "config"} == {k: local[k] for k in local if k != "config"}
    assert verify(codes) == []


def test_the_card_tells_what_the_codes_are_and_how_to_load_them(codes, hub):
    push_codes(codes, REPO)
    text = (codes / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "unknown"
    assert front["tags"] == ["speech", "speech-codes", "slmtk", "tone"]
    assert front["configs"] == [{"config_name": "default", "data_files": "part-*.parquet"}]
    # Two recordings of 2.25 s are 0.00125 h and 2 x 113 frames of 20 ms, the last one partial.
    for line in ("| recordings | 2 |", "| speakers | 2 |", "| frames | 226 |", "| frame rate | 50 Hz |",
                 "| pitch | content | 64 |", "codes[t * 2 + k]", f'load_dataset("{REPO}"'):  # fmt: skip
        assert line in text
    push_codes(codes, REPO, licence="cc-by-4.0")
    assert yaml.safe_load((codes / "README.md").read_text().split("---\n")[1])["license"] == "cc-by-4.0"


def test_datasets_loads_the_folder_as_its_card_says(codes, hub, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    push_codes(codes, REPO)
    rows = datasets.load_dataset(str(codes), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(rows["id"]) == ["ann", "bob"]
    assert len(rows[0]["codes"]) == 2 * 113


def test_large_folders_go_through_the_older_clients_other_door(codes, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", OldStandIn)
    monkeypatch.setattr(push, "_LARGE_BYTES", 100)
    push_codes(codes, REPO)
    assert [name for name, _ in StandIn.calls] == ["create_repo", "upload_large_folder", "upload_file"]


@pytest.mark.parametrize("step", ["create_repo", "upload_folder", "upload_file"])
def test_what_goes_wrong_is_one_line_and_the_codes_stay(codes, hub, monkeypatch, step):
    before = {path.name: path.read_bytes() for path in codes.glob("*.parquet")}
    monkeypatch.setattr(hub, "broken", step)
    with pytest.raises(SlmtkError, match=r"cannot push to ann/digits-tone: no route to host; the codes are whole"):
        push_codes(codes, REPO)
    assert {path.name: path.read_bytes() for path in codes.glob("*.parquet")} == before
    assert verify(codes) == []


def test_an_error_of_the_http_library_is_one_line_too(codes, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError

    class Unreachable(HfHubHTTPError.__bases__[0]):
        pass

    class Broken(StandIn):
        def create_repo(self, **given):
            raise Unreachable("timed out")

    monkeypatch.setattr(huggingface_hub, "HfApi", Broken)
    with pytest.raises(SlmtkError, match="timed out"):
        push_codes(codes, REPO)


def test_an_unfinished_folder_is_refused(codes, hub):
    (codes / "slmtk.json").unlink()
    with pytest.raises(FormatError, match="it is unfinished"):
        push_codes(codes, REPO)


def test_a_push_that_cannot_work_is_refused_before_anything_is_encoded(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    check_push(REPO)
    for repo in ("digits", "ann/digits/tone", "ann/di gits"):
        with pytest.raises(ConfigError, match=f"--push-to-hub '{repo}'.*owner/name"):
            check_push(repo)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match="needs a token"):
        check_push(REPO)
