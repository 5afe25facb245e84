"""The sentences of the embedded corpus: a small grammar of fixed slots, and its text for a recogniser (JSGF)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from slmtk.errors import ConfigError


@dataclass(frozen=True)
class Grammar:
    """Sentences with one word out of each slot, in order.

    Attributes:
        slots: (name, words) of each; all choices are allowed.
    """

    slots: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def size(self) -> int:
        """How many different sentences there are."""
        return math.prod(len(words) for _, words in self.slots)

    @property
    def words(self) -> list[str]:
        """All words, in the order of the slots."""
        return [word for _, words in self.slots for word in words]

    def sentence(self, index: int) -> str:
        """Return sentence ``index`` of 0 .. `size` - 1; the last slot varies fastest."""
        words: list[str] = []
        for _, choices in reversed(self.slots):
            index, choice = divmod(index, len(choices))
            words.append(choices[choice])
        return " ".join(reversed(words))

    def sample(self, count: int, seed: int) -> list[str]:
        """Return ``count`` different sentences; with the same seed, fewer are the beginning of more.

        Raises:
            ConfigError: the grammar has fewer.
        """
        if count > self.size:
            raise ConfigError(f"{count} different sentences asked for; the grammar has {self.size}")
        order = list(range(self.size))
        random.Random(seed).shuffle(order)
        return [self.sentence(index) for index in order[:count]]

    def jsgf(self) -> str:
        """The grammar as a recogniser reads it."""
        rules = [f"<{name}> = {' | '.join(words)};" for name, words in self.slots]
        sentence = " ".join(f"<{name}>" for name, _ in self.slots)
        return "\n".join(["#JSGF V1.0;", "grammar sentences;", f"public <sentence> = {sentence};", *rules, ""])


def phrases_jsgf(phrases: Sequence[str]) -> str:
    """JSGF text of a grammar that allows exactly ``phrases``, in lower case, each once."""
    unique = list(dict.fromkeys(phrase.lower() for phrase in phrases))
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(unique)};\n"


# In the manner of the GRID corpus (Cooke et al. 2006). Words were kept if the recogniser did not take them for one
# another in any voice; "eight", "five", "purple", "elephants", "arrive" and "again", among others, did not pass.
SENTENCES = Grammar(
    (
        ("number", ("two", "three", "four", "six", "seven", "nine")),
        ("colour", ("red", "yellow", "orange", "white", "silver", "brown")),
        ("animals", ("horses", "monkeys", "tigers", "rabbits", "camels", "zebras")),
        ("verb", ("dance", "swim", "travel", "wander", "jump", "return")),
        ("adverb", ("outside", "tonight", "everywhere", "tomorrow", "together", "today")),
    )
)
