"""The stack as `make up` leaves it: healthy, seeded, closed to others; and what people see."""

import json
import subprocess

import httpx
import pytest

from course.containers.sandbox import Sandbox
from course.containers.settings import SECRETS
from course.containers.stack import ONCE, ready

pytestmark = pytest.mark.stack
# SeaweedFS begins as root and gives itself up: bits of CHOWN, SETGID and SETUID.
ALLOWED = {"s3": 1 << 0 | 1 << 6 | 1 << 7}


def test_every_service_is_healthy(stack: Sandbox) -> None:
    containers = stack.compose.containers()
    assert {found["Service"] for found in containers} == set(stack.compose.services())
    assert [found["Name"] for found in containers if not ready(found)] == []
    assert sum(found["Service"] == "worker" for found in containers) == 2
    told = stack.course("ps")
    assert told.returncode == 0, told.stdout
    assert told.stdout.count("healthy") == len(containers) - len(ONCE)


def test_again_it_changes_nothing(stack: Sandbox) -> None:
    def state() -> tuple[set[str], str]:
        ids = {f["ID"] for f in stack.compose.containers() if f["Service"] not in ONCE}
        return ids, stack.path.read_text()

    before = state()
    again = stack.course("up")
    assert again.returncode == 0, again.stderr
    assert "The stack was running already." in again.stdout
    assert state() == before


def test_addresses_are_told_whole(stack: Sandbox) -> None:
    told = stack.course("ps", COLUMNS="60").stdout
    for port in stack.settings.ports:
        if port not in ("STATSD_EXPORTER_PORT", "GRAFANA_PORT"):
            assert f"127.0.0.1:{stack.settings.ports[port]}" in told
    assert f"viewer / {stack.settings.values['VIEWER_PASSWORD']}" in told


def test_airflow_was_seeded(stack: Sandbox) -> None:
    pools = {
        pool["name"]: pool["slots"] for pool in stack.api.request("GET", "/api/v2/pools")["pools"]
    }
    assert pools["memory"] == 1
    known = stack.api.request("GET", "/api/v2/connections")["connections"]
    assert {"kafka_retrain_on_event", "apprise_default", "fs_incoming"} <= {
        connection["connection_id"] for connection in known
    }
    assert stack.api.import_errors() == []


def test_a_role_may_do_what_it_is_for_and_no_more(stack: Sandbox) -> None:
    def answer(role: str, method: str, path: str) -> int:
        url = stack.settings.url("AIRFLOW_PORT")
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            login = {
                "username": role,
                "password": stack.settings.values[f"{role.upper()}_PASSWORD"],
            }
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            body = {"logical_date": None, "conf": {"seconds": 0}} if method == "POST" else None
            return client.request(method, f"/api/v2/{path}", headers=headers, json=body).status_code

    assert answer("viewer", "GET", "dags") == 200
    assert answer("viewer", "POST", "dags/stack_probe/dagRuns") == 403
    assert answer("user", "POST", "dags/stack_probe/dagRuns") == 200
    assert answer("user", "GET", "connections") == 403
    assert answer("admin", "GET", "connections") == 200
    wrong = {"username": "admin", "password": "admin"}
    url = stack.settings.url("AIRFLOW_PORT")
    assert httpx.post(f"{url}/auth/token", json=wrong, trust_env=False).status_code == 401


def test_nothing_listens_for_other_machines(stack: Sandbox) -> None:
    published = [
        publisher["URL"]
        for found in stack.compose.containers()
        for publisher in found["Publishers"]
        if publisher["PublishedPort"]
    ]
    assert len(published) == len(stack.settings.ports) - (
        0 if "grafana" in stack.compose.services() else 1
    )
    assert set(published) == {"127.0.0.1"}


def test_nobody_is_root_but_who_must(stack: Sandbox) -> None:
    users = {}
    for found in stack.compose.containers():
        if found["State"] == "running":
            [inspected] = json.loads(stack.docker("inspect", found["ID"]))
            status = stack.docker("exec", found["ID"], "cat", "/proc/1/status")
            capabilities = status.partition("CapEff:")[2].split()[0]
            assert int(capabilities, 16) & ~ALLOWED.get(found["Service"], 0) == 0, found["Name"]
            assert "ALL" in inspected["HostConfig"]["CapDrop"]
            users[found["Service"]] = status.partition("Uid:")[2].split()[0]
    assert {service for service, uid in users.items() if uid == "0"} <= {"s3"}


def test_secrets_show_nowhere(stack: Sandbox) -> None:
    secrets = {name: stack.settings.values[name] for name in SECRETS}
    places = {"logs": stack.compose.ask("logs", "--no-color")}
    for found in stack.compose.containers():
        places[f"inspect {found['Name']}"] = stack.docker("inspect", found["ID"])
    for image in ("airflow", "training"):
        name = f"airflow-ml-course/{image}:3.3.2"
        places[f"history of {image}"] = stack.docker("history", "--no-trunc", name)
    shown = [
        f"{name} in {place}"
        for place, text in places.items()
        for name, value in secrets.items()
        if value in text
    ]
    assert shown == []


def test_a_worker_knows_no_way_into_the_database_of_airflow(stack: Sandbox) -> None:
    environment = stack.docker(
        "exec", stack.container("worker"), "/opt/course/docker/entrypoint", "env"
    )
    assert "AIRFLOW__CELERY__BROKER_URL=" in environment
    for name in ("AIRFLOW_DB_PASSWORD", "FERNET_KEY", "POSTGRES_PASSWORD", "MLFLOW_SECRET_KEY"):
        assert stack.settings.values[name] not in environment


def test_the_code_cannot_be_written_from_inside(stack: Sandbox) -> None:
    for folder in ("dags", "plugins", "src", "feature_repo"):
        command = ["docker", "exec", stack.container("worker"), "touch", f"/opt/course/{folder}/x"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Read-only file system" in done.stderr


def test_mlflow_answers_to_its_own_names_alone(stack: Sandbox) -> None:
    url = stack.settings.url("MLFLOW_PORT")
    assert httpx.get(url, trust_env=False).status_code == 200
    foreign = httpx.get(url, headers={"Host": "evil.example"}, trust_env=False)
    assert foreign.status_code == 403


@pytest.mark.parametrize("target", ["airflow", "training"])
def test_an_image_runs_under_any_user_id(stack: Sandbox, target: str) -> None:
    code = (
        "import getpass, importlib.util, pathlib, shutil, flightdelays.settings;"
        "pathlib.Path.home().joinpath('x').write_text('x');"
        "print(getpass.getuser(), importlib.util.find_spec('airflow') is not None,"
        " [tool for tool in ('gcc', 'make', 'uv') if shutil.which(tool)])"
    )
    told = stack.docker(
        *("run", "--rm", "--user", "12345:0", f"airflow-ml-course/{target}:3.3.2"),
        *("python", "-c", code),
    )
    assert told.strip() == f"course {target == 'airflow'} []"
