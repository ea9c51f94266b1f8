"""What exercise 4 asks for: the pod of a real run, looked at as a cluster would.

Airflow runs the learner's DAG, renders its templates and has the operator build its pod. Only what
a cluster does after that is done here: the fixture ``cluster`` takes the pod and gives its result.
Where a real cluster answers, the fixture ``platform`` asks it about the same pod.
"""

import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from course.cluster import restricted, target
from course.cluster.trial import PATIENCE, Trial, Trying, prepare
from course.grading import Failed, Lesson, Run, task

HEAVY = ("numpy", "pandas", "xgboost", "mlflow", "sklearn", "flightdelays.train")
KUBERNETES = "1.37"
GPU = "nvidia.com/gpu"
NAME = "flight-delays"
RESULT = "/airflow/xcom/return.json"
CONF: dict[str, Any] = {
    "image": "registry.example.com/train:2.0",
    "source": "s3://lake/runs/one/training_set.parquet",
    "train_from": "2013-02",
    "train_to": "2013-06",
    "validation": "2013-07",
    "model": "hist_gradient",
    "gpus": 2,
    "memory": "3Gi",
}
TOLD = "the DAG with model='hist_gradient', gpus=2, memory='3Gi'"
TRAINED = {
    "run_id": "0a1b2c",
    "model": "hist_gradient",
    "address": "models:/m-1",
    "rows": 131_072,
    "seconds": 12.5,
    "device": "cuda",
    "node": "gpu-1",
}
GPU_NODE = {"kubernetes.io/hostname": "gpu-1", "nvidia.com/gpu.present": "true"}
CPU_NODE = {"kubernetes.io/hostname": "cpu-1"}
TAINT = (GPU, "present")
SPOT = ("cloud.google.com/gke-spot", "true")
ENVIRONMENT = {
    "FLIGHTDELAYS_LAKE": "ConfigMap",
    "FLIGHTDELAYS_MLFLOW_TRACKING_URI": "ConfigMap",
    "AWS_ACCESS_KEY_ID": "Secret",
    "AWS_SECRET_ACCESS_KEY": "Secret",
}
"""What the ConfigMap and the Secret of the name `flight-delays` hold."""


class Cluster:
    """Takes the pods that the operator builds, and answers as a pod that ran would."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._pods: list[dict[str, Any]] = []
        self._taken_away = 0

    def execute(self, context: Any) -> dict[str, Any] | None:
        """In place of the operator's own: build the pod; its result comes through the sidecar."""
        from airflow.sdk.exceptions import AirflowException
        from kubernetes.client import ApiClient

        # The task of the context is the one whose templates were rendered.
        operator = context["ti"].task
        # A dry run asks no cluster what it is; the pod is the same.
        built = operator.build_pod_request_obj(context, dry_run=True)
        self._pods.append(ApiClient().sanitize_for_serialization(built))
        if len(self._pods) <= self._taken_away:
            raise AirflowException(f"Pod {built.metadata.name} failed: its node was taken away")
        return TRAINED if operator.do_xcom_push else None

    def run(self, taken_away: int = 0) -> tuple[Run, list[dict[str, Any]]]:
        """The run, and the pods that it asked for; the first of them lose their nodes."""
        self._pods, self._taken_away = [], taken_away
        told = TOLD + (", where the node of the first pod is taken away" if taken_away else "")
        return self._lesson.run(CONF, lake=f"taken{taken_away}", fresh=True, told=told), self._pods


