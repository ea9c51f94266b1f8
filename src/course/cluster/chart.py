"""What the official chart makes of the local values, for a cluster that cannot fetch the chart.

It stands in for `helm template` in tests: the same names, commands, settings and accounts, read
from the same values, and nothing that the local values switch off.
"""

import configparser
import io
import json
from functools import reduce
from typing import Any

import yaml

from course.config import REPOSITORY

HOME = "/opt/airflow"
COMPONENTS = {
    "api-server": ("apiServer", "api-server"),
    "scheduler": ("scheduler", "scheduler"),
    "dag-processor": ("dagProcessor", "dag-processor"),
    "triggerer": ("triggerer", "triggerer"),
}
"""Name of each Deployment: its key in the values, and its command of Airflow."""

Object = dict[str, Any]


def values(*names: str) -> Object:
    """Files of k8s/helm, the later ones on top, as Helm joins them."""
    folder = REPOSITORY / "k8s" / "helm"
    loaded = [yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in names]
    return reduce(_merge, loaded)


def _merge(below: Object, above: Object) -> Object:
    """Maps are joined key by key; a list or a value of ``above`` replaces the other."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def objects(given: Object, namespace: str = "airflow") -> list[Object]:
    """The objects of a release named airflow; ``namespace`` is what its settings say of it."""
    return [
        _config(given, namespace),
        _migration(given),
        *(_deployment(given, name) for name in COMPONENTS),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata("airflow-api-server", "api-server"),
            "spec": {
                "selector": _labels("api-server"),
                "ports": [{"name": "api-server", "port": 8080, "targetPort": 8080}],
            },
        },
    ]


def _labels(component: str) -> dict[str, str]:
    return {"tier": "airflow", "component": component, "release": "airflow"}


def _metadata(name: str, component: str) -> Object:
    return {"name": name, "namespace": "airflow", "labels": _labels(component)}


def _config(given: Object, namespace: str) -> Object:
    """airflow.cfg and the cluster policy."""
    settings = configparser.RawConfigParser()
    settings.read_dict(given["config"])
    settings["core"]["executor"] = given["executor"]
    settings.setdefault("dag_processor", {})
    settings["dag_processor"]["dag_bundle_config_list"] = json.dumps(
        given["dagProcessor"]["dagBundleConfigList"]
    )
    settings.setdefault("kubernetes_executor", {})
    settings["kubernetes_executor"]["namespace"] = namespace
    image = given["images"]["airflow"]
    settings["kubernetes_executor"]["worker_container_repository"] = image["repository"]
    settings["kubernetes_executor"]["worker_container_tag"] = str(image["tag"])
    text = io.StringIO()
    settings.write(text)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata("airflow-config", "config"),
        "data": {
            "airflow.cfg": text.getvalue(),
            "airflow_local_settings.py": given["airflowLocalSettings"],
        },
    }


def _environment(given: Object) -> list[Object]:
    """The variables that the chart gives every container of Airflow."""
    secrets = {
        "AIRFLOW__CORE__FERNET_KEY": (given["fernetKeySecretName"], "fernet-key"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (given["data"]["metadataSecretName"], "connection"),
        "AIRFLOW__API__SECRET_KEY": (given["apiSecretKeySecretName"], "api-secret-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": (given["jwtSecretName"], "jwt-secret"),
    }
    from_secrets = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in secrets.items()
    ]
    return [
        {"name": "AIRFLOW_HOME", "value": HOME},
        *from_secrets,
        *given.get("env", []),
        *yaml.safe_load(given["extraEnv"]),
    ]


def _container(given: Object, name: str, own: Object) -> Object:
    image = given["images"]["airflow"]
    return {
        "name": name,
        "image": f"{image['repository']}:{image['tag']}",
        "imagePullPolicy": image["pullPolicy"],
        "env": _environment(given),
        "envFrom": yaml.safe_load(given["extraEnvFrom"]),
        "resources": own["resources"],
        "securityContext": given["securityContexts"]["containers"],
        "volumeMounts": [
            {"name": "logs", "mountPath": f"{HOME}/logs"},
            _file("airflow.cfg", f"{HOME}/airflow.cfg"),
            _file("airflow_local_settings.py", f"{HOME}/config/airflow_local_settings.py"),
            *given["volumeMounts"],
            *own.get("extraVolumeMounts", []),
        ],
    }


def _file(name: str, path: str) -> Object:
    return {"name": "config", "mountPath": path, "subPath": name, "readOnly": True}


def _pod(given: Object, component: str, own: Object, container: Object, **more: Any) -> Object:
    return {
        "metadata": {"labels": {**given["labels"], **_labels(component)}},
        "spec": {
            "serviceAccountName": own["serviceAccount"]["name"],
            "priorityClassName": own.get("priorityClassName", ""),
            "securityContext": given["securityContexts"]["pod"],
            "containers": [container],
            "volumes": [
                {"name": "config", "configMap": {"name": "airflow-config"}},
                {"name": "logs", "emptyDir": given["logs"]["emptyDirConfig"]},
                *given["volumes"],
                *own.get("extraVolumes", []),
            ],
            **more,
        },
    }


def _migration(given: Object) -> Object:
    own = given["migrateDatabaseJob"]
    container = {**_container(given, "run-airflow-migrations", own), "args": own["args"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata("airflow-run-airflow-migrations", "run-airflow-migrations"),
        "spec": {
            "backoffLimit": 6,
            "template": _pod(
                given, "run-airflow-migrations", own, container, restartPolicy="OnFailure"
            ),
        },
    }


def _deployment(given: Object, name: str) -> Object:
    key, command = COMPONENTS[name]
    own = given[key]
    wait = {
        **_container(given, "wait-for-airflow-migrations", own),
        "args": ["airflow", "db", "check-migrations", "--migration-wait-timeout=300"],
    }
    container = {
        **_container(given, name, own),
        "args": ["bash", "-c", f"exec airflow {command}"],
    }
    if name == "api-server":
        container["ports"] = [{"name": "api-server", "containerPort": 8080}]
        container["readinessProbe"] = {
            "httpGet": {"path": "/api/v2/version", "port": 8080},
            "timeoutSeconds": 20,
            "failureThreshold": 30,
        }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(f"airflow-{name}", name),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _labels(name)},
            "template": _pod(given, name, own, container, initContainers=[wait]),
        },
    }
