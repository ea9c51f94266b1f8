"""One platform in the cluster for all tests that need more than manifests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from course.cluster.sandbox import Sandbox, sandbox, state
from course.config import REPOSITORY

# They share one platform: features and a model are there when the later ones want them. Those that
# use the exercise's own namespace come after it is gone.
ORDER = ("test_platform", "test_training", "test_trouble", "test_dask_pods", "test_serving")
KEPT = REPOSITORY / ".k8s-diagnostics"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that share the platform in their order, before the others of this folder."""
    here = Path(__file__).parent
    places = [number for number, item in enumerate(items) if here in item.path.parents]
    rank = {name: number for number, name in enumerate(ORDER)}
    ordered = sorted(
        (items[place] for place in places), key=lambda i: rank.get(i.path.stem, len(rank))
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A healthy platform in namespaces of its own.

    If a test fails, state and logs of all its pods are kept in .k8s-diagnostics.
    """
    with sandbox() as running:
        yield running
        if request.session.testsfailed:
            KEPT.mkdir(exist_ok=True)
            (KEPT / "state.txt").write_text(state(), "utf-8")
            print("state and logs:", KEPT)
