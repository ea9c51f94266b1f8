"""Search for hyper-parameters: one Optuna study in a database, shared by many workers.

Trials are judged on the last training month, fitted on a sample of the months before it. The
validation month is looked at once, at the end, with the parameters that won: a month that
chose the parameters cannot also say how good they are.

The budget is exact however many workers there are. Each of its trials has a slot, from 0 up,
and waits in the database before the first worker starts; a worker only ever claims a waiting
trial (Optuna's own loop makes a new one when none waits, so N workers overshoot by up to N - 1).
A trial whose worker dies stops its heartbeat and fails; its slot waits again, the first time
with the same parameters, later with others. Optuna fails a trial and queues its successor in two
steps: ``fill`` mends what a death between them leaves, and of two live trials in one slot
the first one counts.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sklearn.metrics import average_precision_score
from sqlalchemy.exc import OperationalError

from flightdelays import dataset, evaluation, models, pages, tracking
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError, DataError, ServiceError
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

DAG_ID = "tune_hyperparameters"
ROUNDS, EVERY = 200, 20  # boosting rounds of a trial; PR-AUC is reported after every 20
HEARTBEAT, GRACE = 5, 20  # seconds between signs of life; silence after which a worker is dead
PATIENCE = 1  # seconds between looks at the database while others finish the last trials
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
SLOT, SPECIFICATION = "slot", "specification"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """Rows to fit trials on and the later rows that judge them, ready for the library."""

    features: pd.DataFrame
    labels: pd.Series
    later_features: pd.DataFrame
    later_labels: pd.Series

    def score(self, probabilities: Any) -> float:
        """PR-AUC on the later rows."""
        return float(average_precision_score(self.later_labels, probabilities))


@dataclass(frozen=True)
class Space:
    """What is searched for one kind of model: parameters, where to begin, how to boost.

    ``boost`` yields the number of rounds so far and the PR-AUC on the later rows.
    """

    suggest: Callable[[Trial], dict[str, Any]]
    start: dict[str, Any]
    boost: Callable[[dict[str, Any], Sample, Settings], Iterator[tuple[int, float]]]


def _suggest_lightgbm(trial: Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 200, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
    }


def _boost_lightgbm(
    params: dict[str, Any], sample: Sample, settings: Settings
) -> Iterator[tuple[int, float]]:
    import lightgbm

    common = {
        "objective": "binary",
        "metric": "None",
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": settings.threads,
        "seed": settings.seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(sample.features, sample.labels, params=common)
    booster = lightgbm.Booster(common | params, data)
    booster.add_valid(data.create_valid(sample.later_features, sample.later_labels), "later")
    for finished in range(1, ROUNDS + 1):
        booster.update()
        if finished % EVERY == 0:
            # Its own sums over the trees: to predict would add up all of them again.
            found = booster.eval_valid(lambda answers, _: ("pr_auc", sample.score(answers), True))
            yield finished, found[0][2]


def _suggest_xgboost(trial: Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 50.0, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
    }


def _boost_xgboost(
    params: dict[str, Any], sample: Sample, settings: Settings
) -> Iterator[tuple[int, float]]:
    import xgboost

    common = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": settings.threads,
        "seed": settings.seed,
    }
    data = xgboost.DMatrix(sample.features, sample.labels)
    later = xgboost.DMatrix(sample.later_features)
    booster = xgboost.Booster(common | params, [data, later])
    for finished in range(1, ROUNDS + 1):
        booster.update(data, finished - 1)
        if finished % EVERY == 0:
            yield finished, sample.score(booster.predict(later))


SPACES = {
    "lightgbm": Space(
        _suggest_lightgbm,
        {
            "learning_rate": 0.06,
            "num_leaves": 31,
            "min_child_samples": 20,
            "colsample_bytree": 1.0,
            "reg_lambda": 1e-3,
        },
        _boost_lightgbm,
    ),
    "xgboost": Space(
        _suggest_xgboost,
        {
            "learning_rate": 0.08,
            "max_depth": 7,
            "min_child_weight": 1.0,
            "colsample_bytree": 1.0,
            "reg_lambda": 1.0,
        },
        _boost_xgboost,
    ),
}


@contextmanager
def database(settings: Settings) -> Iterator[None]:
    """Within it a database that does not answer is a ServiceError with its address."""
    try:
        yield
    except (OperationalError, StorageInternalError) as error:
        address = sqlalchemy.make_url(settings.optuna_storage).render_as_string(hide_password=True)
        reason = error.__cause__ or error
        raise ServiceError(
            f"the database of the Optuna studies at {address} does not answer ({reason}): look "
            "at `make status`, or set FLIGHTDELAYS_OPTUNA_STORAGE"
        ) from error


def open_storage(
    settings: Settings | None = None, heartbeat: int = HEARTBEAT, grace: int = GRACE
) -> RDBStorage:
    """The database of the studies, in which a trial without a heartbeat for ``grace`` s fails."""
    settings = settings or get_settings()
    url = sqlalchemy.make_url(settings.optuna_storage)
    local = url.get_backend_name() == "sqlite"
    with warnings.catch_warnings(), database(settings):
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = RDBStorage(
            settings.optuna_storage,
            engine_kwargs={"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True},
            heartbeat_interval=heartbeat,
            grace_period=grace,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
        )
    if local:
        # SQLite has no row locks, so two workers could claim one trial: lock all, but briefly.
        sqlalchemy.event.listen(storage.engine, "connect", _no_implicit_begin)
        sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
        storage.engine.dispose()
    return storage


def _no_implicit_begin(connection: Any, _: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def create(
    name: str,
    window: Window,
    model: str,
    rows: int,
    budget: int,
    settings: Settings | None = None,
) -> dict[str, int]:
    """Create a study, or resume it; afterwards ``budget`` trials are finished or wait.

    Returns how many are ``finished`` and how many are ``open``. CourseError if the study of
    that name was made for another question.
    """
    settings = settings or get_settings()
    if model not in SPACES:
        raise CourseError(f"'{model}' has no search space: choose from {', '.join(SPACES)}")
    if window.train_from == window.train_to:
        raise DataError(
            f"{window.train_from} is the only training month: tuning needs two, one to fit "
            "on and the last one to judge by; set train_from to an earlier one"
        )
    asked = {
        "model": model,
        "train_from": window.train_from,
        "train_to": window.train_to,
        "rows": rows,
    }
    with database(settings):
        study = optuna.create_study(
            storage=open_storage(settings),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        known = study.user_attrs.get(SPECIFICATION)
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(SPECIFICATION, asked)
        elif known != asked:
            raise CourseError(
                f"the study '{name}' exists and was made for {known}, not for {asked}: their "
                "trials cannot be compared; give this one another name"
            )
        fill(study, budget, SPACES[model].start)
        return {
            "finished": len(_trials(study, budget, FINISHED)),
            "open": len(_trials(study, budget, OPEN)),
        }


def fill(study: optuna.Study, budget: int, start: dict[str, Any]) -> None:
    """Let a trial wait in each slot that has neither a finished nor an open one.

    The first trial of slot 0 begins where ``start`` says; the sampler chooses for the others.
    """
    live = {trial.user_attrs[SLOT] for trial in _trials(study, budget, (*FINISHED, *OPEN))}
    tried = {trial.user_attrs[SLOT] for trial in _trials(study, budget, (TrialState.FAIL,))}
    for slot in sorted(set(range(budget)) - live):
        params = start if slot == 0 and slot not in tried else {}
        study.enqueue_trial(params, user_attrs={SLOT: slot})


def _trials(study: optuna.Study, budget: int, states: tuple[TrialState, ...]) -> list[FrozenTrial]:
    """Trials of the budget's slots, in the order in which they were made."""
    found = study.get_trials(deepcopy=False, states=states)
    return [trial for trial in found if trial.user_attrs[SLOT] < budget]


