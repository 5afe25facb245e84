import math

import pytest
import torch

from slmtk.errors import ConfigError
from slmtk.models.sampling import Sampling, choose, penalize

SCORES = torch.tensor([0.5, 0.1, 0.3, 0.1]).log()


def draw(sampling, count=4000):
    generator = torch.Generator().manual_seed(0)
    picks = torch.tensor([choose(SCORES, sampling, generator) for _ in range(count)])
    return (torch.bincount(picks, minlength=4) / count).tolist()


def test_greedy_takes_the_best_whatever_the_seed():
    assert draw(Sampling(temperature=0.0), 3) == [1.0, 0.0, 0.0, 0.0]


def test_temperature_one_draws_with_the_models_probabilities():
    assert draw(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.1, 0.3, 0.1], abs=0.03)


def test_a_low_temperature_sharpens():
    # Squared probabilities: .25 .01 .09 .01 over .36.
    assert draw(Sampling(temperature=0.5)) == pytest.approx([25 / 36, 1 / 36, 9 / 36, 1 / 36], abs=0.03)


def test_top_k_two_leaves_two_in_proportion():
    assert draw(Sampling(temperature=1.0, top_k=2)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)


def test_top_p_keeps_the_fewest_codes_that_reach_it():
    assert draw(Sampling(temperature=1.0, top_p=0.79)) == pytest.approx([5 / 8, 0, 3 / 8, 0], abs=0.03)
    assert draw(Sampling(temperature=1.0, top_p=0.49), 50) == [1.0, 0.0, 0.0, 0.0]


def test_the_penalty_divides_positive_and_multiplies_negative_scores_of_chosen_codes_alone():
    scores = torch.tensor([2.0, -2.0, 2.0, -2.0])
    chosen = torch.tensor([True, True, False, False])
    assert penalize(scores, chosen, 1.25).tolist() == pytest.approx([1.6, -2.5, 2.0, -2.0])
    assert penalize(scores, chosen, 1.0) is scores


def test_what_was_ruled_out_is_never_drawn():
    scores = torch.tensor([-math.inf, 0.0, -math.inf])
    assert {choose(scores, Sampling(temperature=5.0), torch.Generator()) for _ in range(50)} == {1}


def test_values_out_of_range_are_refused():
    for settings in ({"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"repetition_penalty": 0}, {"max_seconds": 0}):
        with pytest.raises(ConfigError):
            Sampling(**settings)
