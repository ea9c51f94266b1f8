"""The hints of an exercise: three levels for each task, from general to specific."""

import re

from course.errors import CourseError
from course.grading.catalogue import Exercise
from course.grading.progress import Progress

LEVELS = 3
_TASK = re.compile(r"^## Task (\d+)\b.*$", re.M)
_HINT = re.compile(r"^### Hint (\d)\s*$", re.M)


def read(exercise: Exercise) -> dict[int, list[str]]:
    """The hints by task; CourseError if a task lacks one of its three levels."""
    parts = _TASK.split(exercise.hints.read_text(encoding="utf-8"))
    found: dict[int, list[str]] = {}
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        _, *pieces = _HINT.split(text)
        levels = [piece.strip() for piece in pieces[1::2]]
        if pieces[0::2] != [str(level) for level in range(1, LEVELS + 1)] or not all(levels):
            raise CourseError(f"{exercise.hints}: task {number} needs hints 1 to {LEVELS}")
        found[int(number)] = levels
    if sorted(found) != list(range(1, len(exercise.tasks) + 1)):
        raise CourseError(f"{exercise.hints}: there must be hints for 1 to {len(exercise.tasks)}")
    return found


def hint(exercise: Exercise, task: int, level: int) -> str:
    """One hint; CourseError if there is no such task or level."""
    found = read(exercise)
    if task not in found:
        raise CourseError(
            f"{exercise.heading} has the tasks 1 to {len(found)}, not {task}",
            f"make hint EX={exercise.number} STEP=1",
        )
    if not 1 <= level <= LEVELS:
        raise CourseError(f"There are hints of level 1 to {LEVELS}, not {level}")
    return found[task][level - 1]


def next_level(standing: Progress, exercise: Exercise, task: int) -> int:
    """The next level of hint for a task, noted as shown; the last stays the last."""
    shown = standing.of(exercise.name).hints
    shown[task] = min(shown.get(task, 0) + 1, LEVELS)
    return shown[task]
