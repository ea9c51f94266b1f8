"""One run of a learner's DAG, as the checks see it."""

import json
from typing import Any

from pydantic import BaseModel

from course.grading.loading import Source
from course.grading.report import Finding

LONGEST = 120
"""Characters of a value that a message shows."""


class Failed(AssertionError):  # noqa: N818 - what a check says, as pytest's own do
    """A check did not pass; the text is for the learner."""

    def __init__(self, ran: str, expected: str, happened: str, where: str = "") -> None:
        super().__init__(happened)
        self.finding = Finding(ran=ran, expected=expected, happened=happened, where=where)


class TaskError(BaseModel):
    """An exception that a task raised."""

    type: str
    message: str
    line: int
    """Line of the learner's file, 0 if the exception came from nowhere in it."""


class Instance(BaseModel):
    """One task instance of a run."""

    task_id: str
    map_index: int
    state: str
    tries: int
    name: str
    """Its map index, or the name that ``map_index_template`` gave it."""
    seconds: float
    returned: Any = None
    """Its XCom ``return_value``."""
    errors: list[TaskError] = []
    """One for each try that raised."""

    @property
    def label(self) -> str:
        """``train`` or ``train[2]``."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


class Run:
    """A finished run; what is asked of a task that is not there is the learner's failure."""

    def __init__(
        self,
        source: Source,
        told: str,
        state: str,
        instances: list[Instance],
        xcoms: dict[str, int],
        task_ids: list[str],
        run_id: str,
    ) -> None:
        self.source = source
        self.told = told
        """The run in words, for messages: ``the DAG with candidates=['logistic']``."""
        self.state = state
        self.instances = instances
        self.xcoms = xcoms
        """Bytes of every XCom, by ``label.key``."""
        self.task_ids = task_ids
        self.run_id = run_id

    @property
    def states(self) -> dict[str, str]:
        """State of every instance by its label."""
        return {each.label: each.state for each in self.instances}

    def of(self, task_id: str) -> list[Instance]:
        """The instances of a task, by map index; Failed if the DAG has no such task."""
        if task_id not in self.task_ids:
            there = ", ".join(f"`{each}`" for each in self.task_ids) or "none"
            raise Failed(
                ran=self.told,
                expected=f"a task called `{task_id}`",
                happened=f"the DAG has no such task; it has {there}",
                where=self.source.name,
            )
        found = [each for each in self.instances if each.task_id == task_id]
        return sorted(found, key=lambda each: each.map_index)

    def one(self, task_id: str) -> Instance:
        """The only instance of a task that is not mapped."""
        found = self.of(task_id)
        if len(found) != 1:
            raise Failed(
                ran=self.told,
                expected=f"one instance of `{task_id}`",
                happened=f"{len(found)} instances",
                where=f"task {task_id}",
            )
        return found[0]

    def succeeded(self, *task_ids: str) -> None:
        """Failed unless every instance of these tasks succeeded; says what each raised."""
        for task_id in task_ids:
            for instance in self.of(task_id):
                if instance.state != "success":
                    raise Failed(
                        ran=self.told,
                        expected=f"that `{instance.label}` succeeds",
                        happened=self.why(instance),
                        where=self.where(instance),
                    )

    def ended(self, task_id: str, state: str, because: str = "") -> None:
        """Failed unless every instance of the task ended in ``state``."""
        for instance in self.of(task_id):
            if instance.state != state:
                raise Failed(
                    ran=self.told,
                    expected=f"that `{instance.label}` ends as {state}"
                    + (f": {because}" if because else ""),
                    happened=self.why(instance),
                    where=self.where(instance),
                )

    def returned(self, task_id: str) -> Any:
        """What a task returned; Failed if it did not succeed."""
        instance = self.one(task_id)
        self.succeeded(task_id)
        return instance.returned

    def why(self, instance: Instance) -> str:
        """In words, how an instance ended."""
        if instance.errors:
            last = instance.errors[-1]
            message = last.message.strip().split("\n")[0][:300]
            tries = f" in each of {len(instance.errors)} tries" if len(instance.errors) > 1 else ""
            return f"`{instance.label}` raised {last.type}: {message}{tries}"
        if instance.state == "upstream_failed":
            cause = next((each for each in self.instances if each.errors), None)
            more = f", as {self.why(cause)}" if cause else ""
            return f"`{instance.label}` was not started{more}"
        return f"`{instance.label}` ended as {instance.state}"

    def where(self, instance: Instance) -> str:
        """The line of the file, if an exception tells it, and the task."""
        cause = instance
        if instance.state == "upstream_failed":
            cause = next((each for each in self.instances if each.errors), instance)
        lines = [error.line for error in cause.errors if error.line]
        label = f"task {cause.label}"
        return f"{self.source.place(lines[-1])}, {label}" if lines else label


def spell(value: Any) -> str:
    """A value in words that fit a line: of a collection only its kind and size."""
    if isinstance(value, list | tuple | set | dict) and value:
        return f"a {type(value).__name__} with {len(value):,} entries"
    said = repr(value)
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def size(value: Any) -> int:
    """Bytes of a value as XCom stores it."""
    return len(value if isinstance(value, str) else json.dumps(value))
