"""Tasks that do nothing, or little, for measurements in a cluster."""

from airflow.sdk import Param, dag, task


@dag(schedule=None, catchup=False, params={"seconds": Param(0, type="integer")})
def k8s_probe():
    @task(executor="KubernetesExecutor")
    def in_a_pod() -> str:
        """Name of the pod that this task is."""
        import platform

        return platform.node()

    @task
    def beside_the_scheduler() -> str:
        """Name of the pod that the scheduler is."""
        import platform

        return platform.node()

    in_a_pod() >> beside_the_scheduler()


k8s_probe()
