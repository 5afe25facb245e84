"""seed-tts-eval's normaliser for Chinese: characters, simplified, between blanks."""

from __future__ import annotations

import sys

import pytest

from slmtk.errors import MissingDependencyError
from slmtk.metrics.normalize import get_normalizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好，世界。", "你 好 世 界"),
        ("我們的軟體", "我 们 的 软 件"),  # phrases are converted too: software is another word
        ("頭髮 和 發展", "头 发 和 发 展"),
        ("今天 25 度！", "今 天 2 5 度"),  # digits stay digits, each a character
        ("用Python写", "用 P y t h o n 写"),  # case stays, too
        ("「三」、四……", "三 四"),
        ("全\u3000角", "全 角"),
        ("", ""),
        ("。", ""),
    ],
)
def test_every_character_is_a_word(text, expected):
    pytest.importorskip("zhconv")
    assert get_normalizer("seed-tts-zh")(text) == expected


def test_without_zhconv_one_line_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "zhconv", None)
    get_normalizer.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"'seed-tts-zh' needs the package 'zhconv'.*: pip install '.+'$"):
        get_normalizer("seed-tts-zh")
    get_normalizer.cache_clear()
