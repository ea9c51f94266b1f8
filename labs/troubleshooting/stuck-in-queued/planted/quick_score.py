"""
### A score that should take a second

**What runs.** One task, which needs a slot of the pool `lab_gpu`.

**How to start it.** By hand.

**When it fails.** It does not fail, it waits: look at Admin → Pools.
"""

from airflow.sdk import dag, task

from course_pipelines import DEFAULT_ARGS, Tag


@dag(
    dag_id="lab_quick_score",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=[Tag.TRAINING],
    doc_md=__doc__,
)
def quick_score():
    """One task in a pool."""

    @task(pool="lab_gpu")
    def score() -> float:
        """The share of late flights in 2013."""
        return 0.231

    score()


quick_score()
