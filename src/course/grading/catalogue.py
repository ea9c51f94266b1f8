"""What exercises there are: each is a folder of `exercises/` with an `exercise.toml`."""

import tomllib
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from course.config import REPOSITORY
from course.errors import CourseError

EXERCISES = REPOSITORY / "exercises"
SOLUTIONS = REPOSITORY / "solutions"
CAPSTONE = "capstone"


class Exercise(BaseModel):
    """One exercise: what `exercise.toml` says of it, and where its parts lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    title: str
    minutes: int = Field(gt=0, description="how long a learner is expected to take")
    dags: tuple[str, ...] = Field(min_length=1, description="ids of the DAGs that the file defines")
    tasks: tuple[str, ...] = Field(min_length=1, description="titles of the numbered tasks")
    warm: tuple[str, ...] = Field(default=(), description="modules that its checks will import")
    seconds: int = Field(default=180, gt=0, description="time limit of one check of the file")
    megabytes: int = Field(default=3000, gt=0, description="memory limit of one check of the file")

    @property
    def name(self) -> str:
        """Folder name, as ``ex02_dynamic_task_mapping``."""
        return self.folder.name

    @property
    def number(self) -> str:
        """What a person types: ``2``, or ``capstone``."""
        head = self.name.split("_")[0]
        return head.removeprefix("ex").lstrip("0") if head != CAPSTONE else CAPSTONE

    @property
    def heading(self) -> str:
        """Its name for people: ``Exercise 2 · Implement dynamic task mapping``."""
        return self.title if self.number == CAPSTONE else f"Exercise {self.number} · {self.title}"

    @property
    def file_name(self) -> str:
        """Name of the one file that a learner edits."""
        return f"{self.name.split('_', 1)[-1]}.py"

    @property
    def file(self) -> Path:
        """The file that the learner edits."""
        return self.folder / self.file_name

    @property
    def checks(self) -> Path:
        """The pytest file with the checks."""
        return self.folder / "checks.py"

    @property
    def hints(self) -> Path:
        """The page of hints."""
        return self.folder / "hints.md"

    @property
    def solutions(self) -> Path:
        """Folder of the solution, the starter, and the right and wrong variants."""
        return SOLUTIONS / self.name

    @property
    def solution(self) -> Path:
        """Our solution."""
        return self.solutions / self.file_name

    @property
    def starter(self) -> Path:
        """The file as the learner first finds it."""
        return self.solutions / "starter.py"


def read(folder: Path) -> Exercise:
    """Read one exercise; CourseError names the key of `exercise.toml` that is wrong."""
    path = folder / "exercise.toml"
    try:
        return Exercise(folder=folder, **tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CourseError(f"{path}: {key}: {first['msg']}") from error


@lru_cache
def catalogue() -> tuple[Exercise, ...]:
    """All exercises in their order; the capstone is the last."""
    folders = [path.parent for path in EXERCISES.glob("*/exercise.toml")]
    return tuple(
        sorted(map(read, folders), key=lambda exercise: (exercise.name == CAPSTONE, exercise.name))
    )


def find(number: str) -> Exercise:
    """The exercise that a person means by ``2``, ``02``, ``ex02`` or ``capstone``."""
    wanted = number.strip().lower()
    for exercise in catalogue():
        head = exercise.name.split("_")[0]
        if wanted in {exercise.number, exercise.name, head, head.removeprefix("ex")}:
            return exercise
    known = ", ".join(exercise.number for exercise in catalogue())
    raise CourseError(f"There is no exercise {number!r}; there are: {known}", "make check EX=1")
