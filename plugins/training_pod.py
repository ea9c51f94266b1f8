"""A task that is a pod, and says in words what is wrong with it."""

import time
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import ApiException
from kubernetes.client import models as k8s

from flightdelays import pod_trouble, pods
from flightdelays.pod_trouble import Kind, PodError
from pod_retries import MEMORY

# Seconds that a worker watches a new pod before it hands it to the triggerer. Most pods run by
# then; of one that does not, the log has the reason.
WATCHED = 20
NEVER_RAN = {Kind.UNSCHEDULABLE, Kind.IMAGE, Kind.CONFIGURATION}


class TrainingPod(KubernetesPodOperator):
    """KubernetesPodOperator whose log and whose failure say what the cluster means.

    A pod that waits is explained while it waits: unschedulable, no image, nothing to be configured
    by. One that fails raises PodError. One that never ran is removed, or it would begin, with
    nobody to watch it, as soon as a node is free. After a lack of memory the next try has more, if
    the retry policy is PodRetries.
    """

    def execute(self, context: Any) -> Any:
        """Run the pod, with the memory that the last try wanted."""
        memory = context["task_state_store"].get(MEMORY)
        if memory:
            self.container_resources = with_memory(self.container_resources, memory)
            self.log.info("This try has %s of memory: the one before ran out of it.", memory)
        try:
            return super().execute(context)
        except PodError:
            raise
        except Exception as error:
            if self.pod is None:
                pods.raise_refusal(error)
            else:
                self._explain(error, self.pod.metadata.name, self.pod.metadata.namespace)
            raise

    def invoke_defer_method(self, last_log_time: Any = None, context: Any = None) -> None:
        """Hand the pod to the triggerer; a new one is watched for a moment first."""
        if last_log_time is None and self.pod is not None:
            self._watch_start(self.pod.metadata.name, self.pod.metadata.namespace)
        super().invoke_defer_method(last_log_time=last_log_time, context=context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on with a pod that the triggerer has watched."""
        try:
            return super().trigger_reentry(context, event)
        except Exception as error:
            self._explain(error, event["name"], event["namespace"])
            raise

    def _watch_start(self, name: str, namespace: str) -> None:
        """Wait until the pod runs, or a few seconds; log what keeps it from that, once.

        PodError if in all this time what configures it is missing: Kubernetes would wait for ever.
        """
        trouble, told, begin = None, None, time.monotonic()
        while time.monotonic() - begin < WATCHED:
            pod = self.hook.get_pod(name, namespace)
            if pod.status.phase != "Pending":
                return
            trouble = pod_trouble.of(pod)
            if trouble and trouble.kind is not told:
                self.log.warning("The pod waits: %s", trouble)
                told = trouble.kind
            time.sleep(1)
        if trouble and trouble.kind is Kind.CONFIGURATION:
            self.client.delete_namespaced_pod(name, namespace)
            raise PodError(trouble)

    def _explain(self, error: Exception, name: str, namespace: str) -> None:
        """Raise PodError if the cluster knows a reason; else return."""
        try:
            trouble = pod_trouble.read(self.client, name, namespace)
            if trouble and trouble.kind in NEVER_RAN:
                self.client.delete_namespaced_pod(name, namespace)
        except ApiException as asking:
            self.log.warning("The cluster does not say more of %s: %s", name, asking.reason)
            return
        if trouble:
            raise PodError(trouble) from error


def with_memory(resources: k8s.V1ResourceRequirements, memory: str) -> k8s.V1ResourceRequirements:
    """The same resources with another request and limit of memory."""
    return k8s.V1ResourceRequirements(
        requests={**(resources.requests or {}), "memory": memory},
        limits={**(resources.limits or {}), "memory": memory},
    )
