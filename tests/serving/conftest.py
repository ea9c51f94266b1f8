"""Servers for these tests, each on a port of its own; where MLflow puts files is not the tree."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from course.ports import any_free

PATIENCE = 180


@pytest.fixture(scope="package", autouse=True)
def _working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        yield


def wait(done: Callable[[], object], what: str) -> None:
    """Wait until something is so; fails by saying what was not."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


@contextmanager
def running(app: ASGIApp) -> Iterator[httpx.Client]:
    """A client of the application, which runs in uvicorn in a thread."""
    port = any_free()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait(lambda: server.started or not thread.is_alive(), "the server has started")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(scope="package")
def until() -> Callable[[Callable[[], object], str], None]:
    return wait


@pytest.fixture(scope="package")
def serve() -> Callable[..., object]:
    return running
