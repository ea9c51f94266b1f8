"""Airflow's own StatsD client, set up as in the stack: with tags, without the old names."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def environment(port: int) -> dict[str, str]:
    """What the stack sets for each process of Airflow, towards a port of this machine."""
    values = {
        "STATSD_ON": "True",
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": str(port),
        "STATSD_PREFIX": "airflow",
        "STATSD_INFLUXDB_ENABLED": "True",
        "LEGACY_NAMES_ON": "False",
    }
    return {f"AIRFLOW__METRICS__{name}": value for name, value in values.items()}


@contextmanager
def client(port: int) -> Iterator[None]:
    """Let this process send to a port; afterwards it sends nothing."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(port).items():
            patch.setenv(name, value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        yield
    stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


class Listener:
    """A UDP port of this machine that keeps what arrives."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])

    def lines(self) -> list[str]:
        """What has arrived since the last call."""
        found: list[str] = []
        try:
            while True:
                found += self.socket.recv(65_535).decode().splitlines()
        except BlockingIOError:
            return found

    def sent(self, act: Callable[[], object]) -> list[str]:
        """What arrives when this process does something."""
        with client(self.port):
            act()
        return self.lines()

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()


def child_environment(port: int) -> dict[str, str]:
    """The environment of a process that sends to a port."""
    return dict(os.environ) | environment(port)
