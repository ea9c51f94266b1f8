"""Notes what the tasks of a run raise, and makes some of them fail on purpose."""

import functools
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from course.grading.loading import Source
from course.grading.runs import TaskError

PLANTED = "planted by the check"


class Recorder:
    """Listens to the runs of a DAG, as an Airflow plugin does."""

    def __init__(self, source: Source, fail: Mapping[str, int]) -> None:
        self._source = source
        self._fail = fail
        self.errors: dict[tuple[str, int], list[TaskError]] = defaultdict(list)
        self.lines: dict[str, int] = {}
        """Where the function of a task begins in the learner's file."""

    @contextmanager
    def attached(self, dag: Any) -> Iterator[None]:
        """While it runs, note what fails; retries come at once, and what is planted fails."""
        from airflow.sdk.listener import get_listener_manager

        # `dag.test()` of Airflow 3.3 fails at its very end if the DAG has a deadline.
        dag.deadline = None
        for operator in dag.tasks:
            if line := self._defined(operator):
                self.lines[operator.task_id] = line
            self._prepare(operator)
        listener = _listener(self._note)
        manager = get_listener_manager()
        manager.add_listener(listener)
        try:
            yield
        finally:
            manager.pm.unregister(listener)

    def _defined(self, operator: Any) -> int:
        code = getattr(inspect.unwrap(_function(operator)), "__code__", None)
        if code is None or Path(code.co_filename) != self._source.path:
            return 0
        return int(code.co_firstlineno)

    def _prepare(self, operator: Any) -> None:
        kwargs = getattr(operator, "partial_kwargs", None)
        if kwargs is None:
            operator.retry_delay = timedelta(0)
            operator.retry_exponential_backoff = 0
        else:
            kwargs |= {"retry_delay": timedelta(0), "retry_exponential_backoff": 0}
        if not any(label.split("[")[0] == operator.task_id for label in self._fail):
            return
        if hasattr(operator, "python_callable"):
            operator.python_callable = self._planting(operator.python_callable)
        elif kwargs and "python_callable" in kwargs:
            kwargs["python_callable"] = self._planting(kwargs["python_callable"])
        else:
            operator.execute = self._planting(_execute)

    def _planting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def planted(*args: Any, **kwargs: Any) -> Any:
            from airflow.sdk import get_current_context

            instance = get_current_context()["ti"]
            label = f"{instance.task_id}[{instance.map_index}]"
            times = self._fail.get(instance.task_id, self._fail.get(label, 0))
            if instance.try_number <= times:
                raise ConnectionError(f"{PLANTED}: try {instance.try_number} fails")
            return function(*args, **kwargs)

        return planted

    def _note(self, instance: Any, error: BaseException | str | None) -> None:
        trace = error.__traceback__ if isinstance(error, BaseException) else None
        self.errors[instance.task_id, instance.map_index].append(
            TaskError(
                type=type(error).__name__ if isinstance(error, BaseException) else "Error",
                message=str(error or "no reason given"),
                line=self._source.last(trace),
            )
        )


def _function(operator: Any) -> Callable[..., Any]:
    """What a task calls: a function of the file, or the operator's own."""
    kwargs = getattr(operator, "partial_kwargs", None) or {}
    found = getattr(operator, "python_callable", None) or kwargs.get("python_callable")
    return found or _execute


def _execute(context: Any) -> Any:
    """Run an operator that is no Python function: the copy of it that Airflow has rendered."""
    task = context["ti"].task
    return type(task).execute(task, context)


def _listener(note: Callable[[Any, Any], None]) -> Any:
    # Whoever only reads reports does not pay for this import.
    from airflow.listeners import hookimpl

    class Listener:
        @hookimpl
        def on_task_instance_failed(
            self, previous_state: Any, task_instance: Any, error: Any
        ) -> None:
            note(task_instance, error)

    return Listener()
