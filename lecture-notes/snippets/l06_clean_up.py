"""Three clean-ups after a training that fails: a teardown, `ALL_DONE`, a task like any other."""

from airflow.sdk import Param, TriggerRule, dag, get_current_context, setup, task, teardown

PARAMS = {"broken": Param(True, type="boolean", description="whether the training fails")}


@task
def train(path: str) -> str:
    if get_current_context()["params"]["broken"]:
        raise ValueError("no rows")
    return f"{path}/model"


# [START teardown]
@dag(schedule=None, catchup=False, params=PARAMS, tags=["lecture"])
def l06_clean_up_teardown() -> None:
    @setup
    def prepare() -> str:
        return "runs/1"

    @teardown
    def clean_up(path: str) -> None:
        print(f"removing {path}")

    path = prepare()
    train(path) >> clean_up(path)


# [END teardown]
@dag(schedule=None, catchup=False, params=PARAMS, tags=["lecture"])
def l06_clean_up_all_done() -> None:
    @task
    def prepare() -> str:
        return "runs/1"

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def clean_up(path: str) -> None:
        print(f"removing {path}")

    path = prepare()
    train(path) >> clean_up(path)


@dag(schedule=None, catchup=False, params=PARAMS, tags=["lecture"])
def l06_clean_up_plain() -> None:
    @task
    def prepare() -> str:
        return "runs/1"

    @task
    def clean_up(path: str) -> None:
        print(f"removing {path}")

    path = prepare()
    train(path) >> clean_up(path)


l06_clean_up_plain()
l06_clean_up_teardown()
l06_clean_up_all_done()
