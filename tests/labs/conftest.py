"""The figures of all pitfalls, measured once in one Airflow of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="package")
def persons_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lake and an Airflow home that the environment names, as a person's own would be."""
    root = tmp_path_factory.mktemp("persons_own")
    patch = pytest.MonkeyPatch()
    patch.setenv("FLIGHTDELAYS_LAKE", str(root / "lake"))
    patch.setenv("AIRFLOW_HOME", str(root / "airflow"))
    yield root
    patch.undo()


@pytest.fixture(scope="package")
def figures(persons_own: Path) -> Any:
    """By pitfall, by variant, by what it says."""
    from course import pitfalls

    return pitfalls.measure(pitfalls.names(), print)
