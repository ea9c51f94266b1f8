"""When a pod is worth another try."""

from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryDecision


class PodRetries(ExceptionRetryPolicy):
    """Tries again as the rules say, but not when the container ran out of memory.

    KubernetesPodOperator raises one kind of exception for every pod that fails: a node that was
    taken away, an error of the program, a lack of memory. Its message quotes the pod's state.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Fail after a lack of memory; otherwise what the rules say."""
        if "OOMKilled" in str(exception):
            return RetryDecision.fail("out of memory: start it again with more")
        return super().evaluate(exception, try_number, max_tries, context)