def work(
    source: str,
    window: Window,
    name: str,
    budget: int,
    settings: Settings | None = None,
    heartbeat: int = HEARTBEAT,
    grace: int = GRACE,
) -> int:
    """Run trials of a study until all of its budget are finished; returns how many ran here.

    Waits for the last trials of other workers, and takes over those of dead ones. ServiceError
    if the database does not answer.
    """
    settings = settings or get_settings()
    with database(settings):
        storage = open_storage(settings, heartbeat, grace)
        study = _load(name, storage)
        asked = study.user_attrs[SPECIFICATION]
        space = SPACES[asked["model"]]
        sample = draw_sample(source, window, asked["model"], asked["rows"], settings)
        finished = 0
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fail_stale_trials(study)
            fill(study, budget, space.start)
            trial = claim(study, storage, budget, settings)
            if trial is not None:
                finished += _run(study, storage, trial, space, sample, settings, heartbeat)
            elif _trials(study, budget, OPEN):
                time.sleep(PATIENCE)
            else:
                return finished


def _load(name: str, storage: RDBStorage) -> optuna.Study:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2 * EVERY)
    return optuna.load_study(study_name=name, storage=storage, pruner=pruner)


def claim(
    study: optuna.Study, storage: RDBStorage, budget: int, settings: Settings
) -> Trial | None:
    """A waiting trial that is now this worker's alone, or None if none waits."""
    study_id = storage.get_study_id_from_name(study.study_name)
    taken = set()
    for trial in _trials(study, budget, (*FINISHED, *OPEN)):
        slot = trial.user_attrs[SLOT]
        if trial.state == TrialState.WAITING:
            number = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            try:
                if slot in taken:
                    storage.set_trial_state_values(number, TrialState.FAIL)
                elif storage.set_trial_state_values(number, TrialState.RUNNING):
                    # One seed for each trial: workers with one seed would try the same.
                    study.sampler = _sampler(settings.seed + trial.number)
                    return Trial(study, number)
            except UpdateFinishedTrialError:
                log.info("trial %d was finished by another worker", trial.number)
        taken.add(slot)
    return None


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Trials that run elsewhere count as bad ones, so that workers look in different places.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, constant_liar=True)


