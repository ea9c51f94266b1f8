"""The process that has Airflow imported already, and checks each file in a fork of itself.

``python -m course.grading.worker`` reads jobs as lines of JSON and answers with a line for each
that began and each that ended. Importing Airflow and building its execution API takes ten seconds;
a fork has both at once. Where processes cannot be forked safely (macOS) it checks one file in
itself and ends.
"""

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any, TextIO

from course.grading.job import Job

FORKS = sys.platform == "linux"


def warm_up(modules: list[str]) -> None:
    """Do all that every check would do first, without a thread and without a connection.

    Nothing of it is garbage, so nothing looks for any meanwhile: that takes a fifth off the time.
    Afterwards it counts as permanent, and the checks look through what is theirs only.
    """
    gc.disable()
    _warm_up(modules)
    gc.freeze()
    gc.enable()


def _warm_up(modules: list[str]) -> None:
    import httpx
    import pytest  # noqa: F401
    from airflow.dag_processing.dagbag import DagBag  # noqa: F401
    from airflow.sdk.execution_time import task_runner  # noqa: F401
    from airflow.sdk.execution_time.supervisor import in_process_api_server
    from sqlalchemy.orm import configure_mappers

    import course.grading.collector
    import course.grading.sitting  # noqa: F401

    async def first_request() -> None:
        # Airflow builds the routes of its execution API at the first request, whatever it asks.
        transport = in_process_api_server().atransport
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
            await client.get("/nothing-is-here")

    asyncio.run(first_request())
    configure_mappers()
    for name in modules:
        importlib.import_module(name)


def main() -> None:
    """Serve until the input ends."""
    # The answers get a descriptor of their own: whatever is printed must not mix with them.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warm_up(sys.argv[1:])
    _say(answers, ready=True)
    if FORKS:
        _serve(answers)
    else:
        _sit_here(answers)


def _say(answers: TextIO, **fields: Any) -> None:
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


def _sit_here(answers: TextIO) -> None:
    from course.grading.sitting import sit

    line = sys.stdin.readline()
    if line:
        job = Job.model_validate_json(line)
        _say(answers, job=job.folder.name, pid=os.getpid())
        sit(job)


def _serve(answers: TextIO) -> None:
    running: dict[int, str] = {}
    pending = ""
    open_ = True
    while open_ or running:
        if not open_:
            # Whoever asked is gone: nobody will read what these find.
            for pid in running:
                os.killpg(pid, signal.SIGKILL)
        ready, _, _ = select.select([0] if open_ else [], [], [], 0.02 if running else None)
        if ready:
            piece = os.read(0, 65536).decode()
            open_ = bool(piece)
            *lines, pending = (pending + piece).split("\n")
            for line in lines:
                job = Job.model_validate_json(line)
                pid = _fork(job)
                running[pid] = job.folder.name
                _say(answers, job=job.folder.name, pid=pid)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _say(answers, job=running.pop(pid), status=os.waitstatus_to_exitcode(status))


def _fork(job: Job) -> int:
    from course.grading.sitting import sit

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        sit(job)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Without the clean-up of the parent, whose child this is.
        os._exit(code)


if __name__ == "__main__":
    main()
