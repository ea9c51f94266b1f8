"""What a training on a cluster costs: measured times and prices give the tables of k8s/costs.md.

``python -m course.costs --gpu 2.10 --spot 0.80`` prints them with prices of your own.
"""

import json
from dataclasses import dataclass
from math import expm1, floor
from typing import Annotated, Any

import typer
import yaml
from kubernetes.utils.quantity import parse_quantity

from course import pages
from course.config import REPOSITORY
from course.errors import CourseError

GPU = "nvidia.com/gpu"
# What `train_on_gpu_pod` asks for unless told otherwise, with the sidecar that reads its result.
TRAINING_POD = {"cpu": "1001m", "memory": "4106Mi", GPU: "1"}
# What a Celery worker reserves: k8s/helm/production.yaml.
WORKER = {"cpu": "1", "memory": "3Gi"}
GIB = 2**30
NAMES = {GPU: "GPU", "cpu": "CPU"}


@dataclass(frozen=True)
class Prices:
    """Dollars for an hour of a node, and what is assumed of nodes."""

    gpu: float = 1.006
    """Node with one GPU, on demand."""
    spot: float = 0.40
    """The same as a spot node."""
    cpu: float = 0.192
    """Node without a GPU."""
    losses: float = 0.1
    """How often a spot node is taken away, per hour; more than 0."""
    idle: float = 600
    """Seconds that a node which was bought for one pod goes on costing after it."""


@dataclass(frozen=True)
class Node:
    """What pods can reserve on a node: CPUs, GiB of memory, GPUs."""

    cpu: float = 4
    memory: float = 16
    gpus: float = 0


# [START formulas]
def overhead_share(work: float, overhead: float) -> float:
    """Share of the paid time that is not work; both in seconds."""
    return overhead / (work + overhead)


def least_work(overhead: float, share: float = 0.1) -> float:
    """Seconds that a task must work for its overhead to be no more than this share."""
    return overhead * (1 - share) / share


def reserved(requests: dict[str, str], node: Node) -> float:
    """Share of a node that a pod keeps from others: of CPU or memory, whichever is more."""
    cpu, memory = float(parse_quantity(requests["cpu"])), float(parse_quantity(requests["memory"]))
    return max(cpu / node.cpu, memory / GIB / node.memory)


def paid_hours(work: float, piece: float, again: float, losses: float) -> float:
    """Hours paid, on average, for ``work`` hours on nodes that are taken away.

    The work is saved after each ``piece`` (hours); a loss (so many per hour) costs the piece that
    was begun, and ``again`` hours until the next pod goes on. Losses come independently.
    """
    return work / piece * expm1(losses * piece) * (1 / losses + again)


# [END formulas]


def seconds(name: str) -> float:
    """A measured time; CourseError if no benchmark has measured it."""
    figures = json.loads(pages.RESULTS.read_text("utf-8"))["figures"]
    if name not in figures:
        raise CourseError(f"k8s/costs.md needs {name!r}, which is not measured.", "see tests/bench")
    return float(figures[name]["value"])


def trainings(prices: Prices) -> list[list[str]]:
    """One training in a pod with a whole GPU node, by how long it computes."""
    overhead, measured = seconds("k8s_pod_overhead"), seconds("k8s_train_container")
    rows = [["the container computes", "overhead", "on demand", "on a node bought for it", "spot"]]
    for work in (measured, 600.0, 3600.0, 8 * 3600.0):
        hours = (work + overhead) / 3600
        rows.append(
            [
                length(work),
                f"{overhead_share(work, overhead):.1%}",
                dollars(hours * prices.gpu),
                dollars((hours + prices.idle / 3600) * prices.gpu),
                dollars(hours * prices.spot),
            ]
        )
    return rows


def starts(prices: Prices) -> list[list[str]]:
    """What a start takes and costs, and how long a task must work to be worth it."""
    node, heavy = Node(), template_requests("cpu.yaml")
    warm, cold = seconds("stack_start"), seconds("k8s_executor_noop")
    worker = reserved(WORKER, node) * prices.cpu
    start = cold / 3600 * reserved(heavy, node) * prices.cpu
    return [
        ["", "Celery worker", "a pod for each task"],
        ["a start", length(warm), length(cold)],
        ["a start is below 10 % from", length(least_work(warm)), length(least_work(cold))],
        ["reserves of a node", f"{reserved(WORKER, node):.1%}", f"{reserved(heavy, node):.1%}"],
        ["costs while nothing runs, in 730 hours", dollars(worker * 730), dollars(0)],
        ["costs for 1,000 starts", dollars(0), dollars(start * 1000)],
        ["starts in an hour that cost as much as one waiting worker", "", f"{worker / start:.0f}"],
    ]


