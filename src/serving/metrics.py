"""What Prometheus is told of the model server."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "model_server_requests", "predictions asked for, by status code", ("alias", "version", "code")
)
SECONDS = Histogram("model_server_request_seconds", "time to answer a prediction", ("alias",))
VERSION = Gauge("model_server_version", "version that answers now; 0: none", ("alias",))
CHANGES = Counter("model_server_changes", "change-overs to another version or to none", ("alias",))
FAILURES = Counter("model_server_load_failures", "versions that could not be used", ("alias",))
REGISTRY_UP = Gauge("model_server_registry_up", "1 if MLflow's registry answered the last time")
