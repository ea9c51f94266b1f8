import os
import socket
from collections.abc import Iterator

import pytest

from course.errors import CourseError
from course.ports import any_free, choose, holder, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_listening_port_is_not_free(taken: int) -> None:
    assert not is_free(taken)
    assert is_free(any_free())


def test_a_port_taken_on_all_addresses_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # noqa: S104
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_the_holder_is_named(taken: int) -> None:
    assert f"process {os.getpid()}" in holder(taken)


def test_a_port_that_was_asked_for_is_used_or_refused(taken: int) -> None:
    free = any_free()
    assert choose("airflow", wanted=free, remembered=taken, default=taken) == (free, "")
    with pytest.raises(CourseError) as caught:
        choose("airflow", wanted=taken, remembered=None, default=free)
    assert f"Port {taken}, asked for by AIRFLOW_PORT" in caught.value.problem
    assert f"process {os.getpid()}" in caught.value.problem
    assert "make start AIRFLOW_PORT=" in caught.value.fix


def test_a_taken_default_is_replaced_and_said(taken: int) -> None:
    port, note = choose("mlflow", wanted=None, remembered=None, default=taken)
    assert port != taken
    assert is_free(port)
    assert str(taken) in note
    assert str(port) in note


def test_the_remembered_port_comes_before_the_default(taken: int) -> None:
    remembered = any_free()
    assert choose("site", wanted=None, remembered=remembered, default=taken) == (remembered, "")
