"""Dask's scheduler and workers as real pods, made with the rights that an Airflow worker has."""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client import models as k8s

from flightdelays import dask_objects, dask_pods
from flightdelays.errors import ServiceError

pytestmark = [pytest.mark.cluster, pytest.mark.long]

IMAGE = os.environ.get("TRAINING_IMAGE", "airflow-ml-course/training:3.3.2")
RUN = "manual__2013-10-01T00:00:00+00:00"
LEFT = 90  # seconds within which Kubernetes does what is waited for here
RIGHTS = [
    k8s.V1PolicyRule(
        api_groups=[""], resources=["pods"], verbs=["create", "get", "list", "watch", "delete"]
    ),
    k8s.V1PolicyRule(api_groups=[""], resources=["events"], verbs=["list"]),
    k8s.V1PolicyRule(api_groups=["batch"], resources=["jobs"], verbs=["create", "get", "delete"]),
]
# Reaches both workers, and lets them find each other, as XGBoost's workers must.
PROGRAM = """
import json, sys
import dask.array as da
from flightdelays import distributed
from xgboost import dask as dxgb
from xgboost.collective import Config

with distributed.cluster(2, sys.argv[1], 60) as client:
    hosts = client.run(lambda: __import__("socket").gethostname())
    rows = da.random.random((2000, 4), chunks=(500, 4))
    matrix = dxgb.DaskDMatrix(client, rows, (rows[:, 0] > 0.5).astype(int))
    host = distributed._host(client.scheduler_info()["address"])
    trained = dxgb.train(
        client, {"objective": "binary:logistic"}, matrix, 5, coll_cfg=Config(tracker_host_ip=host)
    )
    print(json.dumps({"hosts": hosts, "trees": trained["booster"].num_boosted_rounds()}))
"""


def until(look: Callable[[], Any]) -> Any:
    """What ``look`` returns as soon as it is not empty."""
    end = time.monotonic() + LEFT
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing after {LEFT} s")


@pytest.fixture(scope="module")
def admin() -> client.ApiClient:
    """The person of the current context."""
    return config.new_client_from_config()


@pytest.fixture(scope="module", autouse=True)
def priority(admin: client.ApiClient) -> Iterator[None]:
    """The priority class of training pods, if the cluster has none."""
    classes = client.SchedulingV1Api(admin)
    body = k8s.V1PriorityClass(metadata=k8s.V1ObjectMeta(name="ml-training"), value=1000)
    try:
        classes.create_priority_class(body)
    except client.ApiException as error:
        if error.status != 409:
            raise
        yield
    else:
        yield
        classes.delete_priority_class("ml-training")


