"""Reading ahead: threads prepare the next tasks while the caller, who has the GPU, works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Prepared = TypeVar("Prepared")


def read_ahead(
    tasks: Iterable[Task], prepare: Callable[[Task], Prepared], size: Callable[[Task], float], budget: float
) -> Iterator[tuple[Task, Prepared]]:
    """Yield each task with what ``prepare`` makes of it, in order; threads work on the next ones meanwhile.

    Args:
        tasks: read as needed.
        prepare: called in a thread.
        size: of a task, in the unit of ``budget``.
        budget: tasks are begun while those under way and ready together are smaller than this, and one always is.
    """
    waiting: deque[tuple[Task, Future[Prepared], float]] = deque()
    held = 0.0
    more = iter(tasks)
    ended = False
    with ThreadPoolExecutor(4, thread_name_prefix="read-ahead") as threads:
        try:
            while True:
                while not ended and (held < budget or not waiting):
                    task = next(more, None)
                    if task is None:
                        ended = True
                    else:
                        waiting.append((task, threads.submit(prepare, task), size(task)))
                        held += waiting[-1][2]
                if not waiting:
                    return
                task, prepared, amount = waiting.popleft()
                held -= amount
                yield task, prepared.result()
        finally:
            for _, prepared, _ in waiting:
                prepared.cancel()
