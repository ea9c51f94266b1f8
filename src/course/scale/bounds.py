"""Closed forms that a simulation must agree with: the operational laws, and two queues."""

from math import inf, log

from course.scale.costs import Costs, Platform, Work


def loads(costs: Costs, platform: Platform, work: Work) -> dict[str, float]:
    """Seconds of each component per task ÷ its servers, by the utilisation law: U = X · D.

    A component with the greatest of them is the bottleneck, and no more than 1 ÷ it tasks a
    second can pass (X ≤ 1 / D_max). The slots are held for the whole of a task.
    """
    beats = work.seconds / platform.heartbeat_seconds
    asked = costs.api_server + beats * costs.heartbeat
    queries = costs.queries * (asked / costs.api_server if costs.api_server else 1.0)
    scheduling = costs.database - costs.queries
    held = costs.cpu + costs.latency + work.seconds
    if platform.shared_cores:
        everything = asked + queries + scheduling + costs.scheduler + costs.task + costs.other
        everything += work.seconds * work.cpu_share
        cores = platform.shared_cores - costs.background
        return {"cores": everything / cores, "slots": held / platform.slots}
    return {
        "scheduler": (costs.scheduler + scheduling) / platform.schedulers,
        "critical section": costs.locked,
        "api server": asked / platform.api_servers,
        "database": (scheduling + queries) / platform.database_cores,
        "worker": (costs.task + work.seconds * work.cpu_share)
        / (platform.workers * platform.cores_per_worker),
        "slots": held / platform.slots,
    }


def most_tasks(costs: Costs, platform: Platform, work: Work) -> float:
    """Upper bound of the tasks a second, X ≤ min(1 / D_max, N / (D + Z))."""
    return 1 / max(loads(costs, platform, work).values())


def closed_throughput(demand: float, think: float, jobs: int) -> float:
    """Jobs a second when so many share one core, each with ``think`` seconds beside it.

    Mean value analysis, exact for processor sharing whatever the distributions are.
    """
    queue, rate = 0.0, 0.0
    for number in range(1, jobs + 1):
        response = demand * (1 + queue)
        rate = number / (response + think)
        queue = rate * response
    return rate


def mm1_response(arrivals: float, service: float) -> float:
    """Mean seconds in an M/M/1 queue, first come first served or shared: S / (1 - ρ)."""
    load = arrivals * service
    return service / (1 - load) if load < 1 else inf


def mmc_wait(arrivals: float, service: float, servers: int, share: float) -> float:
    """Seconds of waiting in an M/M/c queue that ``share`` of the customers do not exceed.

    Erlang's C formula gives those who wait at all; their waits are exponential.
    """
    offered = arrivals * service
    if offered >= servers:
        return inf
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    waiting = blocked / (1 - offered / servers * (1 - blocked))
    return max(0.0, log(waiting / (1 - share)) * service / (servers - offered))
