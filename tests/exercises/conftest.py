"""One warm grader for each test process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from course.grading.catalogue import catalogue
from course.grading.grader import Grader


@pytest.fixture(scope="session")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grader]:
    """Has imported what any exercise needs; its data and database are its own."""
    modules = {name for exercise in catalogue() for name in exercise.warm}
    with Grader(home(tmp_path_factory), sorted(modules)) as running:
        yield running


def home(factory: pytest.TempPathFactory) -> Path:
    """A folder that the test processes of one run share: what one has prepared, both have."""
    base = factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "grader"