class Platform:
    """The person's own cluster, if one answers: what it says of the learner's pod."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._image = ""
        self._api: Any = None
        self._told = ""
        self._trying: Trying | None = None
        self._trial: Trial | None = None

    def missing(self, why: str) -> NoReturn:
        """Skip the check; a reason that was told is not told again."""
        again, self._told = why == self._told, why
        pytest.skip("for the same reason" if again else why)

    def api(self) -> Any:
        """A client; the check is skipped if no cluster answers at once."""
        from kubernetes.client import ApiClient, CoreV1Api, VersionApi
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        if self._told.startswith("no cluster answers"):
            self.missing(self._told)
        try:
            client = ApiClient(target.settings())
            if self._api is None:
                VersionApi(client).get_code(_request_timeout=target.SECONDS)
        except ConfigException:
            self.missing("no cluster answers: none is configured")
        except HTTPError as error:
            self.missing(f"no cluster answers: {getattr(error, 'reason', None) or error}")
        self._api = CoreV1Api(client)
        return self._api

    def refusal(self, pod: dict[str, Any]) -> str:
        """Why the cluster would not take the pod, in its own words; "" if it would."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        namespace = pod["metadata"]["namespace"]
        try:
            self.api().create_namespaced_pod(
                namespace, pod, dry_run="All", _request_timeout=target.SECONDS
            )
        except HTTPError as error:
            self.missing(f"no cluster answers any longer ({error})")
        except ApiException as error:
            said = target.message(error)
            if error.status in {401, 404} or "cannot create resource" in said:
                self.missing(f"the cluster is not prepared for pods in {namespace}: {said}")
            return self.judged(said)
        return ""

    def judged(self, refusal: str) -> str:
        """The refusal, if the pod is to blame; skips if other pods have used up the quota."""
        if target.is_busy(refusal):
            self.missing(f"other pods use the quota at the moment: {refusal:.300}")
        return refusal

    def trial(self, pod: dict[str, Any], container: str) -> Trial:
        """What became of the pod in the cluster, where it runs once; see ``prepare``."""
        if self._trial is None:
            api = self.api()
            context, server = target.current()
            if not target.may_be_used(context, server):
                self.missing(
                    f"{server} is not a cluster on this machine: {target.CONTEXT}={context} "
                    "lets a pod run there"
                )
            if lacks := self._lacks(api, pod["metadata"]["namespace"]):
                self.missing(f"the cluster is not prepared: {lacks}")
            image = self._image or self._lesson.dag().params.get("image", "")
            ready = prepare(pod, container, image, "flightdelays.train", list(ENVIRONMENT), "ex04")
            self._trying = Trying(ready)
            self._trial = self._trying.result()
        if self._trial.outcome == "lost":
            self.missing(f"the cluster stopped answering: {self._trial.message}")
        return self._trial

    def _lacks(self, api: Any, namespace: str) -> str:
        """What is not there of what the platform team promises; "" if all is."""
        from kubernetes.client import ApiException

        kinds = {"ConfigMap": api.read_namespaced_config_map, "Secret": api.read_namespaced_secret}
        try:
            for kind, read in kinds.items():
                place = f"the {kind} {NAME} of the namespace {namespace}"
                there = read(NAME, namespace, _request_timeout=target.SECONDS).data or {}
                for name, its in ENVIRONMENT.items():
                    if its == kind and name not in there:
                        return f"{name} is not in {place}"
                if kind == "ConfigMap":
                    self._image = there.get("TRAINING_IMAGE", "")
            place = "its nodes"
            nodes = api.list_node(_request_timeout=target.SECONDS).items
        except ApiException as error:
            # Who may not look at nodes may well have some.
            if place == "its nodes":
                return ""
            return f"{place} cannot be read: {target.message(error)}"
        if not any(_is_for_gpus(node) for node in nodes):
            return "no node that takes pods has the label nvidia.com/gpu.present=true"
        return ""

    def close(self) -> None:
        """Return once nothing of the check is left in the cluster."""
        if self._trying:
            self._trying.close()


def _is_for_gpus(node: Any) -> bool:
    """Whether the pod that is asked for could go there."""
    kept = {each.key for each in node.spec.taints or [] if each.effect != "PreferNoSchedule"}
    labels = node.metadata.labels or {}
    return labels.get(f"{GPU}.present") == "true" and kept <= {TAINT[0], SPOT[0]}