@pytest.fixture
def core(admin: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(admin)


@pytest.fixture
def namespace(admin: client.ApiClient, core: client.CoreV1Api) -> Iterator[str]:
    """A namespace as that of the trainings, and an account that may do what Airflow's may."""
    made = core.create_namespace(
        k8s.V1Namespace(
            metadata=k8s.V1ObjectMeta(
                generate_name="test-dask-",
                labels={"pod-security.kubernetes.io/enforce": "restricted"},
            )
        )
    )
    name = made.metadata.name
    meta = k8s.V1ObjectMeta(name="flight-delays")
    core.create_namespaced_config_map(name, k8s.V1ConfigMap(metadata=meta))
    core.create_namespaced_secret(name, k8s.V1Secret(metadata=meta))
    for account in ("trainer", "airflow-worker"):
        core.create_namespaced_service_account(
            name, k8s.V1ServiceAccount(metadata=k8s.V1ObjectMeta(name=account))
        )
    rights = client.RbacAuthorizationV1Api(admin)
    rights.create_namespaced_role(
        name, k8s.V1Role(metadata=k8s.V1ObjectMeta(name="airflow"), rules=RIGHTS)
    )
    rights.create_namespaced_role_binding(
        name,
        k8s.V1RoleBinding(
            metadata=k8s.V1ObjectMeta(name="airflow"),
            role_ref=k8s.V1RoleRef(
                api_group="rbac.authorization.k8s.io", kind="Role", name="airflow"
            ),
            subjects=[
                k8s.RbacV1Subject(kind="ServiceAccount", name="airflow-worker", namespace=name)
            ],
        ),
    )
    yield name
    core.delete_namespace(name)


@pytest.fixture
def api(namespace: str) -> client.ApiClient:
    """The cluster as an Airflow worker meets it."""
    made = config.new_client_from_config()
    made.set_default_header("Impersonate-User", f"system:serviceaccount:{namespace}:airflow-worker")
    return made


def phases(core: client.CoreV1Api, namespace: str, role: str) -> dict[str, str]:
    """Phase of each pod of a role that is not being deleted."""
    listed = core.list_namespaced_pod(namespace, label_selector=f"{dask_objects.ROLE}={role}")
    return {
        pod.metadata.name: pod.status.phase
        for pod in listed.items
        if not pod.metadata.deletion_timestamp
    }


def in_a_pod(core: client.CoreV1Api, namespace: str, *arguments: str) -> str:
    """What a Python program prints as its last line, run in a pod of the training image."""
    pod = dask_objects.client()
    pod.metadata.name = "client"
    pod.spec.restart_policy = "Never"
    (container,) = pod.spec.containers
    container.image, container.resources = IMAGE, dask_objects.resources("100m", "1Gi")
    container.command = ["python", "-W", "ignore", "-c", *arguments]
    core.create_namespaced_pod(namespace, pod)

    def ended() -> str:
        phase = core.read_namespaced_pod("client", namespace).status.phase
        return phase if phase in {"Succeeded", "Failed"} else ""

    outcome = until(ended)
    # The client would take a log that looks like JSON apart.
    answer = core.read_namespaced_pod_log("client", namespace, _preload_content=False)
    said = answer.data.decode()
    assert outcome == "Succeeded", said
    core.delete_namespaced_pod("client", namespace)
    return str(said.splitlines()[-1])


def nothing_left(admin: client.ApiClient, namespace: str) -> bool:
    jobs = client.BatchV1Api(admin).list_namespaced_job(namespace).items
    return not jobs and not phases(client.CoreV1Api(admin), namespace, dask_objects.WORKER)


def test_two_workers_compute_come_back_and_go(
    admin: client.ApiClient, core: client.CoreV1Api, api: client.ApiClient, namespace: str
) -> None:
    address = dask_pods.start(api, namespace, IMAGE, RUN, 2, "1Gi")
    before = phases(core, namespace, "worker")
    assert set(before.values()) == {"Running"}

    told = json.loads(in_a_pod(core, namespace, PROGRAM, address))
    assert set(told["hosts"].values()) == set(before)  # a pod's host name is its own
    assert told["trees"] == 5

    lost = min(before)
    core.delete_namespaced_pod(lost, namespace)
    until(
        lambda: (
            (now := phases(core, namespace, "worker"))
            and lost not in now
            and list(now.values()) == ["Running", "Running"]
        )
    )

    dask_pods.stop(api, namespace, RUN)
    assert core.list_namespaced_pod(namespace).items == []
    assert nothing_left(admin, namespace)
    dask_pods.stop(api, namespace, RUN)  # once more, as a retry does


def test_a_second_try_starts_anew(
    core: client.CoreV1Api, api: client.ApiClient, namespace: str
) -> None:
    dask_pods.start(api, namespace, IMAGE, RUN, 1, "512Mi")
    before = phases(core, namespace, "worker")
    dask_pods.start(api, namespace, IMAGE, RUN, 1, "512Mi")
    after = phases(core, namespace, "worker")
    assert len(after) == 1
    assert set(after) & set(before) == set()
    dask_pods.stop(api, namespace, RUN)


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (2, r"1 of 2 pods of Dask's worker run in .*: .*exceeded quota: few, .*limited: pods=2"),
        (0, r"no room for the pod now: .*exceeded quota: few"),
    ],
)
def test_a_quota_that_is_too_small_is_named(
    admin: client.ApiClient,
    core: client.CoreV1Api,
    api: client.ApiClient,
    namespace: str,
    room: int,
    message: str,
) -> None:
    quota = k8s.V1ResourceQuota(
        metadata=k8s.V1ObjectMeta(name="few"), spec=k8s.V1ResourceQuotaSpec(hard={"pods": room})
    )
    core.create_namespaced_resource_quota(namespace, quota)
    until(lambda: core.read_namespaced_resource_quota("few", namespace).status.hard)
    with pytest.raises(ServiceError, match=message):
        dask_pods.start(api, namespace, IMAGE, RUN, 2, "512Mi", patience=10)
    assert nothing_left(admin, namespace)


def test_workers_that_no_node_can_hold_are_named(
    admin: client.ApiClient, api: client.ApiClient, namespace: str
) -> None:
    with pytest.raises(ServiceError, match=r"0 of 1 .*no node can take .*900Gi memory"):
        dask_pods.start(api, namespace, IMAGE, RUN, 1, "900Gi", patience=10)
    assert nothing_left(admin, namespace)


def test_an_image_that_is_not_there_is_named_at_once(
    admin: client.ApiClient, api: client.ApiClient, namespace: str
) -> None:
    begin = time.monotonic()
    with pytest.raises(ServiceError, match=r"image localhost:1/absent:1 .* cannot be had"):
        dask_pods.start(api, namespace, "localhost:1/absent:1", RUN, 1, "512Mi")
    assert time.monotonic() - begin < LEFT
    assert nothing_left(admin, namespace)
