"""Checks one file, in a process that is thrown away afterwards."""

import faulthandler
import os
import re
import resource
import shutil
import signal
import sys
from pathlib import Path

from course.grading import catalogue
from course.grading.job import EVENTS, LOG, STACKS, Events, Job
from course.grading.loading import Parse, Source, load, missing
from course.grading.report import Finding

MIB = 2**20


def sit(job: Job) -> None:
    """Check the file of ``job``; everything that is found goes to its events."""
    _separate(job)
    events = Events(job.folder / EVENTS)
    exercise = catalogue.read(job.exercise)
    dags = job.folder / "dags"
    dags.mkdir()
    source = Source(Path(shutil.copy(job.file, dags / exercise.file_name)), exercise.file_name)
    events.write(doing="importing the file")
    # What the file prints or changes in its folder stays in the folder of this job.
    parse = load(source)
    problem = parse if isinstance(parse, Finding) else _dags(source, exercise.dags)
    if problem or not isinstance(parse, Parse):
        events.write(problem=problem, end=True)
        return
    _check(job, exercise, source, parse, events)
    events.write(end=True)


def _separate(job: Job) -> None:
    """A session, limits, folders, a database and a log of its own."""
    os.setsid()
    log = (job.folder / LOG).open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log.fileno(), stream.fileno())
    stacks = (job.folder / STACKS).open("w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    _limit(job.megabytes)
    database = job.folder / "airflow.db"
    shutil.copy(job.database, database)
    os.chdir(job.folder)
    os.environ.update(
        {
            "AIRFLOW__CORE__DAGS_FOLDER": str(job.folder / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(job.folder / "logs"),
            "FLIGHTDELAYS_MLFLOW_TRACKING_URI": f"sqlite:///{job.folder / 'mlflow.db'}",
            "COURSE_HOME": str(job.folder),
        }
    )
    from airflow import settings

    settings.configure_vars()
    settings.dispose_orm(do_log=False)
    settings.configure_orm()


def _limit(megabytes: int) -> None:
    """Allow that much memory on top of what this process was forked with."""
    status = Path("/proc/self/status")
    if not status.exists():
        # Elsewhere only the grader's own watch over the memory limits it.
        return
    (now,) = re.findall(r"^VmData:\s+(\d+) kB$", status.read_text(), re.M)
    limit = int(now) * 1024 + megabytes * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _dags(source: Source, expected: tuple[str, ...]) -> Finding | None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(source.path))
    if bag.import_errors:
        last = next(iter(bag.import_errors.values())).strip().splitlines()[-1]
        return Finding(
            ran=f"the import of {source.name}, as Airflow does it",
            expected="a DAG that Airflow accepts",
            happened=last,
            where=source.name,
        )
    return missing(source, expected, sorted(bag.dags))


def _check(
    job: Job, exercise: catalogue.Exercise, source: Source, parse: Parse, events: Events
) -> None:
    import pytest

    from course.grading.collector import Collector
    from course.grading.lesson import Lesson

    lesson = Lesson(source, parse, exercise.dags, job.folder, job.data)
    lesson.lake()
    code = pytest.main(
        [
            str(exercise.checks),
            # None of the settings, plugins and caches of the folder that the file lies in.
            *("-c", os.devnull, "--rootdir", str(exercise.folder), "--import-mode=importlib"),
            *("-p", "no:cacheprovider", "--strict-markers", "--capture=no", "--tb=native"),
            # Collects garbage five times at the end, which takes a second in so large a process.
            *("-p", "no:unraisableexception"),
        ],
        plugins=[Collector(lesson, events, len(exercise.tasks))],
    )
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        events.write(broken=f"pytest ended with {code!r}; see the log")
