"""What a task costs, and what it runs on."""

from dataclasses import dataclass

CRITICAL_SHARE = 0.5
"""Critical section in the scheduler's work, where no profile says it: assumed, and rather high."""
SCHEDULER_QUERIES = 0.5
"""Share of the database's work that is the scheduler's; the rest is the API server's: assumed."""
API_CALLS = 3
"""Calls of a task that does nothing: it runs, its rendered fields, it has ended."""
COMPONENTS = ("scheduler", "api_server", "task", "database", "other")


@dataclass(frozen=True)
class Costs:
    """CPU-seconds of one task by component, and its waits."""

    scheduler: float
    api_server: float
    task: float
    """The worker and the processes of the task, without its own work."""
    database: float
    other: float = 0.0
    """All else that gets busy with tasks; not on a task's way."""
    latency: float = 0.0
    """Seconds that a task holds its slot without CPU: polls and sleeps."""
    inside: float = 0.5
    """Share of ``task`` and ``latency`` between the start and the end that Airflow reports."""
    critical: float = CRITICAL_SHARE
    """Share of ``scheduler`` in the critical section."""
    heartbeat: float = 0.0
    """CPU-seconds of the API server for one heartbeat of a running task."""
    background: float = 0.0
    """CPU-seconds a second of all that runs without any task, on the measured machine."""

    @property
    def cpu(self) -> float:
        """CPU-seconds on a task's way, from scheduled to its slot being free."""
        return self.scheduler + self.api_server + self.task + self.database

    @property
    def queries(self) -> float:
        """CPU-seconds of the database for what the API server asks."""
        return self.database * (1 - SCHEDULER_QUERIES)

    @property
    def locked(self) -> float:
        """Seconds of the critical section for one task: scheduler and database in turn."""
        return self.critical * (self.scheduler + self.database * SCHEDULER_QUERIES)


@dataclass(frozen=True)
class Platform:
    """Processes and cores. With ``shared_cores`` all of it runs on those cores."""

    workers: int = 1
    slots_per_worker: int = 16
    cores_per_worker: float = 4
    schedulers: int = 1
    """Processes, each with a core."""
    api_servers: int = 1
    """Processes, each with a core."""
    database_cores: float = 4
    shared_cores: float | None = None
    heartbeat_seconds: float = 5
    """``[workers] min_heartbeat_interval``."""
    max_tis_per_query: int = 16

    @property
    def slots(self) -> int:
        """Tasks that can run at once."""
        return self.workers * self.slots_per_worker


@dataclass(frozen=True)
class Work:
    """What a task itself does: so many seconds, a share of them on the worker's CPU."""

    seconds: float = 0.0
    cpu_share: float = 0.0
    constant: bool = False
    """All alike; otherwise exponentially distributed with that mean."""
