"""Training on Dask workers that are pods, from the run in Airflow to the report."""

import pytest

from course.cluster.sandbox import TRAINING, Sandbox, wait

pytestmark = [pytest.mark.cluster, pytest.mark.long]
DAG = "distributed_training_on_pods"


def test_two_pods_train_the_model_of_one(cluster: Sandbox) -> None:
    run_id = cluster.trigger(DAG, workers=2, rounds=50, train_from="2013-08", cpu="100m")
    ended = cluster.finish(DAG, run_id, 400)
    assert ended["state"] == "success", cluster.log(DAG, run_id, "start_workers")[-3000:]
    several, one = (cluster.result(DAG, run_id, task) for task in ("train", "train_on_one_worker"))
    assert (several["workers"], one["workers"]) == (2, 1)
    assert several["rows"] == one["rows"] > 10_000
    judged = {each["workers"]: each["auc"] for each in cluster.result(DAG, run_id, "evaluate")}
    assert abs(judged[2] - judged[1]) <= 0.01
    assert judged[1] > 0.6
    left = "app.kubernetes.io/component=dask"
    wait(
        lambda: not cluster.core.list_namespaced_pod(TRAINING, label_selector=left).items,
        "scheduler and workers are gone",
        60,
    )
