"""The runs that unpausing a DAG brings: those that are due, and those that start at once."""

from laboratory import Figures, Laboratory

LOOPS = 24  # a loop makes one run at most, and sixteen is Airflow's limit for a DAG


def measure(lab: Laboratory, variant: str) -> Figures:
    """Ask the timetable for every run that is due, then let the scheduler make what it may."""
    dag_id = f"pitfall_ignoring_catchup_{variant}"
    due = lab.runs_due(dag_id)
    lab.unpause(dag_id)
    lab.scheduler(loops=LOOPS)
    lab.pause(dag_id)
    return {
        "runs due on unpausing": len(due),
        "the first of them": f"{due[0]:%Y-%m-%d}",
        "runs at work at once": lab.count_runs(dag_id, state="running"),
    }
