"""Queue a task as the scheduler does, and print the workload that it would hand to a pod.

``python queue_task.py DAG RUN``, in the environment of the stack; the run has a single task.
"""

import sys
from datetime import UTC, datetime

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.workloads import ExecuteTask
from airflow.jobs.job import Job
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import func, select


def main(dag_id: str, run_id: str) -> None:
    """Only the last line of the output is the workload."""
    with create_session() as session:
        chosen = select(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id)
        task = session.scalars(chosen).one()
        task.state = TaskInstanceState.QUEUED
        task.queued_dttm = datetime.now(UTC)
        # Else the scheduler takes it for an orphan and takes it back.
        schedulers = select(func.max(Job.id)).filter_by(job_type="SchedulerJob", state="running")
        task.queued_by_job_id = session.scalar(schedulers)
        session.flush()
        workload = ExecuteTask.make(task, generator=BaseExecutor().jwt_generator)
    print(workload.model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
