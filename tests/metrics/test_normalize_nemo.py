"""NeMo's normaliser: how it is called and what is left of its output; the grammar itself where it is installed."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from slmtk.errors import MissingDependencyError
from slmtk.metrics.normalize import get_normalizer, nemo


class Grammar:
    """Stands in for NeMo's Normalizer: writes a file into its cache as that does, and spells out one number."""

    built: ClassVar[list[dict[str, object]]] = []

    def __init__(self, *, input_case: str, lang: str, cache_dir: str | None = None) -> None:
        self.built.append(
            {"input_case": input_case, "lang": lang, "cached": cache_dir and any(Path(cache_dir).iterdir())}
        )
        if cache_dir:
            Path(cache_dir, "grammar.far").write_text("grammar")

    def normalize(self, text: str, *, verbose: bool, punct_post_process: bool) -> str:
        assert (verbose, punct_post_process) == (False, False)
        return text.replace("50", "fifty").replace("Mr.", "mister")


@pytest.fixture
def grammar(monkeypatch, tmp_path):
    for name in ("nemo_text_processing", "nemo_text_processing.text_normalization"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType("nemo_text_processing.text_normalization.normalize")
    module.Normalizer = Grammar
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(nemo, "version", lambda name: "1.2.0")
    monkeypatch.setattr(Grammar, "built", [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Grammar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 turns", "fifty turns"),
        ("I DON'T KNOW", "i dont know"),
        ("Mr. Smith", "mister smith"),
        ("a well-known\tfact.", "a wellknown fact"),
        ("Route 66 at 50", "route at fifty"),  # what the grammar leaves as digits goes
        ("naïve", "nave"),  # letters with diacritics go, in references and transcripts alike
        ("", ""),
    ],
)
def test_of_what_the_grammar_writes_only_letters_stay(grammar, text, expected):
    assert nemo.english()(text) == expected
    assert (grammar.built[0]["input_case"], grammar.built[0]["lang"]) == ("cased", "en")


def test_the_grammar_is_built_once_and_then_kept(grammar, tmp_path):
    nemo.english()
    nemo.english()
    assert [entry["cached"] for entry in grammar.built] == [False, True]
    kept = tmp_path / "slmtk" / "nemo_text_processing-1.2.0-en"
    assert [path.name for path in (tmp_path / "slmtk").iterdir()] == [kept.name]
    assert (kept / "grammar.far").read_text() == "grammar"


def test_a_build_that_breaks_off_leaves_nothing_that_looks_whole(grammar, tmp_path, monkeypatch):
    def broken(self, **settings):
        Path(settings["cache_dir"], "half.far").write_text("gram")
        raise KeyboardInterrupt

    monkeypatch.setattr(grammar, "__init__", broken)
    with pytest.raises(KeyboardInterrupt):
        nemo.english()
    assert list((tmp_path / "slmtk").iterdir()) == []


def test_a_cache_that_cannot_be_written_only_costs_time(grammar, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("not a folder")
    assert nemo.english()("50") == "fifty"
    assert grammar.built == [{"input_case": "cased", "lang": "en", "cached": None}]


def test_nemo_says_only_what_went_wrong(grammar, caplog):
    nemo.english()
    logger = logging.getLogger("NeMo-text-processing")
    logger.setLevel(logging.INFO)
    logger.info("Creating ClassifyFst grammars.")
    logger.warning("Failed text")
    assert caplog.messages == ["Failed text"]


def test_without_nemo_one_line_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "nemo_text_processing", None)
    get_normalizer.cache_clear()
    with pytest.raises(
        MissingDependencyError, match=r"'nemo-english' needs the package 'nemo_text.*: pip install '.+'$"
    ):
        get_normalizer("nemo-english")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nemo_text_processing") is None, reason="nemo_text_processing is not installed")
def test_nemo_itself_writes_numbers_and_titles_as_they_are_spoken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    normalize = nemo.english()
    assert normalize("Mr. Smith has $2.50, 50 cents and the 3rd.") == (
        "mister smith has two dollars fifty cents fifty cents and the third"
    )
    assert normalize("I DON'T KNOW THE WELL KNOWN MISTER SMITH") == "i dont know the well known mister smith"
    assert normalize("Dr. No, A.D. 1984") == "doctor no ad nineteen eighty four"
    # The second pair of docs/protocols.md: its is its, wellknown is well and known.
    assert normalize("Mr. Brown said it's well-known.") == "mister brown said its wellknown"
    assert normalize("Mister Brown said it’s well known.") == "mister brown said its well known"
