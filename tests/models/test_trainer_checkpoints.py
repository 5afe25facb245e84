"""Which checkpoint a run goes on from."""

from __future__ import annotations

import pytest

from slmtk.models.checkpoints import last_checkpoint

WHOLE = {
    "model.safetensors": "",
    "optimizer.pt": "",
    "scheduler.pt": "",
    "rng_state.pth": "",
    "trainer_state.json": "{}",
}


def write(folder, step, files):
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(text)


@pytest.mark.parametrize("missing", WHOLE)
def test_a_checkpoint_that_a_kill_cut_short_is_passed_over(tmp_path, missing):
    write(tmp_path, 2, WHOLE)
    write(tmp_path, 10, {name: text for name, text in WHOLE.items() if name != missing})
    assert last_checkpoint(tmp_path).name == "checkpoint-2"


def test_a_state_that_was_written_in_part_is_passed_over(tmp_path):
    write(tmp_path, 2, WHOLE)
    write(tmp_path, 3, {**WHOLE, "trainer_state.json": '{"global_step": 3, "log'})
    (tmp_path / "checkpoint-tmp").mkdir()
    assert last_checkpoint(tmp_path).name == "checkpoint-2"


def test_every_process_must_have_left_its_random_state(tmp_path):
    two = {**WHOLE, "rng_state_0.pth": "", "rng_state_1.pth": ""}
    write(tmp_path, 2, two)
    write(tmp_path, 4, {name: text for name, text in two.items() if name != "rng_state_1.pth"})
    assert last_checkpoint(tmp_path, 2).name == "checkpoint-2"


def test_the_latest_of_fewer_steps_is_found(tmp_path):
    for step in (2, 10, 9):
        write(tmp_path, step, WHOLE)
    assert last_checkpoint(tmp_path).name == "checkpoint-10"
    assert last_checkpoint(tmp_path, before=10).name == "checkpoint-9"
    assert last_checkpoint(tmp_path, before=2) is None
    assert last_checkpoint(tmp_path / "nothing") is None
