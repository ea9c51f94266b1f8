"""A failure that time mends is tried again; one that it does not mend fails at once."""

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, dag, get_current_context, task

# [START policy]
POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[ValueError, KeyError],
            action=RetryAction.FAIL,
            reason="the same rows would be refused again",
        ),
        RetryRule(
            exception=ConnectionError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=1),
            reason="the registry is restarting",
        ),
    ]
)
# [END policy]


@dag(
    schedule=None,
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "retry_policy": POLICY},
    tags=["lecture"],
)
def l05_retries() -> None:
    @task
    def ask_registry() -> int:
        """Fails in its first try, as a service does that is being restarted."""
        number = get_current_context()["ti"].try_number
        if number == 1:
            raise ConnectionError("connection refused")
        return number

    @task
    def read_rows() -> None:
        raise ValueError("column 'late' holds a 2")

    @task
    def never_back() -> None:
        raise ConnectionError("connection refused")

    ask_registry()
    read_rows()
    never_back()


l05_retries()
