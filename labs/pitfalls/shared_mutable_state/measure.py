"""What is left of four numbers that four processes count at the same time."""

from laboratory import Figures, Laboratory


def measure(lab: Laboratory, variant: str) -> Figures:
    """One run with Airflow's LocalExecutor, a process for each task."""
    run = lab.run_in_processes(f"pitfall_shared_mutable_state_{variant}")
    total = lab.xcom(run, "total")
    return {
        "state of the run": run.state,
        "months counted": lab.instances(run, "count", state="success"),
        "months in the module's list": total.get("in_list", "no list"),
        "months in the total": total["months"],
        "late flights in the total": total["late"],
    }
