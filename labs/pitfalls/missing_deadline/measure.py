"""What Airflow does about a run that is late, because no worker is free."""

import time

from laboratory import Figures, Laboratory

LATE_SECONDS = 2  # one more than the DAGs allow


def measure(lab: Laboratory, variant: str) -> Figures:
    """Let a run wait past its time; then let the scheduler and the triggerer do their work."""
    dag_id = f"pitfall_missing_deadline_{variant}"
    lab.unpause(dag_id)
    lab.trigger(dag_id)
    time.sleep(LATE_SECONDS)
    lab.scheduler(loops=2)
    late = lab.count_runs(dag_id, state="running")
    missed = lab.missed_deadlines(dag_id)
    lab.triggerer()
    return {
        "late runs": late,
        "missed deadlines that the scheduler found": missed,
        "alerts": sum(alert["title"] == f"Late: {dag_id}" for alert in lab.alerts()),
    }
