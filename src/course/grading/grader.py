"""Has files checked in processes of their own, within limits, and makes reports of it."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import psutil

from course.cluster import target
from course.config import BIN, REPOSITORY, load_config
from course.environment import TUNABLE
from course.errors import CourseError
from course.grading.catalogue import Exercise
from course.grading.job import EVENTS, LOG, STACKS, Event, Job, read_events
from course.grading.loading import Source
from course.grading.report import Finding, Report, TaskVerdict
from course.grading.worker import FORKS

MIB = 2**20
LOOK = 0.05
"""Seconds between two looks at a running check."""
OWN = ("AIRFLOW", "FLIGHTDELAYS_", "COURSE_", "KAFKA_", "MLFLOW_", "FEAST_")
"""Beginnings of the variables by which a person's own stack could be reached."""

Say = Callable[[str], None]


def _silent(text: str) -> None:
    pass


class Worker:
    """The warm process; several checks may run in forks of it at the same time."""

    def __init__(self, home: Path, modules: Sequence[str]) -> None:
        self._log = (home / "worker.log").open("w", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "course.grading.worker", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(home),
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the pipes that were asked for are not there")
        self._process, self._jobs, self._lines = process, process.stdin, process.stdout
        self._answers: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._ready = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._lines:
            answer = json.loads(line)
            if answer.get("ready"):
                self._ready.set()
            else:
                self._answers[answer["job"]].put(answer)
        self._ready.set()
        code = self._process.wait()
        for answers in self._answers.values():
            answers.put({"status": code})

    def wait(self) -> None:
        """Wait until it has imported everything."""
        self._ready.wait()

    def begin(self, job: Job) -> queue.SimpleQueue[dict[str, Any]]:
        """Start a check; the first answer holds its ``pid``, the last its exit ``status``."""
        self._ready.wait()
        answers = self._answers[job.folder.name] = queue.SimpleQueue()
        with self._lock:
            if self._process.poll() is not None:
                raise CourseError(
                    f"The grader's process did not start; see {self._log.name}", "make doctor"
                )
            self._jobs.write(job.model_dump_json() + "\n")
            self._jobs.flush()
        return answers

    def close(self) -> None:
        """End it, and what runs in its forks."""
        if self._jobs.closed:
            return
        self._jobs.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Grader:
    """Checks files; a context manager, whose warm process ends with it."""

    def __init__(self, home: Path, modules: Sequence[str] = (), say: Say = _silent) -> None:
        self._home = home
        self._modules = modules
        self._jobs = _jobs(home)
        self._database = _database(home, say)
        say("Warming up Airflow")
        self._worker = Worker(home, modules)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until it is warm."""
        self._worker.wait()

    def close(self) -> None:
        """End the warm process, and with it what is still being checked."""
        self._worker.close()

    def check(self, exercise: Exercise, file: Path, say: Say = _silent) -> Report:
        """Run the checks of an exercise on a file; may be called from several threads."""
        if not file.is_file():
            raise CourseError(
                f"{file} is not there.", f"to get the starter back: make reset EX={exercise.number}"
            )
        folder = Path(tempfile.mkdtemp(prefix=f"{exercise.name}-", dir=self._jobs))
        job = Job(
            exercise=exercise.folder,
            file=file.resolve(),
            folder=folder,
            database=self._database,
            data=self._home / "data",
            megabytes=exercise.megabytes,
        )
        begin = time.monotonic()
        answers = self._worker.begin(job)
        if not FORKS:
            # That process is used up; the next one warms up while a person reads.
            self._worker = Worker(self._home, self._modules)
        sitting = _Sitting(exercise, job, answers)
        sitting.watch(say)
        report = sitting.report()
        report.seconds = round(time.monotonic() - begin, 2)
        report.file = str(file)
        return report


class _Sitting:
    """One running check."""

    def __init__(
        self, exercise: Exercise, job: Job, answers: queue.SimpleQueue[dict[str, Any]]
    ) -> None:
        self._exercise = exercise
        self._job = job
        self._answers = answers
        self._status: int | None = None
        self._over = ""
        """Which limit was passed, in words."""

    def watch(self, say: Say) -> None:
        """Wait for its end; end it when it passes a limit."""
        first = self._answers.get()
        if "pid" not in first:
            raise CourseError(
                f"The grader's process ended with {first['status']} before it checked anything.",
                "make doctor; its last words are in worker.log in the folder grader of COURSE_HOME",
            )
        process = psutil.Process(first["pid"])
        # The clock starts with the process: waiting for it to be warm is not the file's fault.
        deadline = time.monotonic() + self._exercise.seconds
        said = ""
        while self._status is None:
            try:
                self._status = self._answers.get(timeout=LOOK)["status"]
            except queue.Empty:
                doing = _last(self._events())
                if doing != said:
                    say(_words(doing))
                    said = doing
                self._limit(process, deadline)
        self._end_group(first["pid"])

    def _limit(self, process: psutil.Process, deadline: float) -> None:
        if self._over:
            return
        if time.monotonic() > deadline:
            self._over = f"it was still running after {self._exercise.seconds} s, and was stopped"
        elif _memory(process) > self._exercise.megabytes * MIB:
            self._over = f"it took more than {self._exercise.megabytes} MB of memory"
        if self._over:
            try:
                # It writes down where it is.
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.3)
            except psutil.NoSuchProcess:
                return
            self._end_group(process.pid)

    def _end_group(self, pid: int) -> None:
        """End the process with all that it started."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _events(self) -> list[Event]:
        return read_events(self._job.folder / EVENTS)

    def report(self) -> Report:
        """What was found."""
        events = self._events()
        results = [event.result for event in events if event.result]
        problem = next((event.problem for event in events if event.problem), None)
        broken = [event.broken for event in events if event.broken]
        broken += [result.trace for result in results if result.outcome == "broken"]
        if not any(event.end for event in events):
            if self._over or self._status == 0 or not _crashed(self._job.folder / LOG):
                problem = self._stopped(_last(events))
            else:
                broken.append("the process of the check ended with an error; see the log")
        return Report(
            exercise=self._exercise.name,
            file=str(self._job.file),
            tasks=[
                TaskVerdict(
                    number=number,
                    title=title,
                    checks=[result for result in results if result.task == number],
                )
                for number, title in enumerate(self._exercise.tasks, start=1)
            ],
            problem=problem,
            broken=broken,
            log=str(self._job.folder / LOG),
        )

    def _stopped(self, doing: str) -> Finding:
        """In words, why a check did not come to its end."""
        if self._over:
            happened = self._over
        elif self._status is not None and self._status < 0:
            happened = f"Python was ended by {signal.Signals(-self._status).name}"
        else:
            happened = "the file ended Python itself (`os._exit`?)"
        file = self._job.folder / "dags" / self._exercise.file_name
        source = Source(file, self._exercise.file_name)
        line = _deepest(self._job.folder / STACKS, file)
        if line:
            happened += f", at `{source.words(line)}`"
        return Finding(
            ran=_words(doing),
            expected=f"an end within {self._exercise.seconds} s "
            f"and {self._exercise.megabytes} MB of memory",
            happened=happened,
            where=source.place(line) if line else source.name,
        )


def _last(events: list[Event]) -> str:
    return next((event.doing for event in reversed(events) if event.doing), "")


def _words(doing: str) -> str:
    return doing.removeprefix("test_").replace("_", " ") or "the start of the check"


def _crashed(log: Path) -> bool:
    """Whether the process left a traceback of ours as its last words."""
    return log.exists() and "course/grading/sitting.py" in log.read_text(errors="replace")[-4000:]


def _deepest(stacks: Path, file: Path) -> int:
    """The innermost line of the learner's file in a dump of stacks, which begins with it."""
    mark = f'File "{file}", line '
    if not stacks.exists():
        return 0
    for line in stacks.read_text(errors="replace").splitlines():
        if mark in line:
            return int(line.split(mark)[1].split()[0])
    return 0


def _memory(process: psutil.Process) -> int:
    """Bytes of a process and its children, without what it shares with the warm one."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            details = member.memory_info()
        except psutil.Error:
            continue
        total += details.rss - getattr(details, "shared", 0)
    return total


def _environment(home: Path) -> dict[str, str]:
    """The environment of the checks: nothing in it leads to a person's stack."""
    # But for the name of a cluster that the person means the checks to use.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == target.CONTEXT or not name.startswith(OWN)
    }
    # Without compiled modules every start would compile all of Airflow again, for six seconds.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {
        **TUNABLE,
        **kept,
        "SENTIMENT_TWEETS": str(load_config().tweets),
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'none.db'}",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _jobs(home: Path) -> Path:
    """A folder for the checks of this process; those of ended processes are removed."""
    for old in (home / "jobs").glob("[0-9]*"):
        if not psutil.pid_exists(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    own = home / "jobs" / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    return own


def _database(home: Path, say: Say) -> Path:
    """An empty, migrated database; made once for each version of Airflow."""
    path = home / f"airflow-{version('apache-airflow-core')}.db"
    if not path.exists():
        say("Preparing a database for the checks (once)")
        draft = path.with_suffix(f".{os.getpid()}.draft")
        done = subprocess.run(
            [str(BIN / "airflow"), "db", "migrate"],
            env={
                **_environment(home),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{draft}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CourseError(f"`airflow db migrate` failed: {last}", "make doctor")
        _settle(draft)
        draft.replace(path)
    return path


def _settle(database: Path) -> None:
    """Put what lies in the write-ahead log into the file itself: only that one is copied."""
    import sqlite3

    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
