"""What the grader and the process that runs a learner's file tell each other."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from course.grading.report import CheckResult, Finding

EVENTS = "events.jsonl"
LOG = "log.txt"
STACKS = "stacks.txt"


class Job(BaseModel):
    """One file to check, and the empty folder in which that happens."""

    exercise: Path
    """Folder of the exercise."""
    file: Path
    """The file to check; a copy of it is made, so an editor may save meanwhile."""
    folder: Path
    database: Path
    """A migrated SQLite database, to be copied."""
    data: Path
    """Folder of the data sets that the checks share and do not change."""
    megabytes: int


class Event(BaseModel):
    """One line of the file by which the running check says how far it is."""

    doing: str = ""
    result: CheckResult | None = None
    problem: Finding | None = None
    broken: str = ""
    end: bool = False


class Events:
    """Writes events; each line is written at once, so none is lost with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fields: Any) -> None:
        """Add one event."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(Event(**fields).model_dump_json(exclude_defaults=True) + "\n")


def read_events(path: Path) -> list[Event]:
    """All complete events so far."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [Event.model_validate_json(line) for line in lines[:-1]]
