"""A task that never starts, because its pool has no slots."""

from course.follow import wait_for
from course.labs.lab import Lab
from course.labs.scene import PATIENCE, Scene

DAG, TASK, POOL = "lab_quick_score", "score", "lab_gpu"


class StuckInQueued(Lab):
    """Somebody emptied a pool for a maintenance, and forgot it."""

    name = "stuck-in-queued"
    title = "a task never starts"
    dag_ids = (DAG,)

    def plant(self, scene: Scene) -> str:
        """A pool of no slots, and a run that needs one."""
        scene.airflow.ensure_pool(POOL, 0, "the GPU of the lab")
        scene.say(f"the pool {POOL} has no slots")
        scene.put_files()
        scene.await_dag(DAG)
        run_id = scene.run(DAG)
        wait_for(
            lambda: scene.task(DAG, run_id, TASK)["state"] == "scheduled" or None,
            seconds=PATIENCE,
            problem=f"The task {TASK} of {DAG} did not get as far as to wait for its pool.",
            fix="make status",
        )
        return (
            f"{scene.url}/dags/{DAG}/runs/{run_id}: the run is running, its only task is "
            "scheduled, and stays so. It has no log, for nothing has begun."
        )

    def mend(self, scene: Scene) -> None:
        """The pool goes after the task that needs it."""
        super().mend(scene)
        scene.delete_pool(POOL)
