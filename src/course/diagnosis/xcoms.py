"""XComs that are too large for the database in which they lie."""

from collections.abc import Iterator

from course import postgres
from course.api import Airflow
from course.config import Config
from course.finding import Finding
from course.state import State

MB = 2**20
LARGE = MB
"""Bytes of JSON from which an XCom counts as data, not as a message. Airflow sets no limit."""

# Asked of the database: the REST API tells the size of a value only by sending the value.
SIZES = """
    SELECT dag_id, task_id, key, count(*), max(octet_length(value::text))
    FROM xcom
    WHERE octet_length(value::text) > %s
    GROUP BY dag_id, task_id, key
    ORDER BY 5 DESC
"""


def check(config: Config, state: State, airflow: Airflow) -> Iterator[Finding]:
    """One finding for each key of each task that pushes too much."""
    connection = postgres.connect(state, "airflow")
    try:
        with connection.cursor() as cursor:
            cursor.execute(SIZES, (LARGE,))
            rows = cursor.fetchall()
    finally:
        connection.close()
    for dag_id, task_id, key, number, largest in rows:
        size = f"{largest / MB:.1f} MB"
        holds = size if number == 1 else f"up to {size}, {number} times"
        yield Finding(
            text=f"the XCom {key} of {dag_id}.{task_id} holds {holds} in the metadata database; "
            "the API server and each reader keep all of it in memory",
            fix=f"let {task_id} write a file and return its path, then run it again: "
            f'make airflow ARGS="tasks clear --yes {dag_id} --task-regex {task_id} --downstream"',
        )
