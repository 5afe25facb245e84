"""Which rows of a dataset are kept from training: by hash, so that a row's split never depends on other rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from slmtk.errors import ConfigError

SPLITS = ("train", "dev", "test")
SPLIT_BY = ("utterance", "speaker", "text")


@dataclass(frozen=True)
class SplitConfig:
    """How rows are dealt to train, dev and test.

    Attributes:
        by: what stays together: "utterance" (each row for itself), "speaker" or "text" (equal normalised texts).
        dev_fraction: expected share of rows (or speakers, texts) in dev, 0 .. 1.
        test_fraction: the same for test.
        seed: another seed deals anew.
    """

    by: str = "utterance"
    dev_fraction: float = 0.05
    test_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: ``by`` is unknown, or nothing would be left for train.
        """
        if self.by not in SPLIT_BY:
            raise ConfigError(f"cannot split by {self.by!r}; expected one of {', '.join(SPLIT_BY)}")
        if min(self.dev_fraction, self.test_fraction) < 0 or not self.dev_fraction + self.test_fraction < 1:
            raise ConfigError(
                f"dev_fraction {self.dev_fraction} and test_fraction {self.test_fraction} must each be 0 or more "
                "and together less than 1"
            )


def split_of(key: str, config: SplitConfig) -> str:
    """Return "train", "dev" or "test" for what shares ``key`` (an utterance's id, a speaker, a text).

    The first 64 bits of SHA-256 over seed and key, read as a number in [0, 1): dev is below ``dev_fraction``, test
    the next ``test_fraction``. So a larger dev fraction only adds to dev, and new rows leave old ones where they were.
    """
    digest = hashlib.sha256(f"{config.seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < config.dev_fraction:
        return "dev"
    return "test" if position < config.dev_fraction + config.test_fraction else "train"
