"""A Redis of its own for a benchmark: the program on PATH, or the stack's image by Docker."""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
import yaml

from course.config import REPOSITORY
from course.containers.compose import check_engine
from course.errors import CourseError
from course.ports import any_free

PATIENCE = 60


@contextmanager
def redis_server() -> Iterator[str]:
    """A server on a free loopback port, in memory alone: ``HOST:PORT,password=…``, Feast's form."""
    port, password = any_free(), secrets.token_hex(16)
    # The configuration comes by standard input: the password is in no argument and in no file.
    config = f'requirepass {password}\nsave ""\nappendonly no\n'
    if shutil.which("redis-server"):
        command = ["redis-server", "-"]
        config += f"port {port}\nbind 127.0.0.1\n"
    else:
        try:
            check_engine(None)
        except CourseError as error:
            pytest.skip(f"There is no redis-server on PATH. {error}")
        command = ["docker", "run", "--rm", "--interactive", "--publish", f"127.0.0.1:{port}:6379"]
        command += [image(), "redis-server", "-"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
        )
        try:
            assert process.stdin is not None
            process.stdin.write(config)
            process.stdin.close()
            wait(process, port, password)
            yield f"127.0.0.1:{port},password={password}"
        except TimeoutError as error:
            log.seek(0)
            raise TimeoutError(f"{error}: {log.read()[-1_000:]}") from None
        finally:
            process.terminate()
            process.wait(PATIENCE)


def wait(process: subprocess.Popen[str], port: int, password: str) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + PATIENCE
    with redis.Redis(host="127.0.0.1", port=port, password=password) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError("Redis did not start") from error
                time.sleep(0.1)
            else:
                return


def image() -> str:
    """The Redis of the stack in containers."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))
    return str(compose["services"]["redis"]["image"])
