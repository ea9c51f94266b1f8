"""
### Score every flight of a month

**What runs.** `score` returns one record for each flight, `count_late` counts the late ones.

**How to start it.** By hand, with the number of flights.

**When it fails.** It does not fail: it is slow, and the metadata database grows.
"""

from airflow.sdk import Param, dag, get_current_context, task

from course_pipelines import DEFAULT_ARGS, Tag


@dag(
    dag_id="lab_score_flights",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    params={"flights": Param(100_000, type="integer", minimum=1, description="records to return")},
    tags=[Tag.TRAINING],
    doc_md=__doc__,
)
def score_flights():
    """Two tasks, and the data between them in an XCom."""

    @task
    def score() -> list[dict[str, float | str]]:
        """A record for each flight, made up: what counts here is how many there are."""
        number = get_current_context()["params"]["flights"]
        return [
            {
                "flight": f"2013-09-{1 + i % 30:02d} UA {i:06d} EWR-IAH",
                "probability": round(i * 0.618 % 1, 6),
                "scheduled_departure": f"2013-09-{1 + i % 30:02d}T{i % 24:02d}:00:00Z",
            }
            for i in range(number)
        ]

    @task
    def count_late(scores: list[dict[str, float | str]]) -> int:
        """Flights that are more likely late than not."""
        return sum(float(record["probability"]) > 0.5 for record in scores)

    count_late(score())


score_flights()
