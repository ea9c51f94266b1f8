"""The Secrets of the local cluster, and which cluster tests may use."""

from types import SimpleNamespace
from typing import Any

import pytest

from course.cluster import manifests, sandbox, secrets, target
from course.errors import CourseError

SPACES = manifests.NAMESPACES


class Api:
    """As much of a cluster as holds Secrets."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], dict[str, str]] = {}

    def list_namespaced_secret(self, namespace: str, **_: Any) -> Any:
        names = [name for space, name in self.made if space == namespace]
        metadata = [SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in names]
        return SimpleNamespace(items=metadata)

    def create_namespaced_secret(self, namespace: str, body: Any, **_: Any) -> None:
        self.made[namespace, body.metadata.name] = body.string_data


def test_they_are_those_that_the_manifests_refer_to() -> None:
    made = secrets.generate(*SPACES)
    by_space = {space: {name for where, name in made if where == space} for space in SPACES}
    for space, names in manifests.SECRETS.items():
        assert names <= by_space[space]


def test_no_value_is_there_twice_by_chance() -> None:
    one, other = secrets.generate(*SPACES), secrets.generate(*SPACES)
    assert one.keys() == other.keys()
    assert all(one[key] != other[key] for key in one)


def test_an_address_has_the_password_that_its_service_knows() -> None:
    made = secrets.generate(*SPACES)
    lines = made["airflow", "postgres"]["databases.env"].splitlines()
    passwords = dict(line.split("=") for line in lines)
    assert (
        f":{passwords['airflow']}@postgres.airflow.svc.cluster.local:5432/airflow"
        in (made["airflow", "airflow-metadata"]["connection"])
    )
    assert passwords["mlflow"] in made["airflow", "mlflow"]["MLFLOW_BACKEND_STORE_URI"]


def test_a_second_time_changes_nothing_and_half_of_them_is_refused() -> None:
    api = Api()
    assert len(secrets.create(api, secrets.generate(*SPACES))) == len(api.made)
    before = dict(api.made)
    assert secrets.create(api, secrets.generate(*SPACES)) == []
    assert api.made == before
    del api.made["airflow", "postgres"]
    with pytest.raises(CourseError, match="and others are not; new ones would not fit"):
        secrets.create(api, secrets.generate(*SPACES))


def test_a_cluster_that_is_not_local_is_refused_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target, "current", lambda: ("production", "https://k8s.example.com"))
    monkeypatch.setattr(sandbox.shutil, "which", lambda program: program)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(sandbox, "kubectl", lambda *words: asked.append(words))
    monkeypatch.delenv(target.CONTEXT, raising=False)
    with pytest.raises(CourseError, match="is not a cluster of this machine"):
        sandbox.check()
    assert asked == []
    monkeypatch.setenv(target.CONTEXT, "production")
    sandbox.check()
    assert asked == [("get", "--raw", "/readyz")]
