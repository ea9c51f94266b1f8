"""A DAG file that Airflow does not even open."""

from course.labs.lab import Lab
from course.labs.scene import Scene

SEEN, UNSEEN = "lab_monthly_delays", "lab_latest_delays"


class DagNotInUi(Lab):
    """Two files side by side; a line of ``.airflowignore`` for tests hides one: la-test."""

    name = "dag-not-in-ui"
    title = "a DAG does not show up in the UI"
    dag_ids = (SEEN, UNSEEN)

    def plant(self, scene: Scene) -> str:
        """The neighbour is there: so Airflow has read the folder, and left the other out."""
        scene.put_files()
        scene.await_dag(SEEN)
        scene.await_absence(UNSEEN)
        return (
            f"{scene.url}/dags lists {SEEN}. Its neighbour in the same folder, latest_delays.py, "
            f"defines {UNSEEN}, which is not there; no import error is shown either."
        )
