"""Which loopback port a service gets, and who holds the one it wanted."""

import socket

import psutil

from course.errors import CourseError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now.

    Two questions, because each misses a case: macOS lets a loopback socket be bound beside one
    that listens on all addresses, and a bound socket that does not listen refuses connections.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Name and id of the process that listens on this port, or "another process"."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        # macOS shows other people's sockets to root only.
        return "another process"
    return "another process"


def any_free() -> int:
    """A free port chosen by the system."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def choose(
    service: str, *, wanted: int | None, remembered: int | None, default: int
) -> tuple[int, str]:
    """The port for a service, and a sentence to show if it is not the expected one.

    A port that the person asked for is used or refused, never replaced; the remembered and the
    default one are replaced by a free one when somebody else holds them.
    """
    if wanted is not None:
        if is_free(wanted):
            return wanted, ""
        variable = f"{service.upper()}_PORT"
        raise CourseError(
            f"Port {wanted}, asked for by {variable}, is taken by {holder(wanted)}.",
            f"end that process, or choose another port: make start {variable}={any_free()}",
        )
    expected = remembered or default
    if is_free(expected):
        return expected, ""
    port = any_free()
    return port, f"Port {expected} is taken by {holder(expected)}: {service} gets {port} instead."
