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
    place = home(tmp_path_factory)
    with pytest.MonkeyPatch.context() as patch:
        # What is proved here needs no cluster, and a person's own is none of its business.
        patch.setenv("KUBECONFIG", str(place / "no-kubeconfig"))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with Grader(place, sorted(modules)) as running:
            yield running


def home(factory: pytest.TempPathFactory) -> Path:
    """A folder that the test processes of one run share: what one has prepared, both have."""
    base = factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "grader"
