"""docs/plugins.md and docs/codecs.md are true: the page's plug-ins are installed and run, the table is the cards'."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from slmtk import plugins
from slmtk.asr.base import load_recognizer
from slmtk.codecs.base import codec_class, load_codec
from slmtk.codecs.hf.base import TransformersCodec
from slmtk.errors import AudioError
from slmtk.speakers.base import load_speaker_encoder
from slmtk.stages.codecs import codebooks_text, describe

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> list[str]:
    """Install the page's modules and entry points as one package; returns the modules' names."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []
    for block in blocks("plugins.md", "python"):
        first = block.splitlines()[0]
        names.append(first.removeprefix("# ").removesuffix(".py"))
        (tmp_path / f"{names[-1]}.py").write_text(block)
    info = tmp_path / "page-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: page\nVersion: 1.0\n")
    lines = []
    for block in blocks("plugins.md", "toml"):
        for group, points in tomllib.loads(block)["project"]["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_the_pages_codec_keeps_the_contract_by_name_and_by_class(installed):
    __import__("test_mulaw").test_the_contract()
    codec = load_codec("mulaw:MuLaw")
    assert codec.spec.source == "mulaw:MuLaw"
    wav = torch.linspace(-1, 1, 256)[None]
    # The widest of 256 steps are 0.043 apart, at full scale.
    assert (codec.decode(codec.encode(wav).codes) - wav).abs().max() < 0.022


def test_the_pages_speaker_encoder_tells_a_low_voice_from_a_high_one(installed):
    encoder = load_speaker_encoder("spectrum")
    time = torch.arange(16_000) / 16_000
    low, loud, high = (a * torch.sin(2 * torch.pi * f * time) for f, a in ((200, 0.3), (200, 0.5), (3000, 0.3)))
    vectors = [encoder.embed(wav) for wav in (low, loud, high)]
    assert vectors[0].shape == (encoder.dim,)
    assert vectors[0].norm() == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.01
    with pytest.raises(AudioError, match="less than 512 samples"):
        encoder.embed(low[:100])


def test_the_pages_recogniser_answers_each_utterance(installed):
    assert load_recognizer("parrot").transcribe([torch.zeros(10), torch.zeros(0)]) == ["hello", ""]


def test_every_block_of_the_page_is_used(installed):
    assert sorted(installed) == ["mulaw", "parrot", "spectrum", "test_mulaw"]


def table_row(name: str) -> str:
    kind = codec_class(name)
    assert kind.card is not None
    row = describe(name, kind, kind.card)
    codebooks = codebooks_text(row.streams) + (" *" if row.variable_codebooks else "")
    cells = [f"`{name}`", row.family, f"{row.sample_rate / 1000:g}", f"{row.frame_rate:.4g}", codebooks]
    return f"| {' | '.join([*cells, f'{row.bits_per_second:,}', row.licence, row.repo or 'in the package'])} |"


def test_the_table_of_codecs_is_what_the_cards_say():
    page = (DOCS / "codecs.md").read_text(encoding="utf-8")
    ours = [name for name, point in plugins.available("slmtk.codecs").items() if point.value.startswith("slmtk.")]
    assert len(ours) >= 10
    carded = [name for name in ours if codec_class(name).card is not None]
    assert [table_row(name) for name in carded if table_row(name) not in page] == []
    assert [name for name in ours if f"| `{name}` |" not in page] == []
    assert all(issubclass(codec_class(name), TransformersCodec) for name in ("mimi", "higgs"))
