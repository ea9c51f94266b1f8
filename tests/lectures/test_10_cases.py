"""Lecture 10: what it says of DAG factories, and of what Airflow allows a file of many DAGs."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

NAMES = {"l10_factory_ewr_united", "l10_factory_jfk_delta", "l10_factory_lga_us_airways"}

IN_A_LOOP = """
from airflow.sdk import dag, task

for market in ("ewr", "jfk", "lga"):

    @dag(dag_id=f"in_a_loop_{market}", schedule=None)
    def one_market():
        @task
        def train():
            return market

        train()

    one_market()
"""


def test_each_dag_of_the_factory_has_its_own_carriers_and_its_own_time(snippet: Any) -> None:
    lesson = snippet("l10_factory")
    for dag_id, carriers in (
        ("l10_factory_ewr_united", "UA"),
        ("l10_factory_jfk_delta", "DL, 9E"),
    ):
        run = lesson.run(dag_id=dag_id)
        assert run.one("train").returned == f"a model for {carriers}"
    times = {lesson.dag(dag_id).timetable.expression for dag_id in NAMES}
    assert len(times) == len(NAMES)
    assert {time.split()[1] for time in times} <= {"4", "5", "6", "7"}


def test_a_task_makes_the_dag_that_it_belongs_to_and_no_other(
    snippet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.definitions.context import _AIRFLOW_PARSING_CONTEXT_DAG_ID

    file = str(snippet("l10_factory").source.path)
    assert set(DagBag(file).dags) == NAMES
    # Set as the process of a task sets it; Airflow's own way never takes it back.
    monkeypatch.setenv(_AIRFLOW_PARSING_CONTEXT_DAG_ID, "l10_factory_jfk_delta")
    assert set(DagBag(file).dags) == {"l10_factory_jfk_delta"}


def test_in_a_bare_loop_every_task_sees_the_last_entry(parsing: Callable[[str], Any]) -> None:
    dags = parsing(IN_A_LOOP).dags
    assert len(dags) == 3
    trained = {dag.get_task("train").python_callable() for dag in dags.values()}
    assert trained == {"lga"}


def test_hash_is_another_number_in_each_process_and_crc32_is_not() -> None:
    def of(expression: str) -> set[str]:
        program = f"from zlib import crc32; print({expression})"
        return {
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"PYTHONHASHSEED": seed},
            ).stdout
            for seed in ("1", "2")
        }

    assert len(of("hash('market_ewr_united')")) == 2
    assert len(of("crc32(b'market_ewr_united')")) == 1


@pytest.mark.parametrize(
    ("section", "key", "default"),
    [
        ("dag_processor", "dag_file_processor_timeout", 50),
        ("dag_processor", "parsing_processes", 2),
        ("dag_processor", "min_file_process_interval", 30),
    ],
)
def test_what_airflow_allows_a_file_unless_told_otherwise(
    section: str, key: str, default: int
) -> None:
    from airflow.configuration import conf

    assert int(conf.get_default_value(section, key)) == default
