"""The two ends of what a pipeline tells, in small: a metrics server and a message service.

The metrics server reads StatsD from a UDP port; the message service is a web server to which
Apprise posts JSON. Both keep what they are sent. The checks of exercise 6 listen with them.
"""

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

PREFIX = "airflow."
"""What StatsD puts before each name."""
MINE = "training."
"""How the names of the exercise's own metrics begin."""


class Metric(NamedTuple):
    """One line of StatsD."""

    name: str
    labels: dict[str, str]
    value: float
    kind: str
    """``g`` for a gauge, ``ms`` for a timer, ``c`` for a counter."""


class Receiver:
    """A metrics server and a message service, which keep what they are sent."""

    def __init__(self) -> None:
        messages: list[str] = []
        self._messages = messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                messages.append(_text(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def close(self) -> None:
        """End both."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._socket.close()

    def environment(self) -> dict[str, str]:
        """What leads Airflow to them."""
        address = f"json://127.0.0.1:{self._server.server_port}/"
        connection = {
            "conn_type": "apprise",
            "extra": {"config": {"path": address, "tag": "all"}},
        }
        return {
            "AIRFLOW_CONN_APPRISE_DEFAULT": json.dumps(connection),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
            # With it StatsD keeps tags: they become the labels of a metric.
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def messages(self) -> list[str]:
        """The messages since the last call, title and body in one text."""
        taken = list(self._messages)
        self._messages.clear()
        return taken

    def metrics(self) -> list[Metric]:
        """The metrics since the last call. What was sent on this machine has arrived."""
        lines: list[str] = []
        try:
            while True:
                lines += self._socket.recv(65_535).decode(errors="replace").splitlines()
        except BlockingIOError:
            return [metric for line in lines if (metric := _metric(line))]


def _text(body: bytes) -> str:
    try:
        sent = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    if not isinstance(sent, dict):
        return str(sent)
    return "\n".join(str(sent.get(part, "")) for part in ("title", "message"))


def _metric(line: str) -> Metric | None:
    """Read ``airflow.training.auc,model=tree:0.7|g``; None if it cannot be read."""
    head, _, tail = line.rpartition(":")
    number, _, kind = tail.partition("|")
    name, *tags = head.split(",")
    try:
        value = float(number)
    except ValueError:
        return None
    labels = dict(tag.split("=", 1) for tag in tags if "=" in tag)
    return Metric(name, labels, value, kind.split("|")[0])


def series(metrics: list[Metric]) -> set[str]:
    """The exercise's own metrics with their labels, as text: one for each line of a graph."""
    return {
        ",".join([each.name, *(f"{name}={value}" for name, value in sorted(each.labels.items()))])
        for each in metrics
        if each.name.startswith(PREFIX + MINE)
    }


def count(messages: list[str]) -> str:
    """In words: ``one message came``, ``3 messages came``."""
    return "one message came" if len(messages) == 1 else f"{len(messages)} messages came"


def quoted(message: str) -> str:
    """The beginning of a message, on one line."""
    text = " / ".join(line for line in message.splitlines() if line.strip())
    return f"“{text[:300]}{'…' if len(text) > 300 else ''}”"
