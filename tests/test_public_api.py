"""What `import slmtk` promises: the public names, found lazily, and no torch."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import slmtk


def test_the_public_names_are_these():
    assert sorted(slmtk.__all__) == [
        "Codec",
        "CodecSpec",
        "Recognizer",
        "SlmtkError",
        "SpeakerEncoder",
        "Stream",
        "Utterance",
        "__version__",
        "load_codec",
        "load_recognizer",
        "load_speaker_encoder",
    ]


@pytest.mark.parametrize("name", [name for name in slmtk.__all__ if name != "__version__"])
def test_every_public_name_is_there_has_a_docstring_and_comes_from_its_module(name):
    thing = getattr(slmtk, name)
    assert thing.__name__ == name
    assert thing.__doc__
    assert thing.__module__.startswith("slmtk.")


def test_dir_shows_the_public_names():
    assert dir(slmtk) == sorted(slmtk.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'slmtk' has no attribute 'load_codecs'"):
        slmtk.load_codecs  # noqa: B018


def test_importing_slmtk_and_its_words_loads_neither_torch_nor_numpy():
    code = (
        "import sys, slmtk; slmtk.CodecSpec, slmtk.Stream, slmtk.Utterance, slmtk.SlmtkError, slmtk.Codec\n"
        "print([m for m in ('torch', 'numpy', 'transformers', 'pyarrow', 'click', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_installed_one():
    assert slmtk.__version__ == version("slmtk")