class Training:
    """One run of the DAG, and its pod."""

    def __init__(self, lesson: Lesson, cluster: Cluster) -> None:
        self.run, self._pods = cluster.run()
        self._operators = {each.task_id: each for each in lesson.dag().tasks}

    def operator(self, expected: str) -> Any:
        """The operator of `train`; Failed, with what is expected of it, if it makes no pod."""
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

        self.run.of("train")
        operator = self._operators["train"]
        if not isinstance(operator, KubernetesPodOperator):
            raise Failed(
                ran=self.run.told,
                expected=expected,
                happened=f"`train` is not a pod yet, but a {operator.task_type}",
            )
        return operator

    def pod(self, expected: str) -> dict[str, Any]:
        """The pod as it goes to the cluster; Failed if there is none, or it is none."""
        import kubernetes_validate

        self.operator(expected)
        if not self._pods:
            instance = self.run.one("train")
            raise Failed(
                ran=self.run.told,
                expected=expected,
                happened=self.run.why(instance)
                + ("" if instance.errors else " before its pod was built: is each template right?"),
                where=self.run.where(instance),
            )
        try:
            kubernetes_validate.validate(self._pods[0], KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.path) or "it"
            raise self.wrong(
                expected, f"Kubernetes would refuse the pod: {place}: {error.message:.300}"
            ) from error
        return self._pods[0]

    def container(self, expected: str) -> dict[str, Any]:
        """The container that trains."""
        containers: list[dict[str, Any]] = self.pod(expected)["spec"]["containers"]
        name = self.operator(expected).base_container_name
        return next((each for each in containers if each["name"] == name), containers[0])

    def wrong(self, expected: str, happened: str) -> Failed:
        """What to raise about this run."""
        return Failed(ran=self.run.told, expected=expected, happened=happened)


@pytest.fixture(scope="session")
def cluster(lesson: Lesson) -> Iterator[Cluster]:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    made = Cluster(lesson)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubernetesPodOperator, "execute", lambda _, context: made.execute(context))
        yield made


@pytest.fixture(scope="session")
def training(lesson: Lesson, cluster: Cluster) -> Training:
    return Training(lesson, cluster)


@pytest.fixture(scope="session")
def platform(lesson: Lesson) -> Iterator[Platform]:
    made = Platform(lesson)
    yield made
    made.close()


@task(1)
def test_nothing_heavy_is_imported_while_the_file_is_parsed(lesson: Lesson) -> None:
    for imported in lesson.parse.imports:
        if any(imported.name == heavy or imported.name.startswith(f"{heavy}.") for heavy in HEAVY):
            raise Failed(
                ran="the import of the file, which Airflow repeats for every task and every parse",
                expected="that what only the pod needs is imported in the pod",
                happened=f"`{imported.name}` is imported at the top of the file",
                where=lesson.source.place(imported.line),
            )


@task(1)
def test_kubernetes_would_know_the_pod(training: Training) -> None:
    expected = "that `train` is a KubernetesPodOperator whose pod Kubernetes accepts"
    container = training.container(expected)
    wanted = ("ml-training", CONF["image"])
    got = (training.pod(expected)["metadata"]["namespace"], container.get("image"))
    if got != wanted:
        raise training.wrong(
            "a pod in the namespace {}, with the image {}".format(*wanted),
            "namespace {}, image {}".format(*got),
        )


@task(1)
def test_the_pod_cannot_become_root(training: Training) -> None:
    expected = "a pod that the namespace takes: its level of Pod Security is `restricted`"
    for violation in restricted.violations(training.pod(expected)["spec"]):
        raise training.wrong(expected, violation)


