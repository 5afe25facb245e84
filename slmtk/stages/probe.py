"""Questions to this installation, each in a process of its own: an import that crashes is an answer, not the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 180.0

# Written in front of the answer, since libraries print to stdout while they are imported.
_MARK = "slmtk-answer:"


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        values: what the code handed to ``answer(...)``; empty if it failed.
        error: last line of the traceback, or how the process ended; empty if it went well.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def ask(code: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Run ``code`` in a new interpreter; it hands over a JSON-ready dict by calling ``answer(values)``."""
    program = f"import json\ndef answer(values):\n    print('\\n{_MARK}' + json.dumps(values), flush=True)\n{code}\n"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {timeout_seconds:g} s")
    if done.returncode < 0:
        return Answer(error=f"the interpreter crashed ({_signal_name(-done.returncode)})")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return Answer(error=lines[-1].strip() if lines else f"exit status {done.returncode}")
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            return Answer(values=json.loads(line.removeprefix(_MARK)))
    return Answer(error="the interpreter gave no answer")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
