"""
### The latest delays

**What runs.** Nothing worth a word: the DAG should be seen, and is not.

**How to start it.** By hand.

**When it fails.** It does not.
"""

from airflow.sdk import dag, task

from course_pipelines import DEFAULT_ARGS, Tag


@dag(
    dag_id="lab_latest_delays",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=[Tag.MONITORING],
    doc_md=__doc__,
)
def latest_delays():
    """One task."""

    @task
    def report() -> str:
        """A sentence."""
        return "This DAG now shows up in the UI."

    report()


latest_delays()