@task(1)
def test_the_pod_runs_the_training_command(training: Training) -> None:
    import typer

    from flightdelays import train

    expected = "the command `python -m flightdelays.train`, with the options that the run asks for"
    container = training.container(expected)
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if len(words) > 2 and words[0].split("/")[-1] in {"sh", "bash"} and words[1].endswith("c"):
        try:
            words = shlex.split(words[2])
        except ValueError as error:
            raise training.wrong(expected, f"a shell cannot read it: {error}") from error
    if words[1:3] != ["-m", "flightdelays.train"] or not words[0].startswith("python"):
        raise training.wrong(expected, f"the pod runs `{' '.join(words):.200}`")
    app = typer.Typer(add_completion=False)
    app.command()(train.main)
    try:
        options = typer.main.get_command(app).make_context("train", words[3:]).params
    # The parser raises its own errors and, after `--help`, an Exit.
    except Exception as error:
        said = error.format_message() if hasattr(error, "format_message") else "it only helps"
        raise training.wrong(expected, f"the command refuses its options: {said}") from error
    names = ("source", "train_from", "train_to", "validation", "model")
    wanted = {name: CONF[name] for name in names} | {"run": training.run.run_id}
    for name, value in (wanted | {"result": RESULT}).items():
        if str(options[name]) != value:
            option = f"--{name.replace('_', '-')}"
            raise training.wrong(f"{option}={value}", f"{option} is {options[name]}")


@task(2)
def test_gpus_are_limited_and_requested(training: Training) -> None:
    expected = f"a limit of 2 {GPU} (params.gpus), and no other request"
    limits, requests = _resources(training, expected)
    if str(limits.get(GPU)) != "2" or str(requests.get(GPU, "2")) != "2":
        raise training.wrong(
            expected, f"the limit is {limits.get(GPU)}, the request {requests.get(GPU)}"
        )


@task(2)
def test_memory_is_limited_and_requested(training: Training) -> None:
    expected = "a request and a limit of 3Gi of memory (params.memory), and a request for CPU"
    limits, requests = _resources(training, expected)
    # Kubernetes itself takes a limit for the request, if there is none.
    got = (limits.get("memory"), requests.get("memory", limits.get("memory")))
    cpu = requests.get("cpu", limits.get("cpu"))
    if got != ("3Gi", "3Gi") or not cpu:
        raise training.wrong(
            expected, f"memory: limit {got[0]}, request {got[1]}; CPU requested: {cpu}"
        )


@task(2)
def test_a_cluster_would_take_the_pod(training: Training, platform: Platform) -> None:
    """Its quotas, limits and policies; nothing is created."""
    expected = "that your cluster accepts the pod"
    if said := platform.refusal(training.pod(expected)):
        raise training.wrong(expected, f"the cluster refuses it: {said:.300}")


def _resources(training: Training, expected: str) -> tuple[dict[str, Any], dict[str, Any]]:
    resources = training.container(expected).get("resources") or {}
    return resources.get("limits") or {}, resources.get("requests") or {}


@task(3)
def test_the_taint_of_gpu_nodes_is_tolerated(training: Training) -> None:
    _tolerates(training, TAINT, "nodes with a GPU keep other pods away")


@task(3)
def test_the_taint_of_spot_nodes_is_tolerated(training: Training) -> None:
    _tolerates(training, SPOT, "cheap nodes are marked with it")


def _tolerates(training: Training, taint: tuple[str, str], why: str) -> None:
    key, value = taint
    words = f"{key}={value}:NoSchedule"
    expected = f"that the pod tolerates the taint {words}: {why}"
    for each in training.pod(expected)["spec"].get("tolerations") or []:
        operator = each.get("operator", "Equal")
        same = operator == "Exists" or each.get("value") == value
        if (
            each.get("key", key if operator == "Exists" else "") == key
            and same
            and each.get("effect", "NoSchedule") == "NoSchedule"
        ):
            return
    raise training.wrong(expected, f"it would never get onto a node with {words}")


