"""Several processes that train one model together (torchrun, accelerate launch): who speaks, who waits."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from transformers import TrainingArguments
from transformers.utils import logging

from slmtk.errors import SlmtkError
from slmtk.progress import Progress, SilentProgress
from slmtk.stages.train.arguments import sharding

Result = TypeVar("Result")


@contextmanager
def said_once(*kinds: type[SlmtkError]) -> Iterator[None]:
    """Let the first process alone say an error of ``kinds`` (all kinds, if none is named) that every process meets.

    Raises:
        SystemExit: in the other processes. The status is 0, because a launcher ends all processes when one fails,
            perhaps before the first has spoken; it fails by the first one's status.
    """
    common = kinds or (SlmtkError,)
    try:
        yield
    except common as error:
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(0) from error
        raise


def _disconnect() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Ranks:
    """The processes of this run: usually one."""

    def __init__(self, device: str, fsdp: str | None = None) -> None:
        """Meet the other processes, if a launcher has started any; ``device`` and ``fsdp`` are the run's."""
        # Launchers say it in the environment and nowhere else.
        self.count, self.index = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.count > 1:
            # The library opens the connection, with the backend that device and sharding ask for.
            TrainingArguments(use_cpu=device == "cpu", report_to="none", **sharding(fsdp))
            if device == "cpu":
                # Gloo's threads that outlive the interpreter end a finished process by SIGABRT, now and then. NCCL's
                # connections stay: closing them waits for the others, also where this process fails alone.
                atexit.register(_disconnect)
        if not self.is_first:
            logging.set_verbosity_error()

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.index == 0

    def progress(self, progress: Progress) -> Progress:
        """``progress`` in the first process, silence in the others."""
        return progress if self.is_first else SilentProgress()

    def first_then_others(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in the first process, then in all others: what is fetched or refused, is so once.

        Raises:
            SystemExit: the first process was refused, and has said so itself; see `said_once`.
        """
        if self.count == 1:
            return work()
        if not self.is_first:
            if not self._hear():
                raise SystemExit(0)
            return work()
        done = False
        try:
            result = work()
            done = True
        finally:
            self._hear(done)
        return result

    def agree(self, value: Result) -> Result:
        """The first process's ``value``, in every process."""
        return value if self.count == 1 else self._hear(value)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()

    def _hear(self, word: Any = None) -> Any:
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([word], from_process=0)[0]
