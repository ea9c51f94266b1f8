"""The Secrets that the local overlay of ``k8s/`` refers to, with generated values.

They go from this process to the cluster: nothing is written to a file or printed. In production
they come from where a company keeps its secrets, under the same names and keys.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet

from course.cluster import target
from course.errors import CourseError

NAMESPACES = ("airflow", "ml-training", "ml-serving")
DATABASES = ("airflow", "mlflow", "feast", "optuna")
Secrets = dict[tuple[str, str], dict[str, str]]
"""Entries by namespace and name."""


def generate(airflow: str, training: str, serving: str) -> Secrets:
    """All of them, for namespaces of these names; each call has other values."""
    databases = {name: _token() for name in DATABASES}
    redis, lake, artifacts = _token(), _token(), _token()
    at = f"{airflow}.svc.cluster.local"

    def address(name: str, driver: str = "postgresql+psycopg2") -> str:
        return f"{driver}://{name}:{databases[name]}@postgres.{at}:5432/{name}"

    keys = {"AWS_ACCESS_KEY_ID": "pipelines", "AWS_SECRET_ACCESS_KEY": lake}
    pipelines = keys | {
        "FEAST_REGISTRY": address("feast"),
        "FEAST_REDIS": f"redis.{at}:6379,db=1,password={redis}",
        "FLIGHTDELAYS_OPTUNA_STORAGE": address("optuna"),
    }
    mlflow = {
        "MLFLOW_BACKEND_STORE_URI": address("mlflow"),
        "AWS_ACCESS_KEY_ID": "mlflow",
        "AWS_SECRET_ACCESS_KEY": artifacts,
    }
    return {
        (airflow, "postgres"): {
            "password": _token(),
            "databases.env": "".join(f"{name}={value}\n" for name, value in databases.items()),
        },
        (airflow, "redis"): {"redis.conf": f"requirepass {redis}\ndir /data\n"},
        (airflow, "s3"): {"s3.json": json.dumps(_identities(lake, artifacts))},
        (airflow, "mlflow"): mlflow,
        (airflow, "airflow-metadata"): {"connection": address("airflow", "postgresql")},
        (airflow, "airflow-api-secret-key"): {"api-secret-key": _token()},
        # Airflow asks for at least 64 bytes to sign HS512 tokens.
        (airflow, "airflow-jwt-secret"): {"jwt-secret": secrets.token_hex(48)},
        (airflow, "airflow-fernet-key"): {"fernet-key": Fernet.generate_key().decode()},
        (airflow, "flight-delays"): pipelines,
        (training, "flight-delays"): keys,
        (serving, "flight-delays"): keys,
    }


def _identities(lake: str, artifacts: str) -> dict[str, Any]:
    """Who may do what in the object store, in the form that SeaweedFS reads."""

    def identity(name: str, secret: str, actions: list[str]) -> dict[str, Any]:
        credentials = [{"accessKey": name, "secretKey": secret}]
        return {"name": name, "credentials": credentials, "actions": actions}

    return {
        "identities": [
            identity("pipelines", lake, ["Admin:lake", "Admin:logs", "Admin:mlflow"]),
            identity("mlflow", artifacts, ["Read:mlflow", "Write:mlflow", "List:mlflow"]),
        ]
    }


def _token() -> str:
    # Letters and digits alone: it becomes part of addresses and of configuration files.
    return secrets.token_hex(20)


def create_all() -> list[str]:
    """Create them in the cluster of the current context; returns their names, none if all exist.

    CourseError if no cluster answers, if it is not a local one that may be used, if a namespace is
    missing, or if only some of the Secrets are there: new ones would not fit to those.
    """
    from kubernetes.client import ApiClient, ApiException, CoreV1Api
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        settings = target.settings()
        _check_local(target.context(), str(settings.host))
        return create(CoreV1Api(ApiClient(settings)), generate(*NAMESPACES))
    except (ConfigException, HTTPError) as error:
        raise CourseError(
            f"No Kubernetes cluster answers ({getattr(error, 'reason', None) or error}).",
            "make one: k8s/README.md; kubectl cluster-info shows which one is meant",
        ) from error
    except ApiException as error:
        raise CourseError(
            f"The cluster refuses: {target.message(error)}.",
            "kubectl apply --kustomize k8s/overlays/local makes the namespaces first",
        ) from error


def _check_local(context: str, server: str) -> None:
    if not target.may_be_used(context, server):
        raise CourseError(
            f"{server} (context {context}) is not a cluster of this machine.",
            f"kubectl config use-context kind-course; or, if you mean it: "
            f"{target.CONTEXT}={context} make k8s-secrets",
        )


def create(api: Any, wanted: Mapping[tuple[str, str], Mapping[str, str]]) -> list[str]:
    """Create Secrets unless all of them are there; returns the names of the new ones."""
    from kubernetes.client import models as k8s

    there = {
        (namespace, secret.metadata.name)
        for namespace in {namespace for namespace, _ in wanted}
        for secret in api.list_namespaced_secret(namespace, _request_timeout=target.SECONDS).items
    }
    present = sorted(set(wanted) & there)
    if present and len(present) < len(wanted):
        names = ", ".join(f"{namespace}/{name}" for namespace, name in present)
        raise CourseError(
            f"Some of the Secrets are there ({names}) and others are not; new ones would not fit.",
            f"with nothing to lose: kubectl delete namespaces {' '.join(NAMESPACES)}, and begin "
            "again",
        )
    if present:
        return []
    for (namespace, name), values in wanted.items():
        body = k8s.V1Secret(
            metadata=k8s.V1ObjectMeta(
                name=name, labels={"app.kubernetes.io/part-of": "airflow-ml-course"}
            ),
            string_data=dict(values),
        )
        api.create_namespaced_secret(namespace, body, _request_timeout=target.SECONDS)
    return [f"{namespace}/{name}" for namespace, name in wanted]
