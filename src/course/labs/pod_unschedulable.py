"""A pod that asks for more GPUs than any node has."""

from course.diagnosis.pods import ask_cluster
from course.errors import CourseError
from course.follow import wait_for
from course.labs.lab import Lab
from course.labs.scene import PATIENCE, Scene

DAG, TASK = "lab_greedy_pod", "train"


class PodUnschedulable(Lab):
    """It needs a real cluster: nobody but its scheduler can say what it says."""

    name = "pod-unschedulable"
    title = "a pod cannot be scheduled (needs a Kubernetes cluster)"
    dag_ids = (DAG,)

    def plant(self, scene: Scene) -> str:
        """A run, and the words of the cluster's scheduler."""
        answer = ask_cluster(scene.config, scene.state)
        if "problem" in answer:
            raise CourseError(
                f"This lab needs a Kubernetes cluster, and none answers: {answer['problem']}",
                "kind create cluster --name course, or name yours in KUBECONFIG; then make stop "
                "start, so that the stack knows it",
            )
        scene.put_files()
        scene.await_dag(DAG)
        run_id = scene.run(DAG)
        pod = wait_for(
            lambda: self._waiting(scene),
            seconds=PATIENCE,
            problem=f"No pod of {DAG} waits in the cluster.",
            fix=f"look at the log of {scene.url}/dags/{DAG}/runs/{run_id}/tasks/{TASK}",
        )
        return (
            f"{scene.url}/dags/{DAG}/runs/{run_id}/tasks/{TASK}: the task is deferred, and stays "
            f"so. kubectl --namespace {pod['namespace']} get pods shows {pod['name']} as Pending."
        )

    def _waiting(self, scene: Scene) -> dict[str, str] | None:
        """The pod of this lab, once the cluster has said why it waits."""
        pods = ask_cluster(scene.config, scene.state).get("waiting", [])
        return next((pod for pod in pods if pod["task"] == f"{DAG}.{TASK}"), None)

    def mend(self, scene: Scene) -> None:
        """Airflow removes the pod of a run that is marked failed; wait until it is gone."""
        super().mend(scene)
        wait_for(
            lambda: True if self._waiting(scene) is None else None,
            seconds=PATIENCE,
            problem=f"The pod of {DAG} is still there.",
            fix=f"kubectl delete pods --all-namespaces --selector dag_id={DAG}",
        )
