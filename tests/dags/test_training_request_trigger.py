"""The trigger on a real broker: nothing is committed before it is safe, and nothing ends it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from course.ports import any_free
from flightdelays.errors import ServiceError
from flightdelays.requests import DEAD_LETTERS, LARGEST, TOPIC

REPOSITORY = Path(__file__).resolve().parents[2]
NOTHING_COMMITTED = -1001
SECONDS = 40


def request(event_id: str) -> bytes:
    return json.dumps({"event_id": event_id, "month": "2013-09", "reason": "test"}).encode()


class Broker:
    """A broker of its own for each test, and what a client sees of it."""

    def __init__(self, servers: str) -> None:
        self.servers = servers

    def send(self, *values: bytes | None) -> None:
        producer = Producer({"bootstrap.servers": self.servers})
        for value in values:
            producer.produce(TOPIC, value=value)
        assert producer.flush(SECONDS) == 0

    def committed(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "retrain_on_event"})
        try:
            return consumer.committed([TopicPartition(TOPIC, 0)], SECONDS)[0].offset
        finally:
            consumer.close()

    def dead_letters(self) -> list[Any]:
        """All of them: read until none comes, for the broker may count one too few."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "reader"})
        consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
        try:
            return list(iter(lambda: consumer.poll(3), None))
        finally:
            consumer.close()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    port = str(any_free())
    with subprocess.Popen(
        [sys.executable, "-m", "course.broker", port], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if ", topics " in line:
                break
        servers = f"127.0.0.1:{port}"
        own = {
            "group.id": "retrain_on_event",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
        connect(monkeypatch, "kafka_retrain_on_event", {"bootstrap.servers": servers, **own})
        connect(monkeypatch, "kafka_default", {"bootstrap.servers": servers})
        monkeypatch.syspath_prepend(REPOSITORY / "plugins")
        yield Broker(servers)
        process.terminate()
        process.communicate(timeout=SECONDS)


def connect(monkeypatch: pytest.MonkeyPatch, name: str, extra: dict[str, Any]) -> None:
    value = json.dumps({"conn_type": "kafka", "extra": extra})
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", value)


class Triggerer:
    """Drives one trigger as the triggerer does, up to storing its events."""

    def __init__(self) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        from training_requests.trigger import TrainingRequestTrigger

        self.manager = SharedStreamManager()
        trigger = TrainingRequestTrigger()
        self.key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=1, trigger=trigger, key=self.key)
        self.events = trigger.filter_shared_stream(stream)

    async def next(self) -> tuple[str, int]:
        """Event id and number, to be confirmed, of the next event."""
        event = await asyncio.wait_for(anext(self.events), SECONDS)
        number = self.manager.bind_pending_event(trigger_id=1, key=self.key)
        assert number is not None
        return event.payload["request"]["event_id"], number


@asynccontextmanager
async def running() -> AsyncIterator[Triggerer]:
    triggerer = Triggerer()
    try:
        yield triggerer
    finally:
        await triggerer.manager.unsubscribe(1, triggerer.key)
        # A stream that has failed closes its consumer by and by; the next one would wait for it.
        tasks = [t for t in asyncio.all_tasks() if t.get_name().startswith("shared-stream")]
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


def test_an_offset_is_committed_once_the_event_is_stored_and_not_before(broker: Broker) -> None:
    async def first_life() -> None:
        async with running() as triggerer:
            assert (await triggerer.next())[0] == "a"
            assert (await triggerer.next())[0] == "b"
            # It ends here, with both events read and neither stored.

    async def second_life() -> None:
        async with running() as triggerer:
            name, number = await triggerer.next()
            assert name == "a"
            triggerer.manager.confirm_persisted([number])
            assert (await triggerer.next())[0] == "b"
            await until(lambda: broker.committed() == 1)

    broker.send(request("a"), request("b"))
    asyncio.run(first_life())
    assert broker.committed() == NOTHING_COMMITTED
    asyncio.run(second_life())
    assert broker.committed() == 1


def test_a_burst_of_everything_gives_the_valid_ones_and_dead_letters_with_reasons(
    broker: Broker,
) -> None:
    other = json.dumps({"event_type": "model.deployed"}).encode()
    malformed = [b"{", None, b"\xff" * (LARGEST + 1), json.dumps({"month": "2013-99"}).encode()]
    broker.send(request("a"), other, *malformed, request("a"), request("b"))

    async def read() -> list[str]:
        names = []
        async with running() as triggerer:
            for _ in range(3):
                name, number = await triggerer.next()
                names.append(name)
                triggerer.manager.confirm_persisted([number])
            waiting = asyncio.ensure_future(anext(triggerer.events))
            await until(lambda: broker.committed() == 8)
            waiting.cancel()
        return names

    assert asyncio.run(read()) == ["a", "a", "b"]
    letters = broker.dead_letters()
    headers = [{key: value.decode() for key, value in letter.headers()} for letter in letters]
    assert [found["offset"] for found in headers] == ["2", "3", "4", "5"]
    assert {(found["topic"], found["partition"]) for found in headers} == {(TOPIC, "0")}
    for found, reason in zip(headers, ("not JSON", "tombstone", "at most", "month: "), strict=True):
        assert reason in found["reason"]
    assert [letter.value() for letter in letters] == [
        value and value[:LARGEST] for value in malformed
    ]
    assert headers[2]["bytes"] == str(LARGEST + 1)


def test_without_its_dead_letter_a_malformed_message_is_not_committed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training_requests import trigger

    broker.send(request("a"), b"{", request("b"))
    with monkeypatch.context() as patch:
        connect(patch, "kafka_default", {"bootstrap.servers": f"127.0.0.1:{any_free()}"})
        patch.setattr(trigger, "DELIVERY_SECONDS", 1)

        async def fail() -> None:
            async with running() as triggerer:
                _, number = await triggerer.next()
                triggerer.manager.confirm_persisted([number])
                await triggerer.next()
                with pytest.raises(
                    ServiceError, match=f"1 of 1 dead letters did not reach {DEAD_LETTERS}"
                ):
                    await triggerer.next()

        asyncio.run(fail())
    assert broker.committed() == 1
    assert broker.dead_letters() == []

    async def mended() -> None:
        async with running() as triggerer:
            assert (await triggerer.next())[0] == "b"
            await until(lambda: broker.committed() == 2)

    asyncio.run(mended())
    assert len(broker.dead_letters()) == 1


def test_the_sensor_obeys_the_same_rules(broker: Broker) -> None:
    from airflow.providers.apache.kafka.triggers.await_message import AwaitMessageTrigger

    broker.send(b"{", json.dumps({"event_type": "other"}).encode(), request("a"))

    async def wait() -> Any:
        trigger = AwaitMessageTrigger(
            topics=[TOPIC],
            apply_function="training_requests.trigger.arrival_in",
            kafka_config_id="kafka_retrain_on_event",
            poll_interval=0.1,
        )
        events = trigger.run()
        event = await asyncio.wait_for(anext(events), SECONDS)
        await events.aclose()
        await trigger.cleanup()
        return event.payload

    payload = asyncio.run(wait())
    assert payload["request"]["event_id"] == "a"
    assert payload["origin"].startswith(f"{TOPIC}[0]@2 of 20")
    assert len(broker.dead_letters()) == 1


def test_the_trigger_is_made_again_from_what_it_says_of_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow._shared.module_loading import import_string

    monkeypatch.syspath_prepend(REPOSITORY / "plugins")
    from training_requests.trigger import TrainingRequestTrigger

    path, arguments = TrainingRequestTrigger(topics=["b", "a"]).serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_the_plugin_loader_passes_over_it() -> None:
    probe = (
        "import sys; from airflow.plugins_manager import _get_plugins;"
        "plugins, errors = _get_plugins(); assert plugins and not errors, errors;"
        "files = [getattr(module, '__file__', None) or '' for module in sys.modules.values()];"
        "print([file for file in files if 'training_requests' in file])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", probe], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
