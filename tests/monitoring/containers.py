"""The programs of the stack, run from its images with the files of monitoring/."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import httpx
import pytest
import yaml

from .names import MONITORING, REPOSITORY

PATIENCE = 30
"""Seconds in which a program has to answer."""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the container engine."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


@cache
def image(service: str) -> str:
    """The image of a service of docker-compose.yaml, or another version of it that is here.

    Skips the test if there is no container engine, or no such image.
    """
    if shutil.which("docker") is None or docker("info").returncode:
        pytest.skip("no container engine answers")
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))["services"]
    pinned = str(services[service]["image"])
    if docker("image", "inspect", pinned).returncode == 0:
        return pinned
    listing = ("images", "--format={{.Repository}}:{{.Tag}}", pinned.partition(":")[0])
    if here := docker(*listing).stdout.split():
        return here[0]
    if docker("pull", pinned).returncode:
        pytest.skip(f"the image {pinned} is not here and cannot be pulled")
    return pinned


def tool(
    service: str, program: str, *arguments: str, folder: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program of a service's image on the files of monitoring/ or of another folder."""
    mount = f"{folder or MONITORING}:/monitoring:ro"
    options = ("--rm", "--network=none", "--volume", mount, "--workdir=/monitoring")
    return docker("run", *options, "--entrypoint", program, image(service), *arguments)


def answers(address: str) -> bool:
    """Whether a page is there."""
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.HTTPError:
        return False


class Container:
    """A running program of the stack, and the ports of this machine that lead to it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def port(self, inside: str) -> int:
        """The port here that stands for one in the container, such as ``9125/udp``."""
        return int(docker("port", self.name, inside).stdout.rpartition(":")[2])

    def wait(self, address: str) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not answers(address):
            assert time.monotonic() < deadline, docker("logs", self.name).stderr
            time.sleep(0.2)


@contextmanager
def running(service: str, options: Sequence[str], *arguments: str) -> Iterator[Container]:
    """A container of a service's image, removed at the end."""
    name = f"monitoring-{service}-{uuid.uuid4().hex[:8]}"
    started = docker("run", "--detach", "--name", name, *options, image(service), *arguments)
    try:
        assert started.returncode == 0, started.stderr
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


@contextmanager
def network() -> Iterator[str]:
    """A network in which containers find each other by name."""
    name = f"monitoring-{uuid.uuid4().hex[:8]}"
    made = docker("network", "create", name)
    assert made.returncode == 0, made.stderr
    try:
        yield name
    finally:
        docker("network", "rm", name)


@contextmanager
def statsd_exporter(*options: str) -> Iterator[tuple[int, str]]:
    """A running exporter with the mapping: its UDP port here, and the address of its metrics."""
    options += ("--publish=127.0.0.1::9125/udp", "--publish=127.0.0.1::9102")
    options += (f"--volume={MONITORING}/statsd-mapping.yaml:/mapping.yaml:ro",)
    with running("statsd-exporter", options, "--statsd.mapping-config=/mapping.yaml") as made:
        address = f"http://127.0.0.1:{made.port('9102/tcp')}/metrics"
        made.wait(address)
        yield made.port("9125/udp"), address


@contextmanager
def prometheus(*options: str) -> Iterator[str]:
    """A running Prometheus with our configuration and rules: its address."""
    options += ("--publish=127.0.0.1::9090",)
    options += (f"--volume={MONITORING}/prometheus.yml:/etc/prometheus/prometheus.yml:ro",)
    options += (f"--volume={MONITORING}/rules:/etc/prometheus/rules:ro",)
    with running("prometheus", options) as made:
        address = f"http://127.0.0.1:{made.port('9090/tcp')}"
        made.wait(f"{address}/-/ready")
        yield address
