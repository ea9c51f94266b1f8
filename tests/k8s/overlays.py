"""The overlays, rendered once for all tests."""

from copy import deepcopy
from functools import lru_cache

import pytest

from course.cluster import manifests
from course.cluster.manifests import Object


@lru_cache(maxsize=len(manifests.OVERLAYS))
def _rendered(name: str) -> list[Object]:
    if missing := manifests.kubectl_missing():
        pytest.skip(missing)
    return manifests.render(name)


def overlay(name: str) -> list[Object]:
    """All objects of an overlay, to be changed at will; skips the test where kubectl is missing."""
    return deepcopy(_rendered(name))