def losses(prices: Prices) -> list[list[str]]:
    """Long trainings on demand and on spot nodes, with and without checkpoints."""
    again, every = seconds("k8s_resumed") / 3600, 5 / 3600
    rows = [["work", "on demand", "spot, begins again", "spot, saved every 5 s"]]
    for work in (1.0, 8.0, 24.0):
        scratch = paid_hours(work, work, again, prices.losses)
        saved = paid_hours(work, every, again, prices.losses)
        rows.append(
            [length(work * 3600), dollars(work * prices.gpu)]
            + [f"{dollars(paid * prices.spot)} for {paid:.1f} h" for paid in (scratch, saved)]
        )
    return rows


def capacity(prices: Prices) -> list[list[str]]:
    """How many pods of a kind fit at once, and what is used up first."""
    templates = {"small": "small.yaml", "heavy": "cpu.yaml", "GPU": "gpu.yaml"}
    kinds = {
        f"{name} task, as a pod of the executor": ("airflow", template_requests(file))
        for name, file in templates.items()
    }
    kinds["training pod, with its sidecar"] = ("ml-training", TRAINING_POD)
    rows = [["pods at once", "a node of 4 CPUs, 16 GiB and a GPU", "local quota", "base quota"]]
    node = {"cpu": 4.0, "memory": 16.0 * GIB, GPU: 1.0}
    for name, (namespace, requests) in kinds.items():
        places = [node, quota("overlays/local", namespace), quota("base", namespace)]
        rows.append([name, *(fit(requests, place) for place in places)])
    return rows


def template_requests(file: str) -> dict[str, str]:
    """What a pod template requests."""
    text = (REPOSITORY / "k8s" / "pod-templates" / file).read_text("utf-8")
    requests: dict[str, str] = yaml.safe_load(text)["spec"]["containers"][0]["resources"][
        "requests"
    ]
    return requests


def quota(folder: str, namespace: str) -> dict[str, float]:
    """What the pods of a namespace may request together; ``pods`` is their number."""
    text = (REPOSITORY / "k8s" / folder / "quotas.yaml").read_text("utf-8")
    (hard,) = (
        item["spec"]["hard"]
        for item in yaml.safe_load_all(text)
        if item["kind"] == "ResourceQuota" and item["metadata"]["namespace"] == namespace
    )
    amounts = {name: float(parse_quantity(value)) for name, value in hard.items()}
    return {
        name.removeprefix("requests."): amounts[name] for name in amounts if "limits" not in name
    }


def fit(requests: dict[str, str], place: dict[str, float]) -> str:
    """How many pods fit into a place, and what they use up."""
    wanted = {name: float(parse_quantity(value)) for name, value in requests.items()} | {
        "pods": 1.0
    }
    counts = {name: floor(place[name] / wanted[name]) for name in wanted if name in place}
    first = min(counts, key=lambda name: counts[name])
    return f"{counts[first]}, by {NAMES.get(first, first)}"


def length(time: float) -> str:
    """A time in seconds as people say it."""
    if time < 120:
        return f"{time:.0f} s" if time >= 10 else f"{time:.1f} s"
    return f"{time / 60:.0f} min" if time < 3600 else f"{time / 3600:.0f} h"


def dollars(amount: float) -> str:
    """An amount with as many digits as matter."""
    return f"${amount:.{2 if amount >= 0.1 or not amount else 3}f}"


TABLES: dict[str, Any] = {
    "trainings": trainings,
    "starts": starts,
    "losses": losses,
    "capacity": capacity,
}


def table(name: str, prices: Prices | None = None) -> None:
    """Print a table in Markdown; k8s/costs.md calls this."""
    head, *rows = TABLES[name](prices or Prices())
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main(
    gpu: Annotated[float, typer.Option(help="$ for an hour of a node with a GPU")] = Prices.gpu,
    spot: Annotated[float, typer.Option(help="$ for the same as a spot node")] = Prices.spot,
    cpu: Annotated[float, typer.Option(help="$ for an hour of a node without one")] = Prices.cpu,
    lost: Annotated[
        float, typer.Option(min=0.001, help="how often a spot node is taken away, per hour")
    ] = Prices.losses,
    idle: Annotated[
        float, typer.Option(help="seconds that a bought node costs after its pod")
    ] = Prices.idle,
) -> None:
    """Print every table with these prices."""
    try:
        for name in TABLES:
            table(name, Prices(gpu, spot, cpu, lost, idle))
            print()
    except CourseError as error:
        typer.echo(f"✗ {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
