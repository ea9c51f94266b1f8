"""
### Let a person decide whether the challenger becomes champion

**What runs.** `compare` puts the version in staging beside the champion; if they are the same or
nothing is staged there is nothing to decide. → `approve` asks a person and waits, without taking a
worker's slot, for up to 24 hours. → `promote` moves the alias `champion`, or `keep` leaves it where
it is: a no, and silence, are decisions and no failures. → `report`.

**How to start it.** By itself when `train_delay_model` deploys to staging; or trigger it. To
answer, open *Required Actions* in the UI, or send
`PATCH /api/v2/dags/promote_model/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails` with
`{"chosen_options": ["Approve"]}` or `["Reject"]`.

**When it fails.** `promote`: staging names another version than the approved one by now, and the
champion stays; the newer version asks in a run of its own. `compare`: MLflow does not answer, or a
version lacks its metrics; the message names it.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import TriggerRule, dag, get_current_context, task

from course_pipelines import CHAMPION_MODEL, DEFAULT_ARGS, STAGING_MODEL, Tag

ANSWER_WITHIN = timedelta(hours=24)


@dag(
    schedule=[STAGING_MODEL],
    catchup=False,
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    tags=[Tag.PRODUCTION],
    doc_md=__doc__,
)
def promote_model():
    @task
    def compare() -> dict[str, Any]:
        """Versions behind `staging` and `champion`; None where there is none."""
        from flightdelays import promotion

        return dict(promotion.compare())

    # Only what is directly below is skipped: `keep` and `report` run whatever comes of it.
    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_challenger(compared: dict[str, Any]) -> str:
        """The question to a person; nothing if there is nothing to decide."""
        from flightdelays import promotion

        return promotion.question(compared) if promotion.is_open(compared) else ""

    approve = ApprovalOperator(
        task_id="approve",
        subject="Shall v{{ ti.xcom_pull(task_ids='compare')['challenger'] }} become the champion?",
        body="{{ ti.xcom_pull(task_ids='has_challenger') }}\n\n"
        f"Without an answer within {ANSWER_WITHIN} the champion stays.",
        defaults=ApprovalOperator.REJECT,
        response_timeout=ANSWER_WITHIN,
        doc="Ask a person; a no skips `promote`, and so does silence.",
    )

    # One at a time: between two approvals of different versions the later one must win.
    @task(outlets=[CHAMPION_MODEL], max_active_tis_per_dag=1)
    def promote(compared: dict[str, Any], answer: dict[str, Any]) -> int:
        """Move the alias `champion` to the approved version, if that is still in staging."""
        from flightdelays import registry

        registry.promote(compared["challenger"], answer["responded_by_user"]["name"])
        return compared["challenger"]

    @task(trigger_rule=TriggerRule.ALL_SKIPPED)
    def keep() -> str:
        """Leave the champion as it is, and say why."""
        from flightdelays import promotion

        reason = promotion.sentence(*outcome())
        print(reason)
        return reason

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report() -> str:
        """Path of the verdict; the page for people lies beside it."""
        from flightdelays import promotion

        return promotion.report(*outcome(), get_current_context()["run_id"])

    compared = compare()
    has_challenger(compared) >> approve
    promoted = promote(compared, approve.output)
    # What `keep` and `report` need they fetch: as an argument it would count as an upstream task
    # that was not skipped.
    kept = keep()
    promoted >> kept
    [promoted, kept] >> report()


def outcome() -> tuple[Any, Any]:
    """What was compared, and the answer; None for it if nobody was asked."""
    from flightdelays import promotion

    ti = get_current_context()["ti"]
    compared = ti.xcom_pull(task_ids="compare")
    asked = promotion.is_open(compared)
    return compared, ti.xcom_pull(task_ids="approve") if asked else None


promote_model()
