from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from slmtk.data.splits import SplitConfig, split_of
from slmtk.errors import ConfigError

KEYS = [f"utterance-{number}" for number in range(4000)]


def test_the_split_is_the_place_of_the_hash():
    # sha256("0\0a") begins with this number; as a share of 2**64 it lies just between the two fractions below.
    place = int(hashlib.sha256(b"0\0a").hexdigest()[:16], 16) / 2**64
    assert split_of("a", SplitConfig(dev_fraction=place - 1e-6)) == "train"
    assert split_of("a", SplitConfig(dev_fraction=place + 1e-6)) == "dev"
    assert split_of("a", SplitConfig(dev_fraction=place - 1e-6, test_fraction=2e-6)) == "test"


def test_shares_are_about_what_was_asked_for():
    counts = Counter(split_of(key, SplitConfig(dev_fraction=0.1, test_fraction=0.2)) for key in KEYS)
    assert abs(counts["dev"] - 400) < 60  # three standard deviations: 3 * sqrt(4000 * 0.1 * 0.9) = 57
    assert abs(counts["test"] - 800) < 80  # 3 * sqrt(4000 * 0.2 * 0.8) = 76


def test_a_larger_dev_share_only_adds_to_dev():
    small = {key for key in KEYS if split_of(key, SplitConfig(dev_fraction=0.05)) == "dev"}
    large = {key for key in KEYS if split_of(key, SplitConfig(dev_fraction=0.1)) == "dev"}
    assert small < large


def test_another_seed_deals_anew():
    first = [split_of(key, SplitConfig(seed=0)) for key in KEYS]
    assert first == [split_of(key, SplitConfig(seed=0)) for key in KEYS]
    assert first != [split_of(key, SplitConfig(seed=1)) for key in KEYS]


def test_no_dev_and_no_test_is_all_train():
    assert {split_of(key, SplitConfig(dev_fraction=0.0)) for key in KEYS} == {"train"}


@pytest.mark.parametrize(
    "settings", [{"by": "book"}, {"dev_fraction": -0.1}, {"dev_fraction": 0.5, "test_fraction": 0.5}]
)
def test_shares_that_leave_nothing_to_train_on_are_refused(settings: dict[str, float]):
    with pytest.raises(ConfigError):
        SplitConfig(**settings)
