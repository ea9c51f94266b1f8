"""When a pod is worth another try, and with how much memory."""

import re
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryDecision

from flightdelays.pod_trouble import Kind, PodError, Trouble

# Key under which the memory of the next try is kept. It outlives the try; TrainingPod reads it.
MEMORY = "memory_of_next_try"
# Exit code of our commands for what a person must mend, as for an option that is wrong.
WRONG_INPUT = 2


class PodRetries(ExceptionRetryPolicy):
    """Decides by what was wrong with the pod, which TrainingPod tells; else as the rules say.

    Taken away: again, for the next node may stay. Out of memory: once more with twice as much, and
    then no more. What a person must mend: not again.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Whether to try again, and why."""
        if not isinstance(exception, PodError):
            # KubernetesPodOperator by itself tells no more than this, in the pod's state.
            if "OOMKilled" in str(exception):
                return RetryDecision.fail("out of memory: start it again with more")
            return super().evaluate(exception, try_number, max_tries, context)
        trouble = exception.trouble
        if trouble.kind is Kind.OUT_OF_MEMORY:
            return _with_more_memory(trouble, context)
        if trouble.kind is Kind.TAKEN_AWAY:
            return RetryDecision.retry(reason=f"another pod takes over: {trouble.text}")
        if trouble.kind in {Kind.IMAGE, Kind.CONFIGURATION, Kind.DEADLINE}:
            return RetryDecision.fail(f"trying again would fail in the same way: {trouble.text}")
        if trouble.exit_code == WRONG_INPUT:
            return RetryDecision.fail(f"wrong data or settings: {trouble.text}")
        return RetryDecision.default()


def _with_more_memory(trouble: Trouble, context: Any) -> RetryDecision:
    if not trouble.memory:
        return RetryDecision.fail(f"no limit that could be raised: {trouble.text}")
    kept = context["task_state_store"]
    if kept.get(MEMORY):
        return RetryDecision.fail(
            f"out of memory with {trouble.memory} too, twice what it had at first: train on fewer "
            "rows, or start it again with more"
        )
    more = twice(trouble.memory)
    kept.set(MEMORY, more)
    return RetryDecision.retry(reason=f"out of memory with {trouble.memory}: once more with {more}")


def twice(memory: str) -> str:
    """Double a whole quantity of Kubernetes, as ``1500Mi``; its unit stays."""
    number, unit = re.split(r"(?<=\d)(?=\D|$)", memory, maxsplit=1)
    return f"{2 * int(number)}{unit}"
