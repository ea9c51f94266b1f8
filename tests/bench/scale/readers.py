"""Ways to read the features of flights: Feast's SDK, its store without Feast, its HTTP server.

Each reads all that the delay model needs of some flights: four views of three entities. A reader
is called with the flights' join keys; what it returns is what that way gives its caller, and
``decode`` makes of it what the SDK returns, a dict of column to list.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3, compute_table_id
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from geventhttpclient import HTTPClient
from redis import Redis

from flightdelays import store

Flights = Sequence[dict[str, str]]
PATIENCE = 120
"""Seconds after which the server counts as broken rather than slow."""
VERSION = 3  # of the form of entity keys, as feature_store.yaml has it


class Reader(Protocol):
    def __call__(self, flights: Flights) -> Any:
        """Read the features of some flights."""

    def decode(self, found: Any, flights: Flights) -> dict[str, list[Any]]:
        """Column to list of values, in the order of the flights."""


class Sdk:
    """``get_online_features(…).to_dict()`` of a store that stays open."""

    def __init__(self, opened: FeatureStore) -> None:
        self.store, self.service = opened, opened.get_feature_service(store.SERVICE)

    def __call__(self, flights: Flights) -> dict[str, list[Any]]:
        rows = list(flights)
        return dict(
            self.store.get_online_features(features=self.service, entity_rows=rows).to_dict()
        )

    def decode(self, found: dict[str, list[Any]], flights: Flights) -> dict[str, list[Any]]:
        return {name: values for name, values in found.items() if name not in flights[0]}


class PlainRedis:
    """One pipeline with an HMGET for each view and entity; the answer stays bytes."""

    def __init__(self, opened: FeatureStore) -> None:
        nodes, options = RedisOnlineStore._parse_connection_string(
            opened.config.online_store.connection_string
        )
        self.client = Redis(host=nodes[0]["host"], port=int(nodes[0]["port"]), **options)
        self.project = opened.project
        self.views = [
            (
                view.join_keys[0],
                [field.name for field in view.features],
                [_mmh3(f"{view.name}:{field.name}") for field in view.features],
            )
            for view in opened.list_feature_views()
        ]

    def __call__(self, flights: Flights) -> list[list[bytes | None]]:
        with self.client.pipeline(transaction=False) as pipeline:
            for key, _, fields in self.views:
                for value in dict.fromkeys(flight[key] for flight in flights):
                    pipeline.hmget(self.name(key, value), fields)
            return pipeline.execute()

    def name(self, key: str, value: str) -> bytes:
        return entity_key(key, value) + self.project.encode()

    def decode(self, found: list[list[bytes | None]], flights: Flights) -> dict[str, list[Any]]:
        answers, decoded = iter(found), {}
        for key, columns, _ in self.views:
            by_value = {v: next(answers) for v in dict.fromkeys(flight[key] for flight in flights)}
            for place, column in enumerate(columns):
                decoded[column] = [python(by_value[flight[key]][place]) for flight in flights]
        return decoded


class PlainSqlite:
    """One SELECT of the rows of each view and entity; the values stay bytes."""

    def __init__(self, opened: FeatureStore) -> None:
        self.connection = sqlite3.connect(opened.config.online_store.path)
        self.views = [
            (
                view.join_keys[0],
                [field.name for field in view.features],
                compute_table_id(opened.project, view, False),
            )
            for view in opened.list_feature_views()
        ]

    def __call__(self, flights: Flights) -> list[tuple[int, bytes, str, bytes]]:
        parts, values = [], []
        for number, (key, _, table) in enumerate(self.views):
            keys = [entity_key(key, v) for v in dict.fromkeys(flight[key] for flight in flights)]
            marks = ",".join("?" * len(keys))
            parts.append(
                f'SELECT {number}, entity_key, feature_name, value FROM "{table}" '  # noqa: S608
                f"WHERE entity_key IN ({marks})"
            )
            values += keys
        return self.connection.execute(" UNION ALL ".join(parts), values).fetchall()

    def decode(
        self, found: list[tuple[int, bytes, str, bytes]], flights: Flights
    ) -> dict[str, list[Any]]:
        known = {(number, key, name): value for number, key, name, value in found}
        return {
            column: [
                python(known.get((number, entity_key(key, flight[key]), column)))
                for flight in flights
            ]
            for number, (key, columns, _) in enumerate(self.views)
            for column in columns
        }


class Server:
    """A request to ``feast serve`` over a connection that stays open; the answer is parsed."""

    def __init__(self, address: str, clients: int) -> None:
        # The client of Locust's FastHttpUser.
        self.client = HTTPClient.from_url(address, concurrency=clients, network_timeout=PATIENCE)

    def __call__(self, flights: Flights) -> Any:
        entities = {key: [flight[key] for flight in flights] for key in flights[0]}
        body = json.dumps({"feature_service": store.SERVICE, "entities": entities})
        answer = self.client.post(
            "/get-online-features", body, headers={"Content-Type": "application/json"}
        )
        text = answer.read()
        if answer.status_code != 200:
            raise RuntimeError(f"feast serve answered {answer.status_code}: {text[:500]!r}")
        return json.loads(text)

    def decode(self, found: Any, flights: Flights) -> dict[str, list[Any]]:
        columns = found["metadata"]["feature_names"]
        values = (result["values"] for result in found["results"])
        named = dict(zip(columns, values, strict=True))
        return {name: column for name, column in named.items() if name not in flights[0]}


def plain(opened: FeatureStore) -> Reader:
    """The plain read of the online store that Feast is configured with."""
    kinds: dict[str, Callable[[FeatureStore], Reader]] = {
        "redis": PlainRedis,
        "sqlite": PlainSqlite,
    }
    return kinds[opened.config.online_store.type](opened)


@cache
def entity_key(key: str, value: str) -> bytes:
    """Feast's name of an entity in an online store; made once, so that a plain read only reads."""
    entity = EntityKey(join_keys=[key], entity_values=[Value(string_val=value)])
    return serialize_entity_key(entity, entity_key_serialization_version=VERSION)


def python(value: bytes | None) -> Any:
    """A stored value as Python has it; None where there is none."""
    if value is None:
        return None
    parsed = Value.FromString(value)
    kind = parsed.WhichOneof("val")
    return None if kind is None else getattr(parsed, kind)
