"""The learner's own file: back to the starter, or beside the solution."""

import difflib
import itertools
import shutil
from pathlib import Path

from course.errors import CourseError
from course.files import write_atomic
from course.grading.catalogue import Exercise


def reset(exercise: Exercise) -> Path | None:
    """Put the starter back; return where the learner's file is kept now, if there was one."""
    if exercise.file.exists() and exercise.file.read_bytes() == exercise.starter.read_bytes():
        return None
    kept = None
    if exercise.file.exists():
        names = (exercise.file.with_suffix(f".py.kept-{number}") for number in itertools.count(1))
        kept = next(path for path in names if not path.exists())
        shutil.copy2(exercise.file, kept)
    write_atomic(exercise.file, exercise.starter.read_bytes())
    return kept


def difference(exercise: Exercise) -> list[str]:
    """The lines in which the learner's file and the solution differ, as ``diff -u`` shows them."""
    if not exercise.file.exists():
        raise CourseError(f"{exercise.file} is not there.", f"make reset EX={exercise.number}")
    return list(
        difflib.unified_diff(
            exercise.file.read_text(encoding="utf-8", errors="replace").splitlines(),
            exercise.solution.read_text(encoding="utf-8").splitlines(),
            fromfile="yours",
            tofile="solution",
            lineterm="",
        )
    )
