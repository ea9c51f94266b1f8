"""How far Kafka's readers are behind, for Prometheus: ``python -m serving.lag``.

confluent_kafka asks the broker and prometheus_client answers Prometheus; the broker is asked at
each scrape. A group is behind in every partition of each topic that it has committed in or that
one of its members reads: by the messages after its commit, or by all there are without one.
"""

import logging
import signal
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving import program

PATIENCE = 4
"""Seconds for one answer of the broker; Prometheus gives up on a scrape after ten."""
_log = logging.getLogger("serving.lag")


class LagSettings(BaseSettings):
    """Settings of the exporter."""

    model_config = SettingsConfigDict(env_prefix="", frozen=True)

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:9092", description="the broker")
    lag_host: str = Field(default="127.0.0.1", description="address to listen on")
    lag_port: int = Field(default=9308, description="port to listen on")


class Lag(Collector):
    """Asks a broker when Prometheus asks."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        # What librdkafka has to say about a broker that is away is said here, once.
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self._away = False

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the broker would be asked before anybody wants to know."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Lag and members of each group, and whether the broker answered."""
        up = GaugeMetricFamily("kafka_up", "1 if the broker answered")
        lag = GaugeMetricFamily(
            "kafka_consumergroup_lag",
            "messages that a group has not read",
            labels=("group", "topic", "partition"),
        )
        members = GaugeMetricFamily(
            "kafka_consumergroup_members", "members of a group", labels=("group",)
        )
        try:
            self._fill(lag, members)
        except KafkaException as error:
            if not self._away:
                _log.warning("Kafka at %s does not answer: %s", self._servers, error)
            self._away = True
            up.add_metric((), 0)
            yield up
            return
        self._away = False
        up.add_metric((), 1)
        yield from (up, lag, members)

    def _fill(self, lag: GaugeMetricFamily, members: GaugeMetricFamily) -> None:
        known = self._admin.list_topics(timeout=PATIENCE).topics
        listed = self._admin.list_consumer_groups(request_timeout=PATIENCE).result()
        read: dict[str, dict[tuple[str, int], int]] = {}
        for group in sorted(each.group_id for each in listed.valid):
            reading, committed = self._group(group)
            members.add_metric((group,), len(reading))
            topics = {topic for topic, _ in committed}.union(*reading) & known.keys()
            read[group] = {
                (topic, partition): committed.get((topic, partition), 0)
                for topic in topics
                for partition in known[topic].partitions
            }
        wanted = {partition for partitions in read.values() for partition in partitions}
        first = self._offsets(wanted, OffsetSpec.earliest())
        end = self._offsets(wanted, OffsetSpec.latest())
        for group, partitions in read.items():
            for place, offset in sorted(partitions.items()):
                # Messages that were deleted unread cannot be read any more.
                behind = max(end[place] - max(offset, first[place]), 0)
                lag.add_metric((group, place[0], str(place[1])), behind)

    def _group(self, group: str) -> tuple[list[set[str]], dict[tuple[str, int], int]]:
        """Topics that each member reads, and where the group has committed."""
        described = self._admin.describe_consumer_groups([group], request_timeout=PATIENCE)
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=PATIENCE
        )
        reading = [
            {place.topic for place in member.assignment.topic_partitions}
            for member in described[group].result().members
        ]
        places = asked[group].result().topic_partitions
        return reading, {(at.topic, at.partition): at.offset for at in places if at.offset >= 0}

    def _offsets(
        self, places: Iterable[tuple[str, int]], which: OffsetSpec
    ) -> dict[tuple[str, int], int]:
        wanted: dict[Any, OffsetSpec] = {TopicPartition(*place): which for place in places}
        if not wanted:
            return {}
        asked = self._admin.list_offsets(wanted, request_timeout=PATIENCE)
        return {(at.topic, at.partition): each.result().offset for at, each in asked.items()}


def main() -> None:
    """Answer Prometheus until told to end."""
    settings = program.read(LagSettings)
    program.begin()
    registry = CollectorRegistry()
    registry.register(Lag(settings.kafka_bootstrap_servers))
    start_http_server(settings.lag_port, settings.lag_host, registry)
    _log.info("listening on %s:%d", settings.lag_host, settings.lag_port)
    signal.pause()


if __name__ == "__main__":
    main()
