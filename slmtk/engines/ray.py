"""Actors of an existing Ray cluster: a stage's tasks in, their results out, whichever comes first.

An actor, a machine or a result may be lost on the way: what was in hand is done again by another actor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from slmtk.engines.local import WorkerDiedError
from slmtk.errors import ConfigError, MissingDependencyError, SlmtkError, first_line

Task = TypeVar("Task")
Result = TypeVar("Result")
Job = Callable[[Task], Result]

# One that is worked on and one that is read meanwhile; a cluster is never flooded with tasks.
_IN_HAND = 2
# A task that several actors died of is to blame itself.
_MOST_DEATHS = 3
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to; as a context it is left at the end.

    Attributes:
        address: as given.
        gpus: on all machines.
        cpus: on all machines.
        joined: whether `connect` has connected, and not somebody before.
    """

    address: str
    gpus: int
    cpus: int
    joined: bool

    def device(self, name: str) -> str:
        """Return "cuda" or "cpu", where an actor is to compute, for a --device option.

        Raises:
            ConfigError: a GPU is asked for and none is there, or a certain one.
        """
        if name == "auto":
            return "cuda" if self.gpus else "cpu"
        if name not in ("cpu", "cuda"):
            raise ConfigError(f"--device {name!r} with --engine ray: Ray chooses the GPU; use cpu, cuda or auto")
        if name == "cuda" and not self.gpus:
            raise ConfigError(
                f"--device cuda: the Ray cluster at {self.address!r} has no GPU; use --device cpu or auto"
            )
        return name

    def __enter__(self) -> Cluster:
        """Return the cluster."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect, if `connect` has connected."""
        if self.joined:
            _ray().shutdown()


def connect(address: str = "auto") -> Cluster:
    """Join the Ray cluster at ``address``; "auto" finds the one that this machine belongs to.

    Raises:
        MissingDependencyError: Ray is not installed.
        SlmtkError: there is no cluster.
    """
    ray = _ray()
    joined = not ray.is_initialized()
    if joined:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise SlmtkError(
                f"no Ray cluster at {address!r} ({first_line(error)}); start one with `ray start --head`, or name it "
                "with --ray-address HOST:PORT"
            ) from error
    resources = ray.cluster_resources()
    return Cluster(address, int(resources.get("GPU", 0)), int(resources.get("CPU", 0)), joined)


@dataclass(eq=False)
class _Member(Generic[Task]):
    """An actor and the tasks it has in hand."""

    handle: Any
    is_ready: bool = False
    tasks: list[_Try[Task]] = field(default_factory=list)

    def can_take(self, task: _Try[Task]) -> bool:
        # After a death a task runs by itself, so that it is plain whether it was the one to blame.
        if any(other.deaths for other in self.tasks):
            return False
        return self.is_ready and len(self.tasks) < (1 if task.deaths else _IN_HAND)


@dataclass(eq=False)
class _Try(Generic[Task]):
    """A task, and how many actors have died with it in hand."""

    task: Task
    deaths: int = 0


