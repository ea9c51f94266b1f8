"""
### Delays of a month

**What runs.** Nothing worth a word: the DAG is here to be seen.

**How to start it.** By hand.

**When it fails.** It does not.
"""

from airflow.sdk import dag, task

from course_pipelines import DEFAULT_ARGS, Tag


@dag(
    dag_id="lab_monthly_delays",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=[Tag.MONITORING],
    doc_md=__doc__,
)
def monthly_delays():
    """One task."""

    @task
    def report() -> str:
        """A sentence."""
        return "This DAG shows up in the UI."

    report()


monthly_delays()
