"""A task that returns data where a path would do."""

from course.api import FINISHED
from course.environment import ml_settings
from course.follow import wait_for
from course.labs.lab import Lab
from course.labs.scene import Scene
from flightdelays.lake import open_lake

DAG, TASK = "lab_score_flights", "score"
SLOW = 300
"""Seconds that the run may take on a slow machine; ten or so on a usual one."""


class XComTooLarge(Lab):
    """It works, and that is the trouble: it is slow, and it fills the metadata database."""

    name = "xcom-too-large"
    title = "a task returns too much for XCom"
    dag_ids = (DAG,)

    def plant(self, scene: Scene) -> str:
        """A run to its end, and how long it took to hand the data over."""
        scene.put_files()
        scene.await_dag(DAG)
        run_id = scene.run(DAG)
        run = wait_for(
            lambda: run if (run := scene.airflow.run(DAG, run_id))["state"] in FINISHED else None,
            seconds=SLOW,
            problem=f"The run {run_id} of {DAG} did not end.",
            fix=f"look at {scene.url}/dags/{DAG}/runs/{run_id}",
        )
        seconds = scene.task(DAG, run_id, TASK)["duration"]
        return (
            f"{scene.url}/dags/{DAG}/runs/{run_id}/tasks/{TASK}: the run is a {run['state']}, yet "
            f"{TASK}, which computes for a moment, took {seconds:.1f} s. Its XCom tab keeps the "
            "browser busy, and the metadata database has grown."
        )

    def mend(self, scene: Scene) -> None:
        """Also the files that a mended DAG has written."""
        super().mend(scene)
        open_lake(ml_settings(scene.config, scene.state)).remove_folder("labs", self.name)
