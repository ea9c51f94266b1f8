"""What a run of each DAG leaves in Airflow's database."""

from laboratory import Figures, Laboratory


def measure(lab: Laboratory, variant: str) -> Figures:
    """One run over January: bytes of its XComs, and the answer that they were for."""
    run = lab.run(f"pitfall_large_xcom_{variant}", month="2013-01")
    return {
        "state of the run": run.state,
        "bytes of XCom in the database": lab.xcom_bytes(run),
        "share of late flights": lab.xcom(run, "late_share"),
    }
