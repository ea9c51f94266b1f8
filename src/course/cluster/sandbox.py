"""A platform of its own in the current cluster, for tests: namespaces that go away afterwards."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import yaml

from course.api import FINISHED, Airflow
from course.cluster import chart, manifests, secrets, target
from course.config import REPOSITORY
from course.errors import CourseError
from course.ports import any_free, is_free

PREFIX = "course-test-"
AIRFLOW, TRAINING, SERVING = (f"{PREFIX}{name}" for name in manifests.NAMESPACES)
PATIENCE = 300
IMAGES = {
    "airflow": "airflow-ml-course/airflow:3.3.2",
    "training": "airflow-ml-course/training:3.3.2",
}
PROBED = "airflow-ml-course/airflow:k8s-test"
"""The image of Airflow with the DAGs of tests/k8s/dags besides."""
DAGS = (
    "build_features",
    "train_delay_model",
    "train_on_gpu_pod",
    "distributed_training_on_pods",
    "k8s_probe",
)
"""What the tests start."""
T = TypeVar("T")


class Sandbox:
    """A running platform, with what a test needs to look at it and to break it."""

    prepared = 0.0
    """Seconds for the images, and to remove what was left behind."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.api = Airflow(self.url, "admin", "admin")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of a kubectl command that must not fail."""
        return kubectl(*arguments, stdin=stdin)

    @property
    def core(self) -> Any:
        """Kubernetes' own client of pods, events and the like."""
        from kubernetes.client import ApiClient, CoreV1Api

        return CoreV1Api(ApiClient(target.settings()))

    def pods(self, namespace: str = TRAINING, **labels: str) -> list[Any]:
        """The pods with these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self.core.list_namespaced_pod(namespace, label_selector=selector).items)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run of a DAG, which is woken up for it; returns its id."""
        self.api.pause(dag_id, False)
        return self.api.trigger(dag_id, conf)

    def finish(self, dag_id: str, run_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The run, once it has ended."""

        def ended() -> dict[str, Any] | None:
            found = self.api.run(dag_id, run_id)
            return found if found["state"] in FINISHED else None

        return wait(ended, f"{dag_id} {run_id}", patience)

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """A task instance."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        found: dict[str, Any] = self.api.request("GET", path)
        return found

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """The log of a try, as Airflow's page shows it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        answer = self.api.request("GET", path, params={"full_content": True})
        return "\n".join(
            json.dumps(line) if isinstance(line, dict) else str(line) for line in answer["content"]
        )

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        value = self.api.request("GET", f"{path}/xcomEntries/return_value")["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Output of a kubectl command; RuntimeError with its words if it fails."""
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def wait(find: Callable[[], T | None], what: str, patience: float = PATIENCE, step: float = 1) -> T:
    """Ask until there is an answer; TimeoutError naming ``what`` otherwise."""
    deadline = time.monotonic() + patience
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience:.0f} s")
        time.sleep(step)
    return found


def check() -> None:
    """CourseError unless a cluster answers that tests may use."""
    from kubernetes.config import ConfigException

    for program in ("kubectl", "docker"):
        if shutil.which(program) is None:
            raise CourseError(f"{program} is not there, and these tests need it.", "k8s/README.md")
    try:
        context, server = target.current()
    except ConfigException as error:
        raise CourseError(f"no cluster is configured: {error}.", "k8s/README.md") from error
    if not target.may_be_used(context, server):
        raise CourseError(
            f"{server} (context {context}) is not a cluster of this machine; tests create and "
            "delete namespaces.",
            f"kubectl config use-context kind-course; or, if you mean it: "
            f"{target.CONTEXT}={context}",
        )
    kubectl("get", "--raw", "/readyz")


def build() -> None:
    """Build the images, and bring them to the nodes where those have their own."""
    for stage, tag in IMAGES.items():
        _run("docker", "build", "--quiet", "--target", stage, "--tag", tag, str(REPOSITORY))
    probes = REPOSITORY / "tests" / "k8s"
    _run("docker", "build", "--quiet", "--tag", PROBED, str(probes))
    context, _ = target.current()
    if context.startswith("kind-"):
        for image in (IMAGES["training"], PROBED):
            _run("kind", "load", "docker-image", "--name", context.removeprefix("kind-"), image)


def _run(*command: str) -> None:
    # The builder that Compose uses, whose layers are there already if the stack was built.
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")


