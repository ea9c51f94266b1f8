"""A path, a count and a metric go through XCom; the flights lie in the lake."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l04_paths() -> None:
    # [START paths]
    @task
    def extract() -> str:
        import pyarrow as pa

        from flightdelays.lake import open_lake

        lake = open_lake()
        path = lake.path("lectures", "delays.parquet")
        lake.write_table(path, pa.table({"arr_delay": [3, 22, -5, 41] * 25_000}))
        return path  # all that goes through XCom

    @task
    def late_share(path: str) -> float:
        from flightdelays.lake import open_lake

        delays = open_lake().read_table(path)["arr_delay"].to_pylist()
        return sum(delay > 15 for delay in delays) / len(delays)

    late_share(extract())
    # [END paths]


l04_paths()