def _run(
    study: optuna.Study,
    storage: RDBStorage,
    trial: Trial,
    space: Space,
    sample: Sample,
    settings: Settings,
    heartbeat: int,
) -> bool:
    """Run one trial with a heartbeat; whether it counts."""
    study_id = storage.get_study_id_from_name(study.study_name)
    number = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
    try:
        with _heartbeat(storage, number, heartbeat):
            score = _objective(trial, space, sample, settings)
        told = study.tell(trial, score, skip_if_finished=True)
    except optuna.TrialPruned:
        told = study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
    except UpdateFinishedTrialError:
        # This process slept for longer than the grace, and the slot belongs to another trial.
        log.warning("trial %d was given up for dead and does not count", trial.number)
        return False
    except Exception:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    log.info("trial %d %s %s %s", told.number, told.state.name, told.value, told.params)
    return told.state in FINISHED


def _objective(trial: Trial, space: Space, sample: Sample, settings: Settings) -> float:
    """PR-AUC after the last round; reported on the way, and stopped if it is below the median."""
    score = 0.0
    for finished, score in space.boost(space.suggest(trial), sample, settings):
        trial.report(score, finished)
        if finished < ROUNDS and trial.should_prune():
            raise optuna.TrialPruned
    return score


@contextmanager
def _heartbeat(storage: RDBStorage, trial_id: int, interval: int) -> Iterator[None]:
    """Signs of life of a trial, as Optuna's own loop gives them."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                storage.record_heartbeat(trial_id)
            except (OperationalError, StorageInternalError):
                log.exception("no heartbeat for a trial: the database does not answer")
            if ended.wait(interval):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def draw_sample(
    source: str, window: Window, model: str, rows: int, settings: Settings | None = None
) -> Sample:
    """At most ``rows`` rows from before the last training month, and all rows of that month."""
    settings = settings or get_settings()
    training, _ = dataset.split(dataset.load(source, settings), window)
    earlier = _at_most(training[training["month"] < window.train_to], rows, settings)
    later = training[training["month"] == window.train_to]
    columns = feature_columns(list(training.columns))
    prepare = models.make(model, settings).named_steps["prepare"]
    return Sample(
        prepare.fit_transform(earlier[columns]),
        earlier[LABEL],
        prepare.transform(later[columns]),
        later[LABEL],
    )


def _at_most(rows: pd.DataFrame, number: int, settings: Settings) -> pd.DataFrame:
    if len(rows) <= number:
        return rows
    return rows.sample(number, random_state=settings.seed).sort_index()


def best(
    source: str,
    window: Window,
    name: str,
    budget: int,
    run: str,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """The parameters that won, what they are worth on the validation month, plots, MLflow run.

    Returns ``params``, their ``score`` on the last training month, the numbers of ``complete``,
    ``pruned`` and ``failed`` trials, ``importances``, metrics of the model as it ships and with
    the new parameters (``before``, ``after``), and the MLflow ``run_id``. CourseError if trials
    of the budget are missing.
    """
    settings = settings or get_settings()
    with database(settings):
        study = _load(name, open_storage(settings))
        trials = _trials(study, budget, tuple(TrialState))
    states = [trial.state for trial in trials]
    finished = [trial for trial in trials if trial.state in FINISHED]
    if len(finished) != budget:
        raise CourseError(
            f"{len(finished)} of {budget} trials of the study '{name}' are finished: every worker "
            "gave up before; see their logs, then clear the run"
        )
    winner = study.best_trial
    asked = study.user_attrs[SPECIFICATION]
    folder = pages.folder(DAG_ID, run, settings)
    importances = _importances(study, settings)
    plots = draw(finished, importances, folder)
    before, after = (
        _judge(source, window, asked, params, settings) for params in ({}, winner.params)
    )
    counts = {
        "complete": states.count(TrialState.COMPLETE),
        "pruned": states.count(TrialState.PRUNED),
        "failed": states.count(TrialState.FAIL),
    }
    run_id = tracking.log_run(
        "tuning",
        run,
        params={**winner.params, **asked, "validation": window.validation, "study": name},
        metrics={**counts, **after, "tuning_pr_auc": winner.value or 0.0},
        files=plots,
        settings=settings,
    )
    return {
        **counts,
        "model": asked["model"],
        "params": winner.params,
        "trial": winner.number,
        "score": winner.value,
        "start_score": finished_score(finished, 0),
        "importances": importances,
        "before": before,
        "after": after,
        "run_id": run_id,
    }


def finished_score(finished: list[FrozenTrial], slot: int) -> float | None:
    """PR-AUC of the trial that finished in a slot, the last reported one if it was pruned."""
    return next(trial.value for trial in finished if trial.user_attrs[SLOT] == slot)


def _importances(study: optuna.Study, settings: Settings) -> dict[str, float]:
    """Share of each parameter in the variance of the scores; empty if too few say anything."""
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=FINISHED[:1])}
    if len(values) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=settings.seed)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _judge(
    source: str, window: Window, asked: dict[str, Any], params: dict[str, Any], settings: Settings
) -> dict[str, float]:
    """Metrics on the validation month of a model fitted on a sample of all training months."""
    training, validation = dataset.split(dataset.load(source, settings), window)
    training = _at_most(training, asked["rows"], settings)
    pipeline = models.make(asked["model"], settings)
    pipeline.set_params(**{f"model__{key}": value for key, value in params.items()})
    pipeline.fit(training[feature_columns(list(training.columns))], training[LABEL])
    answers = evaluation.predict(pipeline, validation)
    return evaluation.measure(validation[LABEL], answers).as_dict()


def draw(finished: list[FrozenTrial], importances: dict[str, float], folder: Path) -> list[Path]:
    """Draw the history, the learning curves and the importances as SVG files."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Without a salt and a date two drawings of the same data differ.
    mpl.rcParams.update({"svg.hashsalt": "flightdelays", "font.size": 11})
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in finished if trial.state == TrialState.PRUNED]
    figures = {}

    figures["history"], axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for kind, trials, style in (("complete", complete, "o"), ("pruned", pruned, "x")):
        axes.plot([t.number for t in trials], [t.value for t in trials], style, label=kind)
    values = pd.Series({trial.number: trial.value for trial in complete}).sort_index()
    axes.step(values.index, values.cummax(), where="post", label="best so far")
    axes.set(xlabel="trial", ylabel="PR-AUC, last training month", title="History")
    axes.legend(frameon=False)

    figures["learning_curves"], axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for trial in finished:
        lost = trial.state == TrialState.PRUNED
        steps = sorted(trial.intermediate_values.items())
        axes.plot(*zip(*steps, strict=True), color="C1" if lost else "C0", alpha=0.7)
        if lost:
            axes.plot(*steps[-1], "x", color="C1")
    axes.plot([], [], color="C0", label="complete")
    axes.plot([], [], color="C1", marker="x", label="pruned")
    axes.set(
        xlabel="boosting rounds", ylabel="PR-AUC, last training month", title="Learning curves"
    )
    axes.legend(frameon=False)

    if importances:
        figures["importances"], axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
        bars = axes.barh(list(importances), list(importances.values()))
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.invert_yaxis()
        axes.set(xlabel="share of the variance of PR-AUC (fANOVA)", title="Importance")

    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None})
        plt.close(figure)
    return [folder / f"{name}.svg" for name in figures]


