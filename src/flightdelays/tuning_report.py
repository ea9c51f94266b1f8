"""What a search for hyper-parameters found, and what it is worth on the month it never saw."""

from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from flightdelays import dataset, evaluation, models, pages, spaces, tracking, tuning
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

DAG_ID = "tune_hyperparameters"


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
    with tuning.database(settings):
        study = tuning.load(name, tuning.open_storage(settings))
        trials = tuning.trials_of(study, budget, tuple(TrialState))
    states = [trial.state for trial in trials]
    finished = [trial for trial in trials if trial.state in tuning.FINISHED]
    if len(finished) != budget:
        raise CourseError(
            f"{len(finished)} of {budget} trials of the study '{name}' are finished: every worker "
            "gave up before; see their logs, then clear the run"
        )
    winner = study.best_trial
    asked = study.user_attrs[tuning.SPECIFICATION]
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
    return next(trial.value for trial in finished if trial.user_attrs[tuning.SLOT] == slot)


def _importances(study: optuna.Study, settings: Settings) -> dict[str, float]:
    """Share of each parameter in the variance of the scores; empty if too few say anything."""
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=tuning.FINISHED[:1])}
    if len(values) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=settings.seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _judge(
    source: str, window: Window, asked: dict[str, Any], params: dict[str, Any], settings: Settings
) -> dict[str, float]:
    """Metrics on the validation month of a model fitted on a sample of all training months."""
    training, validation = dataset.split(dataset.load(source, settings), window)
    training = spaces.at_most(training, asked["rows"], settings)
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
        axes.plot([t.number for t in trials], [t.value or 0.0 for t in trials], style, label=kind)
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
