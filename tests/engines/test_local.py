"""Worker processes answer every task once, use one thread, and end with the pool."""

from __future__ import annotations

import functools
import os
import time

import pytest

from slmtk.engines.local import WorkerDiedError, WorkerPool, count_cores
from slmtk.errors import ConfigError


def square_or_fail(task: int) -> int:
    if task < 0:
        raise ConfigError(f"{task} is negative")
    if task == 99:
        os._exit(7)
    if task >= 1000:
        time.sleep(task / 1000)
    return task * task


def make_square():
    return square_or_fail


def make_thread_counter():
    import torch

    return lambda _: (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"])


def make_nothing(reason: str):
    raise ConfigError(reason)


def test_every_task_is_answered_once():
    with WorkerPool(make_square, 3) as pool:
        assert sorted(pool.map(range(20))) == [(n, n * n) for n in range(20)]


def test_more_workers_than_tasks_and_no_tasks_at_all():
    with WorkerPool(make_square, 3) as pool:
        assert list(pool.map([5])) == [(5, 25)]
        assert list(pool.map([])) == []


def test_a_jobs_error_is_raised_here_and_busy_workers_end_at_once():
    started = time.monotonic()
    with pytest.raises(ConfigError, match="-1 is negative"), WorkerPool(make_square, 2) as pool:
        list(pool.map([30_000, -1]))
    assert time.monotonic() - started < 15


def test_a_dead_worker_names_its_task():
    with pytest.raises(WorkerDiedError, match="exit code 7") as caught, WorkerPool(make_square, 1) as pool:
        list(pool.map([1, 99, 2]))
    assert caught.value.tasks == [99]


def test_an_error_on_starting_is_raised_here():
    with (
        pytest.raises(ConfigError, match="no such codec"),
        WorkerPool(functools.partial(make_nothing, "no such codec"), 2) as pool,
    ):
        list(pool.map([1]))


def test_workers_use_one_thread_and_leave_the_environment_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with WorkerPool(make_thread_counter, 1) as pool:
        assert list(pool.map([0])) == [(0, (1, "1"))]
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_there_is_a_core():
    assert count_cores() >= 1