def report(
    window: Window, name: str, found: dict[str, Any], run: str, settings: Settings | None = None
) -> str:
    """Write the page of a study; returns the path of its verdict."""
    settings = settings or get_settings()
    gain = found["after"]["pr_auc"] - found["before"]["pr_auc"]
    folder = pages.folder(DAG_ID, run, settings)
    titles = {
        "history": "History",
        "learning_curves": "Learning curves",
        "importances": "Importance",
    }
    if not found["importances"]:
        del titles["importances"]
    return pages.write(
        DAG_ID,
        run,
        headline=(
            f"{found['model']} reached PR-AUC {found['score']:.4f} on {window.train_to} in trial "
            f"{found['trial']}, from {found['start_score']:.4f} where the search began."
        ),
        facts=[
            f"{found['complete']} trials complete, {found['pruned']} pruned, {found['failed']} "
            f"lost and repeated; study '{name}'.",
            f"Tried on {window.validation}, which the search never saw: PR-AUC "
            f"{found['after']['pr_auc']:.4f} against {found['before']['pr_auc']:.4f} with the "
            f"parameters of the course ({gain:+.4f}).",
        ],
        tables={
            "Best parameters": pages.Table(
                ["parameter", "value", "importance"],
                [[k, v, found["importances"].get(k)] for k, v in found["params"].items()],
            ),
            f"On {window.validation}": pages.Table(
                ["parameters", "PR-AUC", "AUC", "log-loss"],
                [
                    [label, *(found[key][metric] for metric in ("pr_auc", "auc", "log_loss"))]
                    for label, key in (("of the course", "before"), ("found", "after"))
                ],
            ),
        },
        plots={title: folder / f"{name}.svg" for name, title in titles.items()},
        data=found,
        settings=settings,
    )
