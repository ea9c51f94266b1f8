"""The end of a process that leads a group of its own."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

PATIENCE = 20
"""Seconds that a group has to end by itself."""


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started with ``start_new_session``, and all of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
