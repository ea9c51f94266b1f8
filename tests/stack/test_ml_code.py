"""The ML code on S3, Redis and PostgreSQL: the same answers as on a folder, and clear errors.

Each service runs in a container of its own, from the image that the stack uses.
"""

import json
import os
import socket
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import psycopg2
import pyarrow as pa
import pytest
import redis
import s3fs
import yaml

from flightdelays import dataset, features, lake, source
from flightdelays.errors import CourseError, LakeError, ServiceError
from flightdelays.lake import Lake, open_lake
from flightdelays.runs import Window
from flightdelays.settings import REPOSITORY, Settings

pytestmark = [pytest.mark.stack, pytest.mark.long]

MONTHS = ("2013-01", "2013-02", "2013-03")
WINDOW = Window(*MONTHS)
UNTIL = datetime(2013, 2, 15, 17, 30, tzinfo=UTC)
VIEWS = ["carrier_delays", "origin_delays", "origin_weather", "tailnum_delays"]
SECRET = "a-word-that-nobody-may-read"  # noqa: S105
KEYS = {
    "identities": [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": SECRET}],
            "actions": actions,
        }
        for name, actions in {"owner": ["Admin"], "pipelines": ["Admin:lake"]}.items()
    ]
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker(*arguments: str) -> None:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wait(ready: Callable[[], Any], seconds: float = 90) -> None:
    """Until nothing is raised any more; after so many seconds the error is."""
    end = time.monotonic() + seconds
    while True:
        try:
            ready()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., int]]:
    """Run a service of ``docker-compose.yaml``; returns its port on this machine."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))
    names = []

    def run(service: str, inside: int, options: list[str], command: list[str]) -> int:
        names.append(f"flightdelays-test-{service}-{uuid.uuid4().hex[:8]}")
        port = free_port()
        image = compose["services"][service]["image"]
        published = f"127.0.0.1:{port}:{inside}"
        docker("run", "-d", "--name", names[-1], "-p", published, *options, image, *command)
        return port

    yield run
    docker("rm", "-f", "-v", *names)


@pytest.fixture(scope="module")
def services(start: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The three services, with the variables under which the pipelines find them."""
    folder = tmp_path_factory.mktemp("keys")
    folder.chmod(0o755)
    (folder / "s3.json").write_text(json.dumps(KEYS), "utf-8")
    options = ["-v", f"{folder}:/keys:ro"]
    command = ["server", "-ip.bind=0.0.0.0", "-filer", "-s3", "-s3.config=/keys/s3.json"]
    s3 = f"http://127.0.0.1:{start('s3', 8333, options, command)}"
    cache = start("redis", 6379, [], ["redis-server", "--requirepass", SECRET])
    words = ["-e", f"POSTGRES_PASSWORD={SECRET}", "-e", "POSTGRES_USER=feast"]
    database = start("postgres", 5432, words, [])

    owner = boto3.client(
        "s3",
        endpoint_url=s3,
        aws_access_key_id="owner",
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    wait(lambda: owner.create_bucket(Bucket="lake"))
    wait(redis.Redis(port=cache, password=SECRET).ping)
    address = f"feast:{SECRET}@127.0.0.1:{database}"
    wait(lambda: psycopg2.connect(f"postgresql://{address}/feast").close())
    return {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "pipelines",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "FEAST_REGISTRY": f"postgresql+psycopg2://{address}/feast",
        "FEAST_REDIS": f"127.0.0.1:{cache},db=1,password={SECRET}",
    }


@pytest.fixture(scope="module", autouse=True)
def _environment(services: dict[str, Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Change the environment for a test. A process opens S3 once: it must open it again."""

    def change(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()

    yield change
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def empty() -> Lake:
    return Lake(f"s3://lake/{uuid.uuid4().hex}")


@pytest.fixture
def database(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty database, which is that of the registry as well."""
    server, name = services["FEAST_REGISTRY"].rsplit("/", 1)[0], f"feast_{uuid.uuid4().hex}"
    connection = psycopg2.connect(f"{server.replace('+psycopg2', '')}/feast")
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    monkeypatch.setenv("FEAST_REGISTRY", f"{server}/{name}")
    return f"{server}/{name}"


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Settings, Settings]:
    """Settings of a folder and of the services, each with three months and all their features."""
    from flightdelays import store

    root = tmp_path_factory.mktemp("place")
    folder = Settings(
        lake=str(root / "lake"),
        feast_registry=str(root / "registry.db"),
        feast_online=str(root / "online.db"),
    )
    stack = Settings(lake="s3://lake/flights", feature_store="feature_store.stack.yaml")
    for settings in (folder, stack):
        for month in MONTHS:
            source.land(month, settings)
        for month in MONTHS:
            for view in VIEWS:
                features.build(view, month, settings)
        assert store.apply(settings) == VIEWS
        store.materialize(UNTIL, settings)
    return folder, stack


# ---- the lake ----------------------------------------------------------------------------------


def test_what_was_written_is_read_back_and_removed(empty: Lake) -> None:
    table = pa.table({"origin": ["EWR", "JFK"], "delay": [11, -3]})
    path = empty.partition("raw/flights", "2013-01")
    assert not empty.exists(path)
    empty.write_table(path, table)
    assert empty.read_table(path).equals(table)
    empty.write_table(path, table.slice(1))
    assert empty.read_table(path).num_rows == 1
    empty.write_json(empty.path("runs", "a", "one.json"), {"n": 1})
    assert [empty.read_json(found) for found in empty.files(empty.path("runs", "*", "*.json"))] == [
        {"n": 1}
    ]
    empty.remove_folder("runs", "a")
    empty.remove_folder("runs", "a")
    empty.remove_file(path)
    empty.remove_file(path)
    empty.check_writable()
    assert empty.files(empty.path("**", "*.*")) == []


def test_a_file_that_is_absent_or_damaged_is_named(empty: Lake) -> None:
    path = empty.path("raw", "nothing")
    for read in (empty.read_table, empty.read_json):
        with pytest.raises(LakeError) as caught:
            read(path)
        assert str(caught.value) == f"{path} is not in the lake"
    empty.write_text(path, "no table")
    with pytest.raises(LakeError, match="is not a readable Parquet file"):
        empty.read_table(path)


def test_of_many_that_create_a_file_at_once_one_succeeds(empty: Lake) -> None:
    writers = 16
    for attempt in range(3):
        path = empty.path("alerts", f"{attempt}.json")
        with ThreadPoolExecutor(writers) as pool:
            tried = [pool.submit(empty.create_json, path, {"by": n}) for n in range(writers)]
        winners = [number for number, one in enumerate(tried) if one.result()]
        assert len(winners) == 1
        assert empty.read_json(path) == {"by": winners[0]}


def test_what_another_process_wrote_is_seen_at_once(empty: Lake) -> None:
    assert empty.months("raw") == []
    path = empty.manifest("raw", "2013-02")
    code = f"from flightdelays.lake import Lake; Lake({empty.root!r}).write_json({path!r}, {{}})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert empty.months("raw") == ["2013-02"]
    assert empty.exists(path)


def test_a_process_that_was_forked_reads_and_writes(empty: Lake) -> None:
    """As Airflow's tasks are: whatever the parent did before, the child has its own client."""
    empty.write_json(empty.path("parent.json"), {})
    child = os.fork()
    if child == 0:
        try:
            own = Lake(empty.root)
            own.write_json(own.path("child.json"), own.read_json(own.path("parent.json")))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert empty.exists(empty.path("child.json"))


# ---- the same answers --------------------------------------------------------------------------


def test_features_are_those_of_a_folder(places: tuple[Settings, Settings]) -> None:
    folder, stack = (open_lake(settings) for settings in places)
    for view in VIEWS:
        for month in MONTHS:
            one, other = (
                where.read_table(where.partition(features.table(view), month))
                for where in (folder, stack)
            )
            assert one.num_rows > 500
            assert one.equals(other)
    assert features.stale_months(places[1]) == []


def test_the_training_set_is_that_of_a_folder(places: tuple[Settings, Settings]) -> None:
    from flightdelays import training_set

    found = []
    for settings in places:
        rows = training_set.build(WINDOW, settings)
        path = dataset.save(rows, "same", settings)
        found.append(dataset.load(path, settings))
    pd.testing.assert_frame_equal(found[0], found[1], check_exact=True)
    assert len(found[0]) > 75_000
    assert found[0]["tailnum_late_rate_14d"].notna().mean() > 0.8
    digests = {lake.encode(pa.Table.from_pandas(rows))[1] for rows in found}
    assert len(digests) == 1


def test_redis_serves_what_sqlite_serves(
    places: tuple[Settings, Settings], services: dict[str, Any]
) -> None:
    from flightdelays import store

    facts = open_lake(places[0])
    table = facts.read_table(facts.partition("features/tailnum_delays", "2013-02"))
    planes = table.to_pandas()["tailnum"].unique()[:200]
    asked = [
        {"origin": origin, "carrier": carrier, "tailnum": plane}
        for plane in [*planes, "N0"]
        for origin, carrier in (("JFK", "UA"), ("PHL", "ZZ"))
    ]
    one, other = (store.online_features(asked, settings) for settings in places)
    assert one == other
    assert one["origin_late_rate_24h"][:2].count(None) == 1
    assert sum(value is not None for value in one["tailnum_last_delay"]) > 200
    port = int(services["FEAST_REDIS"].partition(",")[0].rpartition(":")[2])
    keys = [redis.Redis(port=port, password=SECRET, db=db).dbsize() for db in (0, 1)]
    assert keys[0] == 0
    assert keys[1] > 1000


def test_the_registry_in_the_database_holds_what_is_defined(
    places: tuple[Settings, Settings],
) -> None:
    from flightdelays import store

    stack = places[1]
    assert store.service_is_registered(stack)
    views = store.open_store(stack).list_feature_views()
    assert {view.batch_source.path for view in views} == {
        f"{stack.lake}/features/{name}/month=*/part.parquet" for name in VIEWS
    }


def test_views_registered_at_the_same_time_in_an_empty_database_are_all_registered(
    places: tuple[Settings, Settings], database: str
) -> None:
    from flightdelays import store

    stack = places[1]
    with ThreadPoolExecutor(len(VIEWS)) as workers:
        found = list(workers.map(lambda view: store.apply(stack, view), VIEWS))
    assert found == [[view] for view in VIEWS]
    assert {view.name for view in store.open_store(stack).list_feature_views()} == set(VIEWS)
    assert not store.service_is_registered(stack)


def test_views_without_any_month_are_named(database: str) -> None:
    from flightdelays import store

    bare = Settings(lake="s3://lake/bare", feature_store="feature_store.stack.yaml")
    store.apply(bare)
    with pytest.raises(LakeError, match=r"s3://lake/bare/features/\w+/month=\*/part.parquet match"):
        store.materialize(UNTIL, bare)


# ---- errors ------------------------------------------------------------------------------------


def message(error: BaseException) -> str:
    """An error's sentence; no password may stand in it, nor in what it was made of."""
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "\n" not in str(error)
    return str(error)


LOOKS = [
    lambda: Lake("s3://lake/a").months("raw"),
    lambda: Lake("s3://lake/a").exists("s3://lake/a/b"),
    lambda: Lake("s3://lake/a").read_json("s3://lake/a/b"),
    lambda: Lake("s3://lake/a").read_table("s3://lake/a/b"),
    lambda: Lake("s3://lake/a").write_text("s3://lake/a/b", "text"),
    lambda: Lake("s3://lake/a").create_json("s3://lake/a/b", {}),
    lambda: Lake("s3://lake/a").remove_file("s3://lake/a/b"),
    lambda: Lake("s3://lake/a").remove_folder("b"),
]


@pytest.mark.parametrize(
    "keys",
    [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "nobody"}],
    ids=["wrong secret", "unknown key"],
)
@pytest.mark.parametrize("look", LOOKS)
def test_a_wrong_key_is_named(
    keys: dict[str, str],
    look: Callable[[], Any],
    elsewhere: Callable[..., None],
    services: dict[str, Any],
) -> None:
    elsewhere(**keys)
    with pytest.raises(LakeError) as caught:
        look()
    said = message(caught.value)
    assert said.startswith(f"S3 at {services['AWS_ENDPOINT_URL']} refuses s3://lake/a/")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are right" in said


def test_a_bucket_of_somebody_else_is_named() -> None:
    with pytest.raises(LakeError) as caught:
        Lake("s3://private/a").months("raw")
    assert "may use the bucket private" in message(caught.value)


def test_no_key_at_all_is_named(
    elsewhere: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    elsewhere(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    with pytest.raises(LakeError, match="there is no key for s3://lake/a/b at S3 at http"):
        Lake("s3://lake/a").read_json("s3://lake/a/b")


@pytest.mark.parametrize("look", ["months", "files", "read_json", "read_table"])
def test_a_bucket_that_does_not_exist_is_named(
    look: str, elsewhere: Callable[..., None], services: dict[str, Any]
) -> None:
    elsewhere(AWS_ACCESS_KEY_ID="owner")
    gone = Lake("s3://gone/a")
    with pytest.raises(LakeError) as caught:
        getattr(gone, look)("raw" if look == "months" else gone.path("b"))
    assert message(caught.value) == (
        f"there is no bucket gone at S3 at {services['AWS_ENDPOINT_URL']}: create it, or set "
        "FLIGHTDELAYS_LAKE to another place"
    )


@pytest.mark.parametrize("look", LOOKS)
def test_an_s3_that_is_away_is_named(
    look: Callable[[], Any], elsewhere: Callable[..., None]
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    elsewhere(AWS_ENDPOINT_URL=address)
    with pytest.raises(ServiceError) as caught:
        look()
    said = message(caught.value)
    assert said.startswith(f"S3 at {address} does not answer for s3://lake/a/")
    assert said.endswith("start it, or set AWS_ENDPOINT_URL to where it is")


def test_an_s3_that_is_silent_is_given_up(
    elsewhere: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the patience of a second; it would not end at all if none of it were heeded."""
    impatient = lake._S3["config_kwargs"] | {"read_timeout": 1}
    monkeypatch.setitem(lake._S3, "config_kwargs", impatient)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        elsewhere(AWS_ENDPOINT_URL=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(ServiceError, match="does not answer for s3://lake/a/b"):
            Lake("s3://lake/a").read_json("s3://lake/a/b")


ASKED = [{"origin": "JFK", "carrier": "UA", "tailnum": "N0"}]


def test_a_redis_that_is_away_or_refuses_is_named(
    places: tuple[Settings, Settings], services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightdelays import store

    there = services["FEAST_REDIS"].partition(",")[0]
    for place, rest in ((f"127.0.0.1:{free_port()}", SECRET), (there, f"not-{SECRET}")):
        monkeypatch.setenv("FEAST_REDIS", f"{place},db=1,password={rest}")
        with pytest.raises(ServiceError) as caught:
            store.online_features(ASKED, places[1])
        said = message(caught.value)
        assert said.startswith(f"the online store at {place} does not answer (")
        assert said.endswith("start Redis, or set FEAST_REDIS to where it is")
    with pytest.raises(ServiceError, match=r"the online store at .* does not answer"):
        store.materialize(UNTIL, places[1], "origin_weather")


def test_a_database_that_is_away_or_refuses_is_named(
    places: tuple[Settings, Settings], services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightdelays import store, training_set

    right = services["FEAST_REGISTRY"]
    place = right.partition("@")[2]
    away = f"127.0.0.1:{free_port()}/feast"
    rows = training_set.prediction_rows(WINDOW, places[1]).head()
    for address, where in (
        (right.replace(place, away), away),
        (right.replace(SECRET, f"not-{SECRET}"), place),
    ):
        monkeypatch.setenv("FEAST_REGISTRY", address)
        for ask in (
            lambda: store.apply(places[1]),
            lambda: store.online_features(ASKED, places[1]),
            lambda: store.materialize(UNTIL, places[1]),
            lambda: store.service_is_registered(places[1]),
            lambda: training_set.join_features(rows, places[1]),
        ):
            with pytest.raises(ServiceError) as caught:
                ask()
            said = message(caught.value)
            assert said.startswith(
                f"the feature registry at postgresql+psycopg2://feast:***@{where} does not answer ("
            )
            assert said.endswith("start its database, or set FEAST_REGISTRY to where it is")


def test_a_registry_without_an_address_is_named(
    places: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightdelays import store

    file = f"{places[1].feature_repo}/feature_store.stack.yaml"
    monkeypatch.setenv("FEAST_REGISTRY", SECRET)
    with pytest.raises(CourseError) as caught:
        store.open_store(places[1])
    assert message(caught.value).startswith(f"the registry of {file} is no address of a database")
    monkeypatch.delenv("FEAST_REGISTRY")
    with pytest.raises(CourseError) as caught:
        store.open_store(places[1])
    assert message(caught.value) == (f"{file} names ${{FEAST_REGISTRY}}: set it in the environment")