def everything() -> list[dict[str, Any]]:
    """The local overlay and Airflow, renamed, without what the cluster is too old for."""
    given = chart.values("values", "local")
    given["images"]["airflow"]["tag"] = PROBED.rpartition(":")[2]
    probes = {
        "name": "probes",
        "classpath": given["dagProcessor"]["dagBundleConfigList"][0]["classpath"],
    }
    given["dagProcessor"]["dagBundleConfigList"].append(
        probes | {"kwargs": {"path": "/opt/course/probes"}}
    )
    whole = [*manifests.render("local"), *chart.objects(given, AIRFLOW)]
    (settings,) = (
        item
        for item in whole
        if item["kind"] == "ConfigMap"
        and (item["metadata"]["name"], item["metadata"]["namespace"])
        == ("flight-delays", "airflow")
    )
    settings["data"]["AIRFLOW_VAR_TRAINING_NAMESPACE"] = TRAINING
    text = yaml.safe_dump(manifests.renamed(whole, PREFIX)).replace(IMAGES["airflow"], PROBED)
    version = json.loads(kubectl("version", "--output", "json"))["serverVersion"]
    server = (int(version["major"]), int("".join(filter(str.isdigit, version["minor"]))))
    kept, dropped = manifests.applicable(yaml.safe_load(text), server)
    for what in dropped:
        print(f"not applied, the cluster is too old: {what}")
    return kept


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """The platform, healthy; removed afterwards, and before it begins if one was left behind.

    With COURSE_KEEP_CLUSTER in the environment it stays, and the next one to ask finds it as it is.
    """
    check()
    kept = os.environ.get("COURSE_KEEP_CLUSTER")
    if kept and f"namespace/{AIRFLOW}" in kubectl("get", "namespaces", "--output=name").split():
        with forwarded(AIRFLOW, "service/airflow-api-server", 8080) as port:
            yield Sandbox(port)
        return
    begin = time.monotonic()
    build()
    _remove()
    prepared = time.monotonic() - begin
    objects = everything()
    classes = set(_classes())
    try:
        namespaces = [item for item in objects if item["kind"] == "Namespace"]
        kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(namespaces))
        made = secrets.generate(AIRFLOW, TRAINING, SERVING)
        from kubernetes.client import ApiClient, CoreV1Api

        secrets.create(CoreV1Api(ApiClient(target.settings())), made)
        kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
        for name in ("seed", "airflow-run-airflow-migrations"):
            kubectl(
                "--namespace",
                AIRFLOW,
                "wait",
                "--for=condition=complete",
                f"--timeout={PATIENCE}s",
                f"job/{name}",
            )
        for item in objects:
            if (
                item["kind"] in ("Deployment", "StatefulSet")
                and item["metadata"]["namespace"] == AIRFLOW
            ):
                where = f"{item['kind'].lower()}/{item['metadata']['name']}"
                kubectl(
                    "--namespace", AIRFLOW, "rollout", "status", f"--timeout={PATIENCE}s", where
                )
        with forwarded(AIRFLOW, "service/airflow-api-server", 8080) as port:
            running = Sandbox(port)
            running.prepared = prepared
            wait(lambda: _parsed(running), "the DAGs are parsed")
            yield running
    except (RuntimeError, TimeoutError):
        print(state())
        raise
    finally:
        if not kept:
            _remove()
            # These belong to no namespace; what was there before stays.
            new = sorted(set(_classes()) - classes)
            if new:
                kubectl("delete", *new)


def _parsed(running: Sandbox) -> bool:
    try:
        health = running.api.health()
    except httpx.TransportError:
        return False
    if health["scheduler"]["status"] != "healthy" or health["dag_processor"]["status"] != "healthy":
        return False
    return all(running.api.dag(name) is not None for name in DAGS)


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[int]:
    """A port of this machine behind which a service of the cluster answers.

    kubectl gives up when one connection breaks, so it is started again.
    """
    own, over = any_free(), threading.Event()
    command = ["kubectl", "--namespace", namespace, "port-forward", target, f"{own}:{port}"]

    def keep() -> None:
        while not over.is_set():
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                while process.poll() is None and not over.wait(0.2):
                    pass
                process.terminate()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        wait(lambda: not is_free(own), f"kubectl port-forward {target}", 30, 0.1)
        yield own
    finally:
        over.set()
        keeper.join()


def _remove() -> None:
    kubectl("delete", "namespaces", "--ignore-not-found", AIRFLOW, TRAINING, SERVING)


def _classes() -> list[str]:
    return kubectl("get", "priorityclasses", "--output", "name").split()


def state() -> str:
    """What runs, what happened, and the last words of each container, without secrets."""
    told = []
    for namespace in (AIRFLOW, TRAINING, SERVING):
        told.append(kubectl("--namespace", namespace, "get", "pods", "--output", "wide"))
        told.append(kubectl("--namespace", namespace, "get", "events", "--sort-by=.lastTimestamp"))
        for pod in json.loads(kubectl("--namespace", namespace, "get", "pods", "--output", "json"))[
            "items"
        ]:
            name = pod["metadata"]["name"]
            try:
                told.append(
                    f"--- {name}\n"
                    + kubectl(
                        "--namespace", namespace, "logs", name, "--all-containers", "--tail=40"
                    )
                )
            except RuntimeError as error:
                told.append(str(error))
    return "\n".join(told)
