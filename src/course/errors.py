"""The one exception that a person is meant to read."""


class CourseError(Exception):
    """An expected failure: one sentence on what is at fault, and the command that mends it.

    The command line prints it without a traceback; everything else keeps its traceback,
    because it is a defect of the course and not of the person's machine.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  → {self.fix}" if self.fix else self.problem
