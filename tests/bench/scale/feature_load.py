"""Locust users that read features: ``python -m gevent.monkey feature_load.py FLIGHTS.json``.

A process that begins by patching Python for gevent, imports Feast once, and then runs one load
after the other: a line of JSON on standard input (the fields of ``Load``), a line of JSON on
standard output (the milliseconds of each read). The users are greenlets of one thread, as the
requests of an asynchronous service are: what one of them computes, the others wait for.
"""

import itertools
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from feast import FeatureStore
from locust import User, constant, task
from locust.env import Environment
from readers import Reader, Sdk, Server, plain

from flightdelays import store

SDK, PLAIN, SERVE = "Feast SDK", "plain", "feast serve"
WARM_UP = 0.5
"""Seconds of a load before it is measured."""
LEAST, PATIENCE = 4, 60
"""Reads of each client that a load measures at least, and the seconds in which they must end."""


@dataclass(frozen=True)
class Load:
    """``users`` clients that read ``batch`` flights at a time for ``seconds``.

    With ``rate``, each reads that often a second at random moments (a Poisson process), and a read
    is measured from the moment it was due: if the process is busy the client waits, and the wait
    counts. Without, each asks again as soon as it has an answer, and is measured from then.
    """

    path: str
    users: int
    batch: int
    seconds: float
    rate: float | None
    address: str
    seed: int


class Client(User):
    """One client; the attributes are those of the load that runs."""

    abstract = True
    wait_time = constant(0)
    load: Load
    reader: Reader
    flights: list[dict[str, str]]
    places: "itertools.count[int]"
    draw: random.Random

    def on_start(self) -> None:
        self.due = time.perf_counter()
        self.plan()

    def plan(self) -> None:
        """Choose the moment of the next read."""
        if self.load.rate is None:
            self.due = time.perf_counter()
        else:
            self.due += self.draw.expovariate(self.load.rate)

    @task
    def read(self) -> None:
        gevent.sleep(max(0.0, self.due - time.perf_counter()))
        # A client alone waits for nobody: Locust's own work between two reads is not its wait.
        begin = time.perf_counter() if self.load.users == 1 else self.due
        first = next(self.places) * self.load.batch % (len(self.flights) - self.load.batch + 1)
        self.reader(self.flights[first : first + self.load.batch])
        self.environment.events.request.fire(
            request_type=self.load.path,
            name="read",
            response_time=(time.perf_counter() - begin) * 1_000,
            response_length=0,
            exception=None,
            context={},
        )
        self.plan()


def run(load: Load, reader: Reader, flights: list[dict[str, str]]) -> dict[str, Any]:
    """The milliseconds of all reads of a load that ended in its time, and that time."""
    kind = type(
        "LoadClient",
        (Client,),
        {
            "load": load,
            "reader": staticmethod(reader),
            "flights": flights,
            "places": itertools.count(),
            "draw": random.Random(load.seed),  # noqa: S311
        },
    )
    environment = Environment(user_classes=[kind], stop_timeout=10)
    runner = environment.create_local_runner()
    taken: list[float] = []
    # Locust's own percentiles are of rounded times, too coarse for a read of 0.1 ms.
    environment.events.request.add_listener(lambda response_time, **_: taken.append(response_time))
    runner.start(load.users, spawn_rate=load.users)
    gevent.sleep(WARM_UP)
    taken.clear()
    begin = time.perf_counter()
    gevent.sleep(load.seconds)
    while len(taken) < LEAST * load.users:
        # Large reads by all clients at once may take longer than the time they were given.
        if time.perf_counter() - begin > PATIENCE:
            raise TimeoutError(f"{len(taken)} reads ended in {PATIENCE} s: {load}")
        gevent.sleep(0.05)
    measured, seconds = list(taken), time.perf_counter() - begin
    runner.quit()
    if runner.exceptions:
        failed = next(iter(runner.exceptions.values()))
        raise RuntimeError(
            f"{failed['count']} reads failed: {failed['msg']}\n{failed['traceback']}"
        )
    return {"ms": measured, "seconds": seconds}


def reader_of(load: Load, opened: FeatureStore, flights: list[dict[str, str]]) -> Reader:
    """The reader of a load, which must find what the SDK finds, and something of each feature."""
    readers = {
        SDK: lambda: Sdk(opened),
        PLAIN: lambda: plain(opened),
        SERVE: lambda: Server(load.address, load.users),
    }
    reader, sdk = readers[load.path](), Sdk(opened)
    expected = sdk.decode(sdk(flights), flights)
    empty = [name for name, values in expected.items() if not any(v is not None for v in values)]
    if empty:
        raise RuntimeError(f"the online store has no value of {', '.join(empty)}")
    if reader.decode(reader(flights), flights) != expected:
        raise RuntimeError(f"{load.path} and the SDK disagree on the features of the same flights")
    return reader


def main() -> None:
    flights = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    opened = store.open_store()
    for line in sys.stdin:
        load = Load(**json.loads(line))
        reader = reader_of(load, opened, flights[:200])
        print(json.dumps(run(load, reader, flights)), flush=True)


if __name__ == "__main__":
    main()
