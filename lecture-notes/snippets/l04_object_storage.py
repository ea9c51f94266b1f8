"""A path that knows its connection: the same code for a folder and for a bucket."""

from airflow.sdk import ObjectStoragePath, Param, dag, get_current_context, task


@dag(schedule=None, catchup=False, params={"base": Param("", type="string")}, tags=["lecture"])
def l04_object_storage() -> None:
    # [START object_storage]
    @task
    def write() -> ObjectStoragePath:
        base = ObjectStoragePath(get_current_context()["params"]["base"])
        base.mkdir(parents=True, exist_ok=True)
        path = base / "metrics.json"
        path.write_text('{"auc": 0.76}')
        return path

    @task
    def read(path: ObjectStoragePath) -> str:
        return path.read_text()

    read(write())
    # [END object_storage]


l04_object_storage()
