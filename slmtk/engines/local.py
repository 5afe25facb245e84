"""Worker processes of this machine: a stage's tasks in, their results out, whichever comes first.

A worker dies with its parent, even if that is killed: each waits on a pipe of its own, whose other end goes with the
parent. Threads inside a worker are switched off, so that a result does not depend on how many workers there are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NoReturn, TypeVar

from slmtk.errors import SlmtkError

Task = TypeVar("Task")
Result = TypeVar("Result")
Job = Callable[[Task], Result]

# Two processes whose OpenMP threads spin on the same cores wait for each other's time slices.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
_PRELOAD = ["torch", "soundfile", "slmtk.engines.local"]


class WorkerDiedError(SlmtkError):
    """A worker process ended without an answer, for example for lack of memory."""

    def __init__(self, exit_code: int | None, tasks: list[Any], what: str | None = None) -> None:
        """Keep what the dead worker was at; ``tasks`` is what it had in hand, or none if it died on starting.

        ``what`` tells what died, if it was not one process with an ``exit_code``.
        """
        how = f"signal {signal.Signals(-exit_code).name}" if exit_code and exit_code < 0 else f"exit code {exit_code}"
        hint = (
            "; the system kills processes that need more memory than there is" if exit_code == -signal.SIGKILL else ""
        )
        super().__init__(what or f"a worker process died ({how}{hint})")
        self.exit_code = exit_code
        self.tasks = tasks


def count_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare() -> None:
    """Begin, without waiting, to load what workers need: call it early, and they start sooner."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        with _environment():
            forkserver.ensure_running()


class WorkerPool(Generic[Task, Result]):
    """Processes that each make a job once and then run it on one task after the other.

    Use it as a context: leaving it ends the processes, at once if by an exception.
    """

    def __init__(self, make_job: Callable[[], Job[Task, Result]], workers: int) -> None:
        """Start ``workers`` processes; ``make_job`` (picklable) is called in each."""
        context = _context()
        self._workers: dict[Connection, Any] = {}
        self._in_hand: dict[Connection, Task] = {}
        with _environment():
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, make_job), daemon=True)
                process.start()
                theirs.close()
                self._workers[ours] = process

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield each task with its result, in the order in which they are done; ``tasks`` is read as needed.

        Raises:
            WorkerDiedError: a worker ended without an answer.
            SlmtkError: what the job raised.
        """
        waiting = iter(tasks)
        for worker in self._workers:
            self._hand_out(worker, waiting)
        while self._in_hand:
            for ready in wait(list(self._in_hand)):
                assert isinstance(ready, Connection)
                yield self._take(ready)
                self._hand_out(ready, waiting)

    def _hand_out(self, worker: Connection, waiting: Iterator[Task]) -> None:
        task = next(waiting, None)
        if task is None:
            return
        self._in_hand[worker] = task
        try:
            worker.send(task)
        except (BrokenPipeError, ConnectionResetError):
            self._bury(worker)

    def _take(self, worker: Connection) -> tuple[Task, Result]:
        try:
            result, error = worker.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
        if error is not None:
            raise error
        return self._in_hand.pop(worker), result

    def _bury(self, worker: Connection) -> NoReturn:
        process = self._workers[worker]
        process.join(5)
        raise WorkerDiedError(process.exitcode, [self._in_hand[worker]])

    def __enter__(self) -> WorkerPool[Task, Result]:
        """Return the pool."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let idle workers go; end busy ones."""
        for worker, process in self._workers.items():
            worker.close()
            if kind is not None or worker in self._in_hand:
                process.kill()
        for process in self._workers.values():
            process.join()


def _context() -> Any:
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(_PRELOAD)
    return context


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(tasks: Connection, make_job: Callable[[], Job[Any, Any]]) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    job, broken = None, None
    try:
        job = make_job()
    except SlmtkError as error:
        broken = error
    while True:
        try:
            task = tasks.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer = (None, broken) if job is None else (job(task), None)
        except SlmtkError as error:
            answer = (None, error)
        try:
            tasks.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return
