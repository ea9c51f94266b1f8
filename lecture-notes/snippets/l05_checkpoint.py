"""A training that is interrupted goes on at its last checkpoint."""

from airflow.sdk import dag, get_current_context, task

EPOCHS = 5


@dag(schedule=None, catchup=False, default_args={"retries": 1}, tags=["lecture"])
def l05_checkpoint() -> None:
    # [START checkpoint]
    @task
    def train() -> list[int]:
        context = get_current_context()
        store = context["task_state_store"]
        fitted = []
        for epoch in range(store.get("epochs", 0) + 1, EPOCHS + 1):
            fitted.append(epoch)
            store.set("epochs", epoch)
            if epoch == 3 and context["ti"].try_number == 1:
                raise ConnectionError("the node is taken away")
        return fitted

    # [END checkpoint]
    @task
    def remember_in_both() -> dict[str, int | None]:
        context = get_current_context()
        instance, store = context["ti"], context["task_state_store"]
        if instance.try_number == 1:
            instance.xcom_push("epochs", 3)
            store.set("epochs", 3)
            raise ConnectionError("the node is taken away")
        found = instance.xcom_pull(task_ids="remember_in_both", key="epochs")
        return {"xcom": found, "store": store.get("epochs")}

    train()
    remember_in_both()


l05_checkpoint()
