"""One real stack in containers for all tests of it that need more than a service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from course.config import REPOSITORY
from course.containers.sandbox import Sandbox, diagnostics, sandbox

# They share one stack: the pipelines find it empty and fill it, the faults come last.
ORDER = ("test_files", "test_ml_code", "test_stack", "test_pipelines", "test_watch", "test_faults")
KEPT = REPOSITORY / ".stack-diagnostics"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of this folder in their order; a file that has no place is an error."""
    here = Path(__file__).parent
    places = [number for number, item in enumerate(items) if here in item.path.parents]
    ordered = sorted((items[place] for place in places), key=lambda i: ORDER.index(i.path.stem))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A healthy stack with the DAGs of the repository and those of this folder.

    If a test fails, the logs of all containers are kept in .stack-diagnostics.
    """
    with sandbox("tests/stack/compose.yaml") as running:
        yield running
        if request.session.testsfailed:
            print("logs:", diagnostics(running, KEPT))
