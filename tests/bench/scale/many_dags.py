"""Generated DAG files: many small DAGs that are switched on and never due while one looks."""

from pathlib import Path

TASKS = 3
FILE = """from datetime import datetime

from airflow.sdk import DAG, task

for number in range({begin}, {end}):
    with DAG(
        f"generated_{{number:05d}}",
        schedule="@yearly",
        start_date=datetime({year}, 1, 1),
        catchup=False,
        tags=["generated"],
    ):

        @task
        def extract() -> int:
            return 1

        @task
        def transform(value: int) -> int:
            return value + 1

        @task
        def load(value: int) -> None:
            print(value)

        load(transform(extract()))
"""


def write(folder: Path, dags: int, per_file: int, year: int = 2100) -> int:
    """Write files of ``per_file`` DAGs each, of which the last may hold fewer; how many files.

    One text for every layout, so that a DAG costs the same to execute wherever it lies.
    """
    folder.mkdir(parents=True)
    begins = range(0, dags, per_file)
    for begin in begins:
        text = FILE.format(begin=begin, end=min(begin + per_file, dags), year=year)
        (folder / f"file_{begin:05d}.py").write_text(text, "utf-8")
    return len(begins)
