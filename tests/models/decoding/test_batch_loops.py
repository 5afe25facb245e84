import random

import torch

from slmtk.models.decoding.loops import LoopDetector
from slmtk.models.decoding.noise import BLOCK, Noise


def repeats(steps, length, max_period):
    """The rule in words: the last ``length`` steps are one pattern of at most ``max_period`` steps, said again."""
    tail = steps[-length:]
    if len(tail) < length:
        return False
    return any(tail[period:] == tail[:-period] for period in range(1, max_period + 1) if length > period)


def test_loops_are_found_at_the_step_at_which_the_rule_holds_and_at_no_other():
    """Slots begin at different times, with lengths of their own, over what others have left behind."""
    chance = random.Random(0)
    lengths, periods, found = [4, 7, 2, 3], 3, 0
    detector = LoopDetector(4, periods)
    history, spoken = torch.zeros(4, 41, 2, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    said = [[] for _ in lengths]
    for slot, length in enumerate(lengths):
        detector.start(slot, length)
    for step in range(400):
        for slot in range(4):
            if len(said[slot]) == 40 or chance.random() < 0.03:
                said[slot], spoken[slot] = [], 0
                detector.start(slot, lengths[slot])
            past = said[slot]
            period = chance.randint(1, 4)
            new = past[-period] if len(past) >= period and chance.random() < 0.9 else [chance.randint(0, 2), 0]
            history[slot, len(past)] = torch.tensor(new)
            past.append(new)
        spoken += 1
        expected = [repeats(said[slot], lengths[slot], periods) for slot in range(4)]
        assert detector.update(history, spoken).tolist() == expected, step
        found += sum(expected)
    assert 100 < found < 1500


def test_a_detector_that_is_off_finds_nothing():
    detector = LoopDetector(1, 2)
    detector.start(0, 0)
    assert detector.active == [False]
    history = torch.zeros(1, 50, 1, dtype=torch.int64)
    assert not any(detector.update(history, torch.tensor([n])).item() for n in range(1, 50))


def test_a_slots_numbers_are_its_generators_in_order_whoever_is_beside_it():
    noise, taken = Noise(2, 3), {0: [], 1: []}
    spoken = torch.zeros(2, dtype=torch.int64)
    noise.start(0, torch.Generator().manual_seed(5))
    for step in range(3 * BLOCK):
        if step == 40:
            noise.start(1, torch.Generator().manual_seed(5))
        speaking = [0] if step < 40 else [0, 1]
        numbers = noise.next(spoken, speaking)
        for slot in speaking:
            taken[slot].append(numbers[slot].clone())
            spoken[slot] += 1
    generator = torch.Generator().manual_seed(5)
    wanted = torch.cat([torch.rand(BLOCK, 3, 2, generator=generator) for _ in range(3)])
    assert torch.equal(torch.stack(taken[0]), wanted)
    assert torch.equal(torch.stack(taken[1]), wanted[: 3 * BLOCK - 40])