class ActorPool(Generic[Task, Result]):
    """Actors that each make a job once and then run it on one task after the other, two at a time in threads.

    Use it as a context: leaving it ends the actors.
    """

    def __init__(
        self,
        make_job: Callable[[], Job[Task, Result]],
        cluster: Cluster,
        *,
        gpu: bool,
        most: int | None,
        tell: Callable[[str], None],
    ) -> None:
        """Ask for actors.

        Args:
            make_job: called in each actor; what it returns is called by two threads at once.
            cluster: where.
            gpu: each actor gets a whole GPU; otherwise a core.
            most: how many actors; None takes one for each GPU or core.
            tell: called with lines for the person who waits.
        """
        self._make_job, self._gpu, self._tell = make_job, gpu, tell
        room = cluster.gpus if gpu else cluster.cpus
        self._count = max(1, min(room, most) if most else room)
        self._members: list[_Member[Task]] = []
        self._waiting: deque[_Try[Task]] = deque()
        self._starting: dict[Any, _Member[Task]] = {}
        self._running: dict[Any, tuple[_Member[Task], _Try[Task]]] = {}
        self._failed_starts = 0

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield each task with its result, in the order in which they are done.

        Raises:
            WorkerDiedError: several actors died with the same task in hand, or on starting.
            SlmtkError: what the job raised.
        """
        ray = _ray()
        self._waiting.extend(_Try(task) for task in tasks)
        for _ in range(min(self._count, len(self._waiting))):
            self._start()
        while self._waiting or self._running:
            self._hand_out()
            done, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=_PATIENCE_SECONDS)
            if not done and not self._running:
                self._tell("waiting for the Ray cluster to give an actor a place; `ray status` shows what it has")
            for reference in done:
                yield from self._take(reference)

    def _start(self) -> None:
        actor = _actor_class().options(**({"num_gpus": 1} if self._gpu else {"num_cpus": 1}))
        member: _Member[Task] = _Member(actor.remote(self._make_job, self._gpu))
        self._members.append(member)
        self._starting[member.handle.start.remote()] = member

    def _hand_out(self) -> None:
        # In rounds, so that no actor has a second task while another has none.
        for load in range(_IN_HAND):
            for member in self._members:
                if not self._waiting:
                    return
                if len(member.tasks) == load and member.can_take(self._waiting[0]):
                    task = self._waiting.popleft()
                    member.tasks.append(task)
                    self._running[member.handle.run.remote(task.task)] = (member, task)

    def _take(self, reference: Any) -> Iterator[tuple[Task, Result]]:
        ray = _ray()
        if reference not in self._running and reference not in self._starting:
            return  # its actor has been buried meanwhile
        try:
            result, error = ray.get(reference)
        except ray.exceptions.ObjectLostError:
            member, task = self._running.pop(reference)
            member.tasks.remove(task)
            self._waiting.appendleft(task)
            return
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            self._bury(self._starting[reference] if reference in self._starting else self._running[reference][0])
            return
        if error is not None:
            raise error
        if reference in self._starting:
            self._starting.pop(reference).is_ready = True
            self._failed_starts = 0
            return
        member, task = self._running.pop(reference)
        member.tasks.remove(task)
        yield task.task, result

    def _bury(self, member: _Member[Task]) -> None:
        _ray().kill(member.handle)
        self._members.remove(member)
        if not member.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_DEATHS:
                raise WorkerDiedError(None, [], f"{_MOST_DEATHS} actors of the Ray cluster died on starting")
        self._starting = {key: other for key, other in self._starting.items() if other is not member}
        self._running = {key: pair for key, pair in self._running.items() if pair[0] is not member}
        for task in reversed(member.tasks):
            task.deaths += 1
            if task.deaths >= _MOST_DEATHS:
                raise WorkerDiedError(None, [task.task], f"{_MOST_DEATHS} actors of the Ray cluster died")
            self._waiting.appendleft(task)
        self._tell(f"an actor of the Ray cluster died; another does the {len(member.tasks)} chunks that it had in hand")
        self._start()

    def __enter__(self) -> ActorPool[Task, Result]:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the actors."""
        for member in self._members:
            _ray().kill(member.handle)


class _Actor:
    """What runs on the cluster."""

    def __init__(self, make_job: Callable[[], Job[Any, Any]], gpu: bool) -> None:
        self._make_job, self._gpu = make_job, gpu
        self._job: Job[Any, Any] | None = None

    def start(self) -> tuple[None, SlmtkError | None]:
        import torch

        # With one thread a result does not depend on the machine's cores, as in worker processes.
        if not self._gpu:
            torch.set_num_threads(1)
        try:
            self._job = self._make_job()
        except SlmtkError as error:
            return None, error
        return None, None

    def run(self, task: Any) -> tuple[Any, SlmtkError | None]:
        assert self._job is not None  # no task is handed to an actor before `start` has answered
        try:
            return self._job(task), None
        except SlmtkError as error:
            return None, error


def _actor_class() -> Any:
    return _ray().remote(max_restarts=0, max_concurrency=_IN_HAND)(_Actor)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "--engine ray needs Ray, which is not installed; run: pip install 'slmtk[ray]'"
        ) from error
    return ray
