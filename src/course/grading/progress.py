"""What a learner has done so far, in `.course/progress.json`."""

import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from course.config import Config
from course.errors import CourseError
from course.files import write_atomic
from course.grading.report import Report


class Standing(BaseModel):
    """How far one exercise is."""

    passed: list[int] = []
    """Numbers of the tasks that passed in the last check."""
    checks: int = 0
    solved: datetime | None = None
    """When all passed for the first time."""
    hints: dict[int, int] = {}
    """The highest level of hint that was shown, by task."""


class Progress(BaseModel):
    """All exercises that were ever checked, by folder name."""

    exercises: dict[str, Standing] = {}
    quiz: dict[str, int] = {}
    """The most right answers in one sitting of the knowledge check, by topic."""

    def of(self, name: str) -> Standing:
        """The standing of an exercise, empty if it was never checked."""
        return self.exercises.setdefault(name, Standing())

    def note(self, report: Report) -> None:
        """Take over what a check found; a file that cannot be checked changes nothing solved."""
        standing = self.of(report.exercise)
        standing.checks += 1
        standing.passed = [task.number for task in report.tasks if task.passed]
        if report.passed and standing.solved is None:
            standing.solved = datetime.now(UTC)


def place(config: Config) -> Path:
    """Where it is kept."""
    return config.root / "progress.json"


def load(config: Config) -> Progress:
    """Read it; CourseError if it was damaged by hand."""
    path = place(config)
    if not path.exists():
        return Progress()
    try:
        return Progress.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CourseError(
            f"{path} cannot be read: {where}: {first['msg']}", f"mend it, or: rm {path}"
        ) from error


def save(config: Config, progress: Progress) -> None:
    """Write it whole or not at all."""
    content = json.dumps(progress.model_dump(mode="json"), indent=2) + "\n"
    write_atomic(place(config), content)
