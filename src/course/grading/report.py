"""What a check of one file found; the same for the terminal, `--json` and a class's table."""

from typing import Literal

from pydantic import BaseModel


class Finding(BaseModel):
    """Why a check did not pass, in the words of a person who has not seen the check."""

    ran: str
    expected: str
    happened: str
    where: str = ""


class CheckResult(BaseModel):
    """One check of one task."""

    task: int
    name: str
    outcome: Literal["passed", "failed", "broken", "skipped"]
    """``broken`` is a check that crashed: a defect of the course, not of the learner's file."""
    seconds: float
    finding: Finding | None = None
    trace: str = ""
    """Traceback of a broken check."""
    note: str = ""
    """Why a check was skipped."""


class TaskVerdict(BaseModel):
    """One numbered task of an exercise."""

    number: int
    title: str
    checks: list[CheckResult]

    @property
    def passed(self) -> bool:
        """Whether its checks passed; one that cannot be made on this machine does not count."""
        outcomes = {check.outcome for check in self.checks}
        return "passed" in outcomes and outcomes <= {"passed", "skipped"}

    @property
    def finding(self) -> Finding | None:
        """The first finding of its checks."""
        return next((check.finding for check in self.checks if check.finding), None)


class Report(BaseModel):
    """What a check of one file found."""

    exercise: str
    file: str
    tasks: list[TaskVerdict]
    problem: Finding | None = None
    """Why the file could not be checked to the end, if it could not."""
    broken: list[str] = []
    """What went wrong on the side of the course, with tracebacks."""
    seconds: float = 0
    log: str = ""
    """File with all that Airflow and the learner's code printed."""

    @property
    def passed(self) -> bool:
        """Whether every task passed."""
        return not self.problem and not self.broken and all(task.passed for task in self.tasks)

    @property
    def done(self) -> int:
        """How many tasks passed."""
        return sum(task.passed for task in self.tasks)

    @property
    def first(self) -> TaskVerdict | None:
        """The first task that did not pass."""
        return next((task for task in self.tasks if not task.passed), None)
