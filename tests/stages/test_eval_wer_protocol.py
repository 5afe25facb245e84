"""A protocol from its name to its scores, with its recogniser in the hub's cache at the pinned commit, offline."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.testing import CliRunner

from slmtk.cli.main import cli
from slmtk.errors import MissingDependencyError, WeightsError
from slmtk.metrics.protocols import PROTOCOLS
from tests.helpers.known_speech import write_corpus
from tests.helpers.tiny_recognizers import save_wav2vec2, save_whisper


def put_in_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, name: str, commit: str) -> None:
    """Lay a small random model where a download of ``name`` at ``commit`` would be."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    folder = cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    save_whisper(folder) if "whisper" in name else save_wav2vec2(folder, "hubert")


def ask(tmp_path: Path, protocol: str):
    ref = write_corpus(tmp_path / "ref", {"a": ("forty two apples", 3), "b": ("don't", 1)})
    out = tmp_path / "scores"
    done = CliRunner().invoke(cli, ["eval-wer", str(ref), "--out", str(out), "--protocol", protocol, "--no-similarity"])
    return done, out / "scores.json"


@pytest.mark.parametrize("name", ["seed-tts", "whisper-norm", "paper"])
def test_a_protocol_scores_with_its_own_recogniser_at_its_own_commit(monkeypatch, tmp_path, name):
    protocol = PROTOCOLS[name]
    put_in_cache(monkeypatch, tmp_path / "hub", protocol.recognizer_model, protocol.recognizer_revision)
    done, path = ask(tmp_path, name)
    assert done.exit_code == 0, (done.output, done.exception)
    scores = json.loads(path.read_text())
    assert protocol.recognizer_model in scores["recognizer"]
    assert protocol.recognizer_revision[:12] in scores["recognizer"]
    assert scores["protocol"]["digest"] == protocol.digest
    assert scores["headline"]["name"] == ("wer" if protocol.aggregation == "corpus" else "mean_utterance_wer")


def test_another_commit_of_the_recogniser_does_not_do(monkeypatch, tmp_path):
    put_in_cache(monkeypatch, tmp_path / "hub", PROTOCOLS["seed-tts"].recognizer_model, "0" * 40)
    done, path = ask(tmp_path, "seed-tts")
    assert isinstance(done.exception, WeightsError)
    assert "recogniser openai/whisper-large-v3 at 06f233fe" in str(done.exception)
    assert "not in the hub's cache" in str(done.exception)
    assert not path.exists()


@pytest.mark.skipif(importlib.util.find_spec("nemo_text_processing") is not None, reason="the package is installed")
def test_a_protocol_whose_normaliser_is_not_installed_names_the_package(monkeypatch, tmp_path):
    protocol = PROTOCOLS["librispeech-hubert"]
    put_in_cache(monkeypatch, tmp_path / "hub", protocol.recognizer_model, protocol.recognizer_revision)
    done, _ = ask(tmp_path, "librispeech-hubert")
    assert isinstance(done.exception, MissingDependencyError)
    assert "pip install 'slmtk[nemo]'" in str(done.exception)
