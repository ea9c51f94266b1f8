"""Hears the metrics that Airflow and its tasks send by StatsD."""

import socket
import threading
from types import TracebackType


class Listener:
    """Within its block, ``lines`` fills with what arrives at a UDP port of this machine."""

    def __init__(self, port: int) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._port = port
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Listener":
        self._socket.bind(("127.0.0.1", self._port))
        # Looks up now and then, to see whether it is still wanted.
        self._socket.settimeout(0.2)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._port = 0
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while self._port:
            try:
                self.lines += self._socket.recv(65535).decode(errors="replace").splitlines()
            except TimeoutError:
                continue