@task(3)
def test_the_pod_goes_to_gpu_nodes_only(training: Training) -> None:
    label = "nvidia.com/gpu.present=true"
    expected = f"a pod that goes to nodes with the label {label}, and to no others"
    spec = training.pod(expected)["spec"]
    if not _goes(spec, GPU_NODE):
        raise training.wrong(expected, f"a node with {label} is not good enough for it")
    if _goes(spec, CPU_NODE):
        raise training.wrong(expected, "it may be put onto a node without that label")


@task(3)
def test_a_cluster_finds_a_node_for_the_pod(training: Training, platform: Platform) -> None:
    label = f"{GPU}.present"
    expected = f"that your cluster puts the pod onto a node with the label {label}=true"
    trial = _tried(training, platform, expected)
    if trial.outcome == "unscheduled":
        # How much is free there is not the file's fault.
        if "Insufficient" in trial.message:
            platform.missing(f"no node of the cluster has room for the pod: {trial.message:.300}")
        raise training.wrong(expected, f"the scheduler says: {trial.message:.300}")
    if trial.labels is not None and trial.labels.get(label) != "true":
        raise training.wrong(expected, f"it went to {trial.node}, which has no such label")


def _tried(training: Training, platform: Platform, expected: str) -> Trial:
    """What became of the pod in a cluster; Failed if it was not taken."""
    pod = training.pod(expected)
    trial = platform.trial(pod, training.container(expected)["name"])
    if trial.outcome == "refused":
        said = platform.judged(trial.message)
        raise training.wrong(expected, f"the cluster refuses it: {said:.300}")
    return trial


