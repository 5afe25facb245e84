"""Reading ahead keeps the order, stays within its budget, and is ready before it is asked."""

from __future__ import annotations

import threading
import time

import pytest

from slmtk.engines.ahead import read_ahead


def test_tasks_come_in_order_whatever_each_takes():
    def prepare(task):
        time.sleep(0.02 * (task % 3))
        return task * task

    found = list(read_ahead(range(10), prepare, lambda task: 1.0, 5.0))
    assert found == [(n, n * n) for n in range(10)]
    assert list(read_ahead([], prepare, lambda task: 1.0, 5.0)) == []


def test_no_more_is_begun_than_the_budget_allows_but_always_one():
    begun: list[int] = []
    sizes = [1, 1, 1, 9, 1]
    steps = read_ahead(range(5), lambda task: begun.append(task), lambda task: sizes[task], 2.5)
    seen = []
    for task, _ in steps:
        time.sleep(0.02)
        seen.append((task, len(begun)))
    # 0, 1 and 2 reach 3 > 2.5; with 0 taken away 2 are held, and 3 follows, after which nothing until it is taken.
    assert seen == [(0, 3), (1, 4), (2, 4), (3, 4), (4, 5)]


def test_the_next_ones_are_read_while_the_caller_works():
    read = threading.Event()

    def prepare(task):
        if task == 1:
            read.set()

    steps = read_ahead(range(3), prepare, lambda task: 1.0, 2.0)
    next(steps)
    assert read.wait(5)


def test_an_error_comes_where_its_task_would():
    def prepare(task):
        return 1 // (2 - task)

    steps = read_ahead(range(5), prepare, lambda task: 1.0, 3.0)
    assert [next(steps), next(steps)] == [(0, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(steps)
