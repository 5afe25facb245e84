"""Settings: to JSON, from TOML, whole files only, and what a fingerprint depends on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from slmtk import config
from slmtk.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Settings:
    inner: Inner = Inner()
    path: Path = Path("a/b")
    rate: float = 0.5
    name: str | None = None


def test_a_dataclass_becomes_plain_json_values():
    assert config.to_jsonable(Settings(rate=np.float64(0.25))) == {
        "inner": {"sizes": [1, 2]},
        "path": "a/b",
        "rate": 0.25,
        "name": None,
    }
    assert config.to_jsonable({1: np.int64(3)}) == {"1": 3}


def test_arrays_and_sets_become_lists_in_a_fixed_order():
    assert config.to_jsonable({"a": np.array([[1, 2]]), "s": {"b", "a"}}) == {"a": [[1, 2]], "s": ["a", "b"]}


def test_json_that_is_written_is_strict_and_keeps_letters(tmp_path):
    config.write_json(tmp_path / "deep" / "x.json", {"text": "größer", "wer": float("nan")})
    text = (tmp_path / "deep" / "x.json").read_text(encoding="utf-8")
    assert "größer" in text
    assert json.loads(text, parse_constant=pytest.fail) == {"text": "größer", "wer": None}


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    config.write_json(path, {"a": 1})

    def no_rename(*_: object) -> None:
        raise OSError("disk trouble")

    monkeypatch.setattr(config.os, "replace", no_rename)
    with pytest.raises(OSError, match="disk trouble"):
        config.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_equal_settings_have_equal_fingerprints_and_others_have_not():
    assert config.fingerprint({"a": 1, "b": 2}) == config.fingerprint({"b": 2, "a": 1})
    assert config.fingerprint(Settings()) == config.fingerprint(Settings(inner=Inner((1, 2))))
    assert config.fingerprint(Settings()) != config.fingerprint(replace(Settings(), rate=0.25))


def test_the_fingerprint_of_a_setting_stays_what_it_was():
    # First digits of `printf '{"seed":0}' | sha256sum`; were it to change, finished outputs would count as others'.
    assert config.fingerprint({"seed": 0}) == "bd0488843468e63c"


def test_toml_keys_may_be_spelled_like_options(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('max-seconds = 2.5\nseed = 3\nlayers = ["a", "b"]\n')
    assert config.read_toml(path, ["max_seconds", "seed", "layers"]) == {
        "max_seconds": 2.5,
        "seed": 3,
        "layers": ["a", "b"],
    }


def test_an_unknown_key_names_the_nearest_known_one(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("max_secnds = 2.5\n")
    with pytest.raises(ConfigError, match=r"c.toml: unknown setting 'max_secnds'; did you mean 'max_seconds'\?"):
        config.read_toml(path, ["seed", "max_seconds"])


def test_an_unknown_key_that_resembles_nothing_gets_the_list(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("qqq = 1\n")
    with pytest.raises(ConfigError, match="unknown setting 'qqq'; known: max_seconds, seed"):
        config.read_toml(path, ["seed", "max_seconds"])


@pytest.mark.parametrize("content", [b"seed 3", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, content):
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c.toml is not TOML: "):
        config.read_toml(path, ["seed"])


def test_one_setting_spelled_twice_is_refused(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("max-seconds = 1\nmax_seconds = 2\n")
    with pytest.raises(ConfigError, match="sets 'max_seconds' twice"):
        config.read_toml(path, ["max_seconds"])