def _goes(spec: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a scheduler finds a node with these labels good enough."""
    selector = spec.get("nodeSelector") or {}
    rules = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = rules.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or []
    return all(labels.get(key) == value for key, value in selector.items()) and (
        not terms or any(all(_matches(rule, labels) for rule in _rules(term)) for term in terms)
    )


def _rules(term: dict[str, Any]) -> list[dict[str, Any]]:
    return term.get("matchExpressions") or []


def _matches(rule: dict[str, Any], labels: dict[str, str]) -> bool:
    there, value = rule["key"] in labels, labels.get(rule["key"])
    among = value in (rule.get("values") or [])
    return {
        "In": among,
        "NotIn": not among,
        "Exists": there,
        "DoesNotExist": not there,
    }.get(rule["operator"], False)


@task(4)
def test_no_secret_stands_in_the_pod(training: Training) -> None:
    expected = "that no credential and no address is written into the pod"
    for entry in training.container(expected).get("env") or []:
        if entry["name"] in ENVIRONMENT and entry.get("value") is not None:
            raise training.wrong(
                expected,
                f"{entry['name']} stands there in the clear, for all who may look at pods or the "
                "repository",
            )


@task(4)
def test_the_environment_comes_from_the_cluster(training: Training) -> None:
    expected = f"the environment of the ConfigMap and the Secret `{NAME}`"
    container = training.container(expected)
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if (source.get(key) or {}).get("name") == NAME and not source.get("prefix"):
                found |= {name: kind for name, its in ENVIRONMENT.items() if its == kind}
    for entry in container.get("env") or []:
        reference = entry.get("valueFrom") or {}
        for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            chosen = reference.get(key) or {}
            if chosen.get("name") == NAME and chosen.get("key") == entry["name"]:
                found[entry["name"]] = kind
    for name, kind in ENVIRONMENT.items():
        if found.get(name) != kind:
            raise training.wrong(
                expected, f"{name}, which is in the {kind}, does not reach the pod"
            )


@task(4)
def test_a_cluster_fills_in_the_environment(training: Training, platform: Platform) -> None:
    expected = "that the container starts in your cluster, and finds the four variables"
    trial = _tried(training, platform, expected)
    if trial.outcome == "unscheduled":
        platform.missing("the pod found no node in the cluster")
    if "Image" in trial.reason:
        platform.missing(
            f"the cluster has no image {trial.image} ({trial.reason}); k8s/README.md says how to "
            "build it and to bring it there"
        )
    if trial.outcome == "slow":
        platform.missing(f"the pod has not ended within {PATIENCE} s")
    if trial.outcome != "succeeded":
        raise training.wrong(expected, f"{trial.reason}: {trial.message:.300}")


@task(5)
def test_report_returns_what_the_pod_found(training: Training) -> None:
    training.run.one("report")
    training.pod("that `report` returns model, rows and device of the pod's result")
    _has_sidecar(training)
    wanted = {name: TRAINED[name] for name in ("model", "rows", "device")}
    got = training.run.returned("report")
    if not isinstance(got, dict) or {name: got.get(name) for name in wanted} != wanted:
        raise Failed(
            ran=training.run.told,
            expected=f"that `report` returns {wanted}, which the pod wrote to {RESULT}",
            happened=f"it returned {got!r:.200}",
            where="task report",
        )


def _has_sidecar(training: Training) -> None:
    expected = f"that what the pod writes to {RESULT} becomes the XCom of `train`"
    if len(training.pod(expected)["spec"]["containers"]) < 2:
        raise training.wrong(
            expected, "the pod has no sidecar that hands the file to Airflow: it is not pushed"
        )


@task(6)
def test_another_node_gets_another_pod(training: Training, cluster: Cluster) -> None:
    training.pod("that a pod whose node was taken away is tried again")
    run, pods = cluster.run(taken_away=1)
    train = run.one("train")
    if train.state != "success" or len(pods) < 2:
        raise Failed(
            ran=run.told,
            expected="a second try, with another pod, which succeeds",
            happened=f"{len(pods)} pod, and `train` ended as {train.state}",
        )
    names = [pod["metadata"]["name"] for pod in pods]
    if names[0] == names[1]:
        raise Failed(
            ran=run.told,
            expected="a second pod with a name of its own: the first may still be there",
            happened=f"both are called {names[0]}",
        )


@task(6)
def test_a_new_node_has_time_to_come_up(training: Training) -> None:
    expected = "at least 600 s for the pod to start: its node may have to be bought first"
    seconds = training.operator(expected).startup_timeout_seconds
    if not isinstance(seconds, int | float) or not 600 <= seconds <= 3600:
        raise training.wrong(
            expected + ", and not more than an hour", f"`startup_timeout_seconds` is {seconds!r}"
        )


@task(6)
def test_a_pod_that_hangs_is_ended(training: Training) -> None:
    expected = "that the task has an `execution_timeout` of at most two hours"
    timeout = training.operator(expected).execution_timeout
    if timeout is None or not timedelta(0) < timeout <= timedelta(hours=2):
        raise training.wrong(
            expected, f"it is {timeout}: a training that hangs keeps its GPUs, and they cost"
        )


@task(7)
def test_the_pod_has_labels(training: Training) -> None:
    wanted = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "train"}
    expected = "the labels " + " and ".join(f"{key}={value}" for key, value in wanted.items())
    labels = training.pod(expected)["metadata"].get("labels") or {}
    for key, value in wanted.items():
        if labels.get(key) != value:
            raise training.wrong(expected, f"{key} is {labels.get(key)}")


@task(7)
def test_its_log_is_shown_while_it_runs(training: Training) -> None:
    expected = "that the log of the pod appears in Airflow while it trains"
    operator = training.operator(expected)
    if not operator.get_logs:
        raise training.wrong(expected, "`get_logs` is off: when the pod is gone, so is its log")
    if operator.deferrable and operator.logging_interval is None:
        raise training.wrong(
            expected, "a deferrable task without `logging_interval` shows its log at the end only"
        )


@task(7)
def test_a_failed_pod_stays_and_a_good_one_goes(training: Training) -> None:
    expected = "that a pod that succeeded is deleted, and one that failed is kept"
    action = training.operator(expected).on_finish_action.value
    if action != "delete_succeeded_pod":
        raise training.wrong(expected, f"`on_finish_action` is {action}")
