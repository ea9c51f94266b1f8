"""How long a DAG file takes to parse, beside a file that only imports ``airflow.sdk``."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / "dags").glob("*.py"))
EMPTY = "from airflow.sdk import dag\n\n\n@dag\ndef empty():\n    pass\n\n\nempty()\n"
ROUNDS = 20


def parse_in_child(path: Path) -> None:
    """Parse a file in a forked process, as the dag-processor does for each file."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            spec = importlib.util.spec_from_file_location("measured", path)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"{path} does not import"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dags") / "empty.py"
    path.write_text(EMPTY, "utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def _sdk() -> None:
    """What the dag-processor has loaded before it forks."""
    sys.path.insert(0, str(REPOSITORY / "plugins"))
    import airflow.sdk  # noqa: F401


def test_parse_of_an_empty_file(benchmark: Any, figure: Any, empty: Path) -> None:
    benchmark.pedantic(parse_in_child, args=(empty,), rounds=ROUNDS, warmup_rounds=1)
    figure("parse_empty", benchmark.stats.stats.data, "s", "-")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parse(benchmark: Any, figure: Any, path: Path) -> None:
    benchmark.pedantic(parse_in_child, args=(path,), rounds=ROUNDS, warmup_rounds=1)
    figure(f"parse_{path.stem}", benchmark.stats.stats.data, "s", "empty + 0.3")
