"""The pytest plugin that turns checks into results, and tells a learner's failure from ours."""

import time
import traceback
from collections.abc import Generator
from typing import Any

import pytest

from course.grading.job import Events
from course.grading.lesson import Lesson
from course.grading.report import CheckResult
from course.grading.runs import Failed


class Collector:
    """Runs inside the process that checks one file."""

    def __init__(self, lesson: Lesson, events: Events, tasks: int) -> None:
        self._lesson = lesson
        self._events = events
        self._tasks = tasks
        self._begun = 0.0

    @pytest.fixture(scope="session")
    def lesson(self) -> Lesson:
        """The learner's file."""
        return self._lesson

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the marker known."""
        config.addinivalue_line("markers", "task(number): the numbered task a check belongs to")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """In the order of the tasks; every check belongs to one, every task has one."""
        numbers = {item.nodeid: _task(item) for item in items}
        if set(numbers.values()) != set(range(1, self._tasks + 1)):
            raise pytest.UsageError(
                f"the checks cover the tasks {sorted(set(numbers.values()))}, "
                f"exercise.toml names {self._tasks}"
            )
        items.sort(key=lambda item: numbers[item.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of checks that cannot be read is ours to mend."""
        if report.failed:
            self._events.write(broken=str(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say what is being checked."""
        self._begun = time.time()
        self._events.write(doing=nodeid.split("::")[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write the result of a check as soon as there is one."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if error is None and call.when != "call":
            return report
        self._events.write(result=self._result(item, call, error))
        return report

    def _result(
        self, item: pytest.Item, call: pytest.CallInfo[None], error: BaseException | None
    ) -> CheckResult:
        number = _task(item)
        # What the fixtures of a check ran is part of what it took.
        seconds = round(call.stop - self._begun, 3)
        fields: dict[str, Any] = {"task": number, "name": item.name, "seconds": seconds}
        if error is None:
            return CheckResult(outcome="passed", **fields)
        if isinstance(error, pytest.skip.Exception):
            return CheckResult(outcome="skipped", note=str(error), **fields)
        if isinstance(error, Failed):
            where = self._lesson.place(error.finding.where, number)
            finding = error.finding.model_copy(update={"where": where})
            return CheckResult(outcome="failed", finding=finding, **fields)
        trace = "".join(traceback.format_exception(error))
        return CheckResult(outcome="broken", trace=trace, **fields)


def _task(item: pytest.Item) -> int:
    marker = item.get_closest_marker("task")
    if marker is None:
        raise pytest.UsageError(f"{item.nodeid} does not say which task it belongs to: @task(n)")
    return int(marker.args[0])
