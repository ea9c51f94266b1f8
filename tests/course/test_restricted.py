"""The rules of Pod Security's level `restricted`, one broken at a time."""

from copy import deepcopy
from typing import Any

import pytest

from course.cluster.restricted import violations

NO_PRIVILEGES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "base", "securityContext": NO_PRIVILEGES},
        {"name": "sidecar", "securityContext": NO_PRIVILEGES | {"runAsUser": 1000}},
    ],
}


def test_a_good_pod_breaks_no_rule() -> None:
    assert list(violations(GOOD)) == []


def test_each_container_may_say_it_for_itself() -> None:
    contexts = [each["securityContext"] | GOOD["securityContext"] for each in GOOD["containers"]]
    containers = [{"name": "c", "securityContext": context} for context in contexts]
    assert list(violations({"containers": containers})) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runAsNonRoot": False}, "the container sidecar may run as root"),
        ({"runAsUser": 0}, "the container sidecar runs as root"),
        ({"seccompProfile": {"type": "Unconfined"}}, "may make every system call"),
        ({"allowPrivilegeEscalation": None}, "the container sidecar may become root"),
        ({"capabilities": None}, "keeps rights of root"),
        ({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, "keeps rights of root"),
    ],
)
def test_each_rule_is_found_broken(change: dict[str, Any], words: str) -> None:
    spec = deepcopy(GOOD)
    spec["containers"][1]["securityContext"] |= change
    (found,) = violations(spec)
    assert words in found


def test_an_init_container_is_a_container() -> None:
    spec = {**GOOD, "initContainers": [{"name": "init"}]}
    found = list(violations(spec))
    assert len(found) == 2
    assert all("init" in each for each in found)
