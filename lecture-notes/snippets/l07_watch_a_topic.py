"""Airflow's own trigger for a Kafka topic, behind an asset that starts a DAG."""

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.sdk import Asset, AssetWatcher, dag, get_current_context, task

# [START watcher]
trigger = MessageQueueTrigger(
    scheme="kafka",
    topics=["ml.training.requests"],
    kafka_config_id="kafka_retrain_on_event",
    apply_function="training_requests.trigger.arrival_in",
    poll_interval=0.1,
)
REQUESTS = Asset("l07_requests", watchers=[AssetWatcher(name="kafka", trigger=trigger)])
# [END watcher]


@dag(schedule=[REQUESTS], catchup=False, tags=["lecture"])
def l07_watch_a_topic() -> None:
    # [START read]
    @task
    def accept() -> list[str]:
        events = get_current_context()["triggering_asset_events"][REQUESTS]
        return [event.extra["payload"]["request"]["month"] for event in events]

    # [END read]
    accept()


l07_watch_a_topic()
