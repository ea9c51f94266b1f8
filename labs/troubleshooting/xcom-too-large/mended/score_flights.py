"""
### Score every flight of a month

**What runs.** `score` writes one record for each flight and returns the path of the file,
`count_late` reads it.

**How to start it.** By hand, with the number of flights.

**When it fails.** The message names the file.
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
    """Two tasks, the data between them in a file, and its path in an XCom."""

    @task
    def score() -> str:
        """Path of a table with a record for each flight, written at once or not at all."""
        import pyarrow as pa

        from flightdelays.lake import file_name, open_lake

        context = get_current_context()
        number = context["params"]["flights"]
        records = [
            {
                "flight": f"2013-09-{1 + i % 30:02d} UA {i:06d} EWR-IAH",
                "probability": round(i * 0.618 % 1, 6),
                "scheduled_departure": f"2013-09-{1 + i % 30:02d}T{i % 24:02d}:00:00Z",
            }
            for i in range(number)
        ]
        lake = open_lake()
        path = lake.path("labs", "xcom-too-large", f"{file_name(context['run_id'])}.parquet")
        lake.write_table(path, pa.Table.from_pylist(records))
        return path

    @task
    def count_late(path: str) -> int:
        """Flights that are more likely late than not."""
        import pyarrow.compute as pc

        from flightdelays.lake import open_lake

        scores = open_lake().read_table(path)
        return pc.sum(pc.greater(scores["probability"], 0.5)).as_py()

    count_late(score())


score_flights()
