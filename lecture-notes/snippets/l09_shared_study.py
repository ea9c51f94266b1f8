"""Several workers search in one study: each knows what the others have tried."""

import tempfile

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l09_shared_study() -> None:
    @task
    def create_study() -> str:
        import optuna

        address = f"sqlite:///{tempfile.mkdtemp()}/study.db"
        optuna.create_study(storage=address, study_name="delays", direction="maximize")
        return address

    # [START search]
    @task
    def search(address: str, worker: int) -> int:
        """How many trials of others this worker found when it came."""
        import optuna

        def objective(trial: optuna.Trial) -> float:
            rate = trial.suggest_float("learning_rate", 0.01, 0.3, log=True)
            return 1 - abs(rate - 0.1)  # here you fit, and return the score

        study = optuna.load_study(study_name="delays", storage=address)
        found = len(study.trials)
        study.optimize(objective, n_trials=4)
        return found

    # [END search]
    @task
    def best(address: str, found: list[int]) -> dict[str, float]:
        import optuna

        study = optuna.load_study(study_name="delays", storage=address)
        return {
            "workers": len(list(found)),
            "trials": len(study.trials),
            "score": study.best_value,
            "worst": min(trial.value for trial in study.trials),
        }

    # [START expand]
    address = create_study()
    found = search.partial(address=address).expand(worker=[0, 1, 2])
    best(address, found)
    # [END expand]


l09_shared_study()
