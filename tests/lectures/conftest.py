"""Runs the snippets of the lectures: small DAG files, in an Airflow database of the tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from course.grading.lesson import Lesson
from course.grading.loading import Source, load
from course.grading.report import Finding

REPOSITORY = Path(__file__).resolve().parents[2]
SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"


@pytest.fixture(scope="package", autouse=True)
def _no_compiled_modules() -> Iterator[None]:
    """Python takes a compiled module for that of a file of the same length and the same second.

    Some tests write one DAG file over another within a second; ``retries=3`` is as long as
    ``retries=4``, and the former would be run again.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(sys, "dont_write_bytecode", True)
    patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def database() -> None:
    """A migrated Airflow database."""
    subprocess.run(
        [Path(sys.executable).with_name("airflow"), "db", "migrate"],
        check=True,
        capture_output=True,
        env=os.environ,
    )


@pytest.fixture(scope="module")
def snippet(
    database: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Lesson]]:
    """``snippet("l05_mapping")`` opens lecture-notes/snippets/l05_mapping.py.

    What comes back runs its DAGs: ``.run(conf, dag_id=…, fail={"train[1]": 2}, fresh=True)``, see
    `course.grading.lesson`. Tasks write to a lake of this test module alone.
    """
    from flightdelays.settings import get_settings

    patch = pytest.MonkeyPatch()
    for name in ("LAKE", "SITE", "FEAST_REGISTRY", "FEAST_ONLINE", "INCOMING"):
        patch.setenv(f"FLIGHTDELAYS_{name}", "")  # so that the patch brings back what was there
    folder = tmp_path_factory.mktemp("snippet")

    def open_one(name: str) -> Lesson:
        source = Source(SNIPPETS / f"{name}.py", f"{name}.py")
        parse = load(source)
        assert not isinstance(parse, Finding), parse
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(source.path))
        assert not bag.import_errors, bag.import_errors
        return Lesson(source, parse, tuple(bag.dags), folder, folder / "data")

    yield open_one
    patch.undo()
    get_settings.cache_clear()


@pytest.fixture
def parsing(tmp_path: Path) -> Callable[[str], Any]:
    """What Airflow makes of the text of a DAG file: ``parsing(text)`` gives its DagBag."""

    def parse(text: str) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        path = tmp_path / "dag_file.py"
        path.write_text(text, "utf-8")
        return DagBag(str(path))

    return parse
