"""Who may do what in the cluster, as rows that a test asks the cluster about.

``kubectl auth can-i VERB RESOURCE --namespace NAMESPACE --as system:serviceaccount:ACCOUNT`` must
answer as ``allowed`` says. Namespaces are without a prefix. An empty namespace asks about the
whole cluster.
"""

from typing import NamedTuple


class Right(NamedTuple):
    """One question about an account, ``NAMESPACE:NAME``, and its answer."""

    account: str
    verb: str
    resource: str
    namespace: str
    allowed: bool


SCHEDULER = "airflow:airflow-scheduler"
WORKER = "airflow:airflow-worker"
TRIGGERER = "airflow:airflow-triggerer"
API_SERVER = "airflow:airflow-api-server"
PROCESSOR = "airflow:airflow-dag-processor"
MIGRATE = "airflow:airflow-migrate"
STATSD = "airflow:airflow-statsd"
TRAINER = "ml-training:trainer"
SERVER = "ml-serving:model-server"
ACCOUNTS = (
    SCHEDULER,
    WORKER,
    TRIGGERER,
    API_SERVER,
    PROCESSOR,
    MIGRATE,
    STATSD,
    TRAINER,
    SERVER,
)
NAMESPACES = ("airflow", "ml-training", "ml-serving")

MANAGE = ("create", "delete", "get", "list", "patch", "watch")
GRANTED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    (SCHEDULER, "airflow"): {"pods": MANAGE},
    (API_SERVER, "airflow"): {"pods": ("list",), "pods/log": ("get",)},
    (WORKER, "ml-training"): {
        "pods": MANAGE,
        "pods/log": ("get",),
        "pods/exec": ("create", "get"),
        "events": ("list", "watch"),
        "jobs.batch": MANAGE,
        "jobs.batch/status": ("get",),
    },
    (TRIGGERER, "ml-training"): {
        "pods": ("delete", "get", "list", "watch"),
        "pods/log": ("get",),
        "pods/exec": ("create", "get"),
        "events": ("list", "watch"),
        "jobs.batch": ("get",),
        "jobs.batch/status": ("get",),
    },
}
# With the LocalExecutor tasks run in the scheduler.
GRANTED_LOCALLY = {(SCHEDULER, "ml-training"): GRANTED[WORKER, "ml-training"]}

# What is asked of every account in every namespace, beside what is granted.
_ASKED = {
    "pods": (*MANAGE, "deletecollection", "update"),
    "pods/log": ("get",),
    "pods/exec": ("create", "get"),
    "pods/attach": ("create",),
    "pods/portforward": ("create",),
    "events": ("create", "list"),
    "jobs.batch": ("create", "delete", "get", "list"),
    "secrets": ("get", "list", "create"),
    "configmaps": ("get", "list", "create", "update"),
    "serviceaccounts": ("list", "impersonate"),
    "serviceaccounts/token": ("create",),
    "services": ("create",),
    "deployments.apps": ("create", "get", "patch"),
    "resourcequotas": ("patch",),
    "networkpolicies.networking.k8s.io": ("delete",),
    "rolebindings.rbac.authorization.k8s.io": ("create",),
}
_OF_THE_CLUSTER = {
    "nodes": ("get", "list"),
    "namespaces": ("create", "delete", "list"),
    "persistentvolumes": ("create",),
    "clusterrolebindings.rbac.authorization.k8s.io": ("create",),
    "priorityclasses.scheduling.k8s.io": ("create",),
}


def rights(*, local: bool) -> list[Right]:
    """Every question, with the answer of the overlay ``local`` or of ``production``."""
    granted = {**GRANTED, **(GRANTED_LOCALLY if local else {})}
    rows = []
    for account in ACCOUNTS:
        for namespace in NAMESPACES:
            given = granted.get((account, namespace), {})
            for resource in {**_ASKED, **given}:
                verbs = {*_ASKED.get(resource, ()), *given.get(resource, ())}
                rows += [
                    Right(account, verb, resource, namespace, verb in given.get(resource, ()))
                    for verb in sorted(verbs)
                ]
        rows += [
            Right(account, verb, resource, "", False)
            for resource, verbs in _OF_THE_CLUSTER.items()
            for verb in verbs
        ]
    return rows
